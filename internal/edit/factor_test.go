package edit_test

import (
	"testing"

	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Which convolutions become rows and columns.
func TestAcross(t *testing.T) {
	for text, want := range map[string]int{
		"x: N 3 9 9\ny = Conv(x, w[8 3 3 5]) pads=1,2,1,2":               5,
		"x: N 3 9 9\ny = Conv(x, w[8 3 3 5]) auto_pad=SAME_LOWER":        5,
		"x: N 3 9 9\ny = Conv(x, w[8 3 3 3]) pads=0,2,0,2 dilations=1,2": 3,
		"x: N 3 9 9\ny = Conv(x, w[8 3 3 3])":                            1, // makes narrower maps
		"x: N 3 9 9\ny = Conv(x, w[8 3 3 3]) pads=1,1,1,1 strides=2,2":   1,
		"x: N 3 9 9\ny = Conv(x, w[8 3 1 3]) pads=0,1,0,1":               1,
		"x: N 3 9 9\ny = Conv(x, w[8 3 1 1])":                            1,
		"x: N 3 9\ny = Conv(x, w[8 3 3]) pads=1,1":                       1,
		"x: N 3 9 9 9\ny = Conv(x, w[8 3 3 3 3]) pads=1,1,1,1,1,1":       1,
		"x: N 3\ny = Gemm(x, w[3 8])":                                    1,
		"x: N 3 9 9\ny = Conv(x, w[8 3 3 3]) auto_pad=VALID":             1,
	} {
		m, err := onnxtest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		g, err := m.Graph()
		if err != nil {
			t.Fatal(err)
		}
		l, ok := g.Linear(g.Producer("y"))
		if !ok {
			t.Fatal(text)
		}
		if got := edit.Across(l); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}
