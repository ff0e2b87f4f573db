package choose_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// bottleneck has a residual stream, padding, pooling and a bias between linear operators: one
// linear space of 16 channels, made of no more than 6 + 4 directions, and one space behind a Relu.
const bottleneck = `
	x: N 3 8 8
	a = Conv(x, w1[6 3 3 3], b1[6]) pads=1,1,1,1
	r = Relu(a)
	s = Conv(r, w2[16 6 1 1], b2[16])
	p = Conv(s, w3[4 16 3 3], b3[4]) pads=1,1,1,1
	q = Relu(p)
	u = Conv(q, w4[16 4 1 1])
	v = Add(s, u)
	m = AveragePool(v) kernel_shape=2,2 strides=2,2
	y = Conv(m, w5[5 16 1 1], b5[5])`

func images(t *testing.T, n int) *dataset.Data {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 5))
	x := make([]float32, n*3*8*8)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	d, err := dataset.New("noise", map[string]*engine.Value{"x": engine.Float32(x, n, 3, 8, 8)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// linearSpace is the one linear space of a model that may be narrowed.
func linearSpace(t *testing.T, s *edit.Subject) *coupling.Space {
	t.Helper()
	var found *coupling.Space
	for _, sp := range s.Analysis.Spaces {
		if sp.Linear && sp.Narrowable() {
			if found != nil {
				t.Fatalf("%q and %q are linear", found.Name, sp.Name)
			}
			found = sp
		}
	}
	if found == nil {
		t.Fatal("no linear space")
	}
	return found
}

func Parsed(t *testing.T, text string) *onnxio.Model {
	t.Helper()
	m, err := onnxtest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// On a linear space any invertible matrix may act.
func TestLinearSpacesTakeAnyMatrix(t *testing.T) {
	enginetest.Require(t)
	m, d := Parsed(t, bottleneck), images(t, 16)
	s := subject(t, m)
	sp := linearSpace(t, s)
	n := sp.Width
	rng := rand.New(rand.NewPCG(1, 2))
	in, out := mat.NewDense(n, n, nil), mat.NewDense(n, n, nil)
	for i := range n {
		for j := range n {
			in.Set(i, j, rng.NormFloat64())
		}
	}
	if err := out.Inverse(in); err != nil {
		t.Fatal(err)
	}
	var tr edit.Transfer
	for j := range n {
		var a, b []edit.Entry
		for p := range n {
			a = append(a, edit.Entry{Col: p, Val: in.At(j, p)})
			b = append(b, edit.Entry{Col: p, Val: out.At(p, j)})
		}
		tr.In, tr.OutT = append(tr.In, a), append(tr.OutT, b)
	}
	turned, err := edit.Edit(s, edit.Maps{sp: {Groups: []edit.Transfer{tr}, Pieces: []int{n}}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, turned, d)); diff > 1e-4 {
		t.Errorf("outputs differ by %g", diff)
	}
}

// A linear space whose channels span k directions is narrowed to k without loss, to fewer with
// some.
func TestSelectProjectsLinearSpaces(t *testing.T) {
	enginetest.Require(t)
	m, d := Parsed(t, bottleneck), images(t, 64)
	s := subject(t, m)
	sp := linearSpace(t, s)
	want := modeltest.Outputs(t, m, d)
	for k, most := range map[int]float64{10: 1e-3, 5: 1} {
		r, err := choose.Select(context.Background(), s, map[*coupling.Space]int{sp: k}, nil, choose.Options{Data: d})
		if err != nil {
			t.Fatal(err)
		}
		narrow, err := edit.Edit(s, r.Maps)
		if err != nil {
			t.Fatal(err)
		}
		diff := modeltest.MaxDiff(t, want, modeltest.Outputs(t, narrow, d))
		if diff > most {
			t.Errorf("%d channels: outputs differ by %g", k, diff)
		}
		if k == 5 && diff < 1e-3 {
			t.Errorf("5 channels of 10 directions differ by no more than %g", diff)
		}
	}
}

func subject(t *testing.T, m *onnxio.Model) *edit.Subject {
	t.Helper()
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
