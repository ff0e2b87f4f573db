package tune

import (
	"slices"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Zeros around what only a convolution reads become its pads; values that are not zero stay, and so
// does what a goal looks at.
func TestPadsAreFolded(t *testing.T) {
	for text, want := range map[string]int{
		"p = Pad(h, q{0 0 1 0 0 0 0 1})\ny = Conv(p, v[5 4 3 3]) pads=0,1,0,0":                                              0,
		"p = Pad(h, q{0 0 1 0 0 0 0 1}, one<1>)\ny = Conv(p, v[5 4 3 3])":                                                   1,
		"p = Pad(h, q{0 1 1 0 0 0 0 1})\ny = Conv(p, v[5 5 3 3])":                                                           1,
		"p = Pad(h, q{0 0 1 0 0 0 0 1}) mode=edge\ny = Conv(p, v[5 4 3 3])":                                                 1,
		"p = Pad(h, q{0 0 1 0 0 0 0 1})\ny = Conv(p, v[5 4 3 3]) auto_pad=SAME_UPPER":                                       1,
		"p = Pad(h, q{0 0 1 0 0 0 0 1})\nk = Conv(p, v[5 4 3 3])\nm = MaxPool(p) kernel_shape=3,3\ny = Concat(k, m) axis=1": 1,
	} {
		m, err := onnxtest.Parse("x: 2 3 6 6\nh = Conv(x, w[4 3 1 1], b[4])\n" + text)
		if err != nil {
			t.Fatal(err)
		}
		for _, look := range []string{"y", "p"} {
			g, err := m.Clone().Graph()
			if err != nil {
				t.Fatal(err)
			}
			in := map[string][]int{"x": {2, 3, 6, 6}, "h": {2, 4, 6, 6}}
			tp := &tape{graph: g, proto: g.Proto, opset: m.Opset(""), dims: in}
			if err := tp.foldPads([]*goal{{Goal: teach.Goal{Tensor: look}}}); err != nil {
				t.Fatal(err)
			}
			left := len(slices.DeleteFunc(slices.Clone(g.Nodes), func(n *onnxpb.NodeProto) bool { return n.GetOpType() != "Pad" }))
			if look == "p" && left != 1 || look == "y" && left != want {
				t.Errorf("%s, %s looked at: %d Pads left", text, look, left)
			}
			if _, err := engine.Open(g.Model, engine.Options{Outputs: []string{"y"}}); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}
