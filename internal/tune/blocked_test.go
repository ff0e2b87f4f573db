package tune

import (
	"context"
	"math"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Blocks of another size than onnxruntime's come out wrong, and are found out.
func TestBlocksAreProbed(t *testing.T) {
	block := probeBlocks(context.Background())
	if block == 0 {
		t.Skip("onnxruntime has no convolutions in blocks here")
	}
	for _, other := range []int{4, 8, 16, 32} {
		if other != block && blocksAre(context.Background(), other) {
			t.Errorf("both %d and %d channels are a block", block, other)
		}
	}
}

// Convolutions by trained kernels run in blocks, forwards and backwards, together with what follows
// them. With ordinary nodes the gradients are the same.
func TestBlocksChangeNothing(t *testing.T) {
	block := probeBlocks(context.Background())
	if block == 0 {
		t.Skip("onnxruntime has no convolutions in blocks here")
	}
	m, err := onnxtest.Parse("x: 2 16 9 9\nh = Conv(x, w[16 16 3 3], b[16]) pads=1,1,1,1\nr = Clip(h, lo<0>, hi<6>)\nd = Conv(r, v[16 1 3 3], c[16]) group=16 strides=2,2 pads=1,1,1,1\ny = Relu(d)")
	if err != nil {
		t.Fatal(err)
	}
	tr, in, targets := training(t, m)
	examples := []map[string]*engine.Value{in}
	seen, err := measure(context.Background(), m, tr.graph, examples)
	if err != nil {
		t.Fatal(err)
	}
	var sums [2]map[string][]float32
	for i, b := range []int{0, block} {
		a, err := assemble(m, tr.names, tr.goals, seen, b)
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, n := range a.model.Proto.Graph.Node {
			count[n.GetDomain()+n.GetOpType()]++
		}
		if inBlocks := count[blockedDomain+"Conv"]; b > 0 && (inBlocks != 4 || count["Conv"]+count["Clip"]+count["Relu"]+count["ConvTranspose"] > 0) || b == 0 && inBlocks > 0 {
			t.Errorf("blocks of %d: nodes %v", b, count)
		}
		if a.session, err = engine.Open(a.model, engine.Options{Threads: 1}); err != nil {
			t.Fatal(err)
		}
		defer a.session.Close()
		sums[i] = map[string][]float32{}
		gradients(t, &a.trainer, in, targets, sums[i])
	}
	for name, ordinary := range sums[0] {
		for i, x := range ordinary {
			if d := math.Abs(float64(x - sums[1][name][i])); d > 1e-5*(1+math.Abs(float64(x))) {
				t.Errorf("%s[%d]: %g in blocks, %g without", name, i, sums[1][name][i], x)
			}
		}
	}
}
