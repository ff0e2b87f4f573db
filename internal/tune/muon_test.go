package tune

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A step is nearly orthogonal, whichever side of the matrix is longer, and goes down the gradient.
func TestMuonSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	matrices := []matrix{{"wide", 5, 12}, {"tall", 9, 4}}
	u, err := newMuon(matrices, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.session.Close()
	params, gradients := map[string]*engine.Value{}, map[string][]float32{}
	for _, m := range matrices {
		params[m.name] = engine.Float32(make([]float32, m.rows*m.cols), m.rows, m.cols)
		gradients[m.name] = noise(rng, []int{m.rows, m.cols}).F32
	}
	if err := u.update(context.Background(), params, gradients, func(string) float64 { return 1 }); err != nil {
		t.Fatal(err)
	}
	for _, m := range matrices {
		size := muonSize * math.Sqrt(float64(max(m.rows, m.cols)))
		p, down := params[m.name].F32, 0.0
		for i, g := range gradients[m.name] {
			down -= float64(g) * float64(p[i])
		}
		if down <= 0 {
			t.Errorf("%s: the step goes up the gradient", m.name)
		}
		// Rows of the shorter side: nearly of one length, nearly at right angles.
		n, k, along, across := m.rows, m.cols, m.cols, 1
		if n > k {
			n, k, along, across = k, n, 1, m.cols
		}
		for i := range n {
			for j := range i + 1 {
				dot := 0.0
				for l := range k {
					dot += float64(p[i*along+l*across]) * float64(p[j*along+l*across]) / (size * size)
				}
				if i == j && (dot < 0.4 || dot > 1.5) || i != j && math.Abs(dot) > 0.5 {
					t.Errorf("%s: rows %d and %d have the product %g", m.name, i, j, dot)
				}
			}
		}
	}
}

// What mixes no inputs is no matrix, and what would cost too much is left out.
func TestMatricesOf(t *testing.T) {
	m, err := onnxtest.Parse("x: 2 4 5 5\nh = Conv(x, w[8 4 3 3], b[8])\nd = Conv(h, v[8 1 3 3]) group=8\nf = Flatten(d)\ny = Gemm(f, u[8 3], c[3])")
	if err != nil {
		t.Fatal(err)
	}
	tr, _, _ := training(t, m)
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range matricesOf(g, tr.names, tr.params, 1<<40) {
		names = append(names, x.name)
	}
	if len(names) != 2 || names[0] != "u" || names[1] != "w" {
		t.Errorf("matrices %v", names)
	}
	if few := matricesOf(g, tr.names, tr.params, 2000); len(few) != 1 || few[0].name != "u" {
		t.Errorf("of %d and less: %v", 2000, few)
	}
}
