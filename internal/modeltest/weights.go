package modeltest

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/onnxio"
)

// SetWeight changes a constant of a model.
func SetWeight(t testing.TB, m *onnxio.Model, name string, set func(w *onnxio.Tensor)) {
	t.Helper()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	w, err := m.Tensor(g.Constant(name))
	if err != nil {
		t.Fatal(err)
	}
	set(w)
	if err := g.SetConstant(w); err != nil {
		t.Fatal(err)
	}
}

// Separable gives a kernel [O, I, rows, columns] a rank, as a matrix of inputs and rows by outputs and
// columns.
func Separable(rank int) func(w *onnxio.Tensor) {
	return func(w *onnxio.Tensor) {
		outputs, inputs, rows, columns := w.Dims[0], w.Dims[1], w.Dims[2], w.Dims[3]
		rng := rand.New(rand.NewPCG(3, 4))
		a, b := mat.NewDense(inputs*rows, rank, nil), mat.NewDense(rank, outputs*columns, nil)
		for _, x := range []*mat.Dense{a, b} {
			x.Apply(func(_, _ int, _ float64) float64 {
				return rng.NormFloat64() / math.Sqrt(math.Sqrt(float64(inputs*rows*rank)))
			}, x)
		}
		var ab mat.Dense
		ab.Mul(a, b)
		values := make([]float64, w.Len())
		for i := range values {
			column, row, in, out := i%columns, i/columns%rows, i/columns/rows%inputs, i/columns/rows/inputs
			values[i] = ab.At(in*rows+row, out*columns+column)
		}
		w.SetFloat64(w.Dims, values)
	}
}
