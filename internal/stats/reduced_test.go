package stats_test

import (
	"context"
	"strings"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// onnxruntime's optimiser made, before 1.30, of a transposed weight of signed integers without a
// zero point one that it took for unsigned. Such models run all the same, and it is said how.
func TestFailingOptimiser(t *testing.T) {
	fails := strings.HasPrefix(enginetest.Require(t).Version, "1.2")
	for text, reduced := range map[string]bool{
		"x: N 8\nd = DequantizeLinear(int8_w[6 8], var_s[6]) axis=0\nw = Transpose(d) perm=1,0\ny = MatMul(x, w)": fails,
		"x: N 8\ny = MatMul(x, w[8 6])": false,
	} {
		m, err := onnxtest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		s, err := engine.Open(m, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if s.Reduced() != reduced {
			t.Errorf("%s: reduced: %v", text, s.Reduced())
		}
		if _, err := s.Run(context.Background(), map[string]*engine.Value{"x": engine.Float32(make([]float32, 16), 2, 8)}); err != nil {
			t.Error(err)
		}
	}
}

// Sizes that an input leaves open are those of the data.
func TestShapes(t *testing.T) {
	m, err := onnxtest.Parse("x: N T 4\nk: N 3\na = MatMul(x, w[4 5])\nb = MatMul(k, v[3 2])\n-> a b")
	if err != nil {
		t.Fatal(err)
	}
	d, err := dataset.New("d", map[string]*engine.Value{"x": engine.Float32(make([]float32, 2*7*4), 2, 7, 4), "k": engine.Float32(make([]float32, 6), 2, 3)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := dataset.Shapes(m, d, nil); len(s) != 1 || len(s["x"]) != 3 || s["x"][1] != 7 {
		t.Errorf("sizes %v", s)
	}
	given := map[string][]int{"x": {1, 9, 4}}
	if s := dataset.Shapes(m, d, given); len(s) != 1 || s["x"][1] != 9 {
		t.Errorf("sizes %v beside given ones", s)
	}
	if s := dataset.Shapes(m, nil, given); len(s) != 1 {
		t.Errorf("sizes %v without data", s)
	}
}
