package fuse_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// permuted is a copy of a model with all hidden channels in another order.
func permuted(t *testing.T, m *onnxio.Model) *onnxio.Model {
	t.Helper()
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	maps := edit.Maps{}
	for i, sp := range s.Analysis.Spaces {
		if sp.Frozen {
			continue
		}
		mp := &edit.Map{}
		for g := range sp.Groups {
			rows := make(edit.Rows, sp.Width)
			for j, p := range modeltest.Permutation(uint64(i+7+100*g), sp.Width) {
				rows[j] = []edit.Entry{{Col: p, Val: 1}}
			}
			mp.Groups = append(mp.Groups, edit.Transfer{In: rows, OutT: rows})
		}
		for _, p := range sp.Pieces {
			mp.Pieces = append(mp.Pieces, p.Size())
		}
		maps[sp] = mp
	}
	out, err := edit.Edit(s, maps)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPermuteAndFuseReturnsTheOriginal(t *testing.T) {
	for _, name := range modeltest.Names(t) {
		t.Run(name, func(t *testing.T) {
			m := modeltest.Load(t, name)
			d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 64})
			folded, _, err := edit.FoldBatchNorm(m, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := modeltest.Floats(t, folded)
			y := modeltest.Outputs(t, m, d)
			for _, by := range []match.Basis{match.Weights, match.Activations} {
				out, _, err := fuse.Models(context.Background(), []*onnxio.Model{permuted(t, m), m}, fuse.Options{Options: job.Options{Refit: job.Off, Align: string(by), Data: d}})
				if err != nil {
					t.Fatal(err)
				}
				if diff := modeltest.MaxDiff(t, y, modeltest.Outputs(t, out, d)); diff > 1e-5 {
					t.Errorf("by %s: outputs differ by %g", by, diff)
				}
				got := modeltest.Floats(t, out)
				for w, v := range want {
					if diff := modeltest.MaxDiff(t, append(v, 1e-3), append(got[w], 1e-3)); diff > 1e-5 {
						t.Errorf("by %s: weight %q differs by %g", by, w, diff)
					}
				}
			}
		})
	}
}

func TestFusingAModelWithItselfIsTheIdentity(t *testing.T) {
	for _, name := range modeltest.Names(t) {
		t.Run(name, func(t *testing.T) {
			m := modeltest.Load(t, name)
			d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 64})
			out, report, err := fuse.Models(context.Background(), []*onnxio.Model{m, m, m}, fuse.Options{Weights: []float64{0.2, 0.3, 0.5}})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range report.Spaces {
				for i, moved := range s.Moved {
					if moved != 0 {
						t.Errorf("space %q: %g of the channels of model %d moved", s.Name, moved, i+1)
					}
				}
			}
			if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff > 1e-5 {
				t.Errorf("outputs differ by %g", diff)
			}
		})
	}
}

// A residual net whose BatchNorms are kept fuses with a permuted copy too.
func TestKeepBatchNorm(t *testing.T) {
	m := modeltest.Load(t, "cnn_a")
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 64})
	out, report, err := fuse.Models(context.Background(), []*onnxio.Model{permuted(t, m), m}, fuse.Options{Options: job.Options{KeepBatchNorm: true, Refit: job.Off, Align: "activations", Data: d}})
	if err != nil {
		t.Fatal(err)
	}
	if report.Folded != 0 {
		t.Errorf("%d normalisations were folded", report.Folded)
	}
	if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff > 1e-5 {
		t.Errorf("outputs differ by %g", diff)
	}
}

func TestInputsAreNotChanged(t *testing.T) {
	a, b := modeltest.Load(t, "resnet_a"), modeltest.Load(t, "resnet_b")
	before := [][]byte{encode(t, a), encode(t, b)}
	if _, _, err := fuse.Models(context.Background(), []*onnxio.Model{a, b}, fuse.Options{}); err != nil {
		t.Fatal(err)
	}
	for i, m := range []*onnxio.Model{a, b} {
		if string(encode(t, m)) != string(before[i]) {
			t.Errorf("model %d was changed", i+1)
		}
	}
}

func encode(t *testing.T, m *onnxio.Model) []byte {
	t.Helper()
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestErrors(t *testing.T) {
	mlp, cnn, wide := modeltest.Load(t, "mlp_a"), modeltest.Load(t, "cnn_a"), modeltest.Load(t, "mlp_wide")
	for name, c := range map[string]struct {
		models []*onnxio.Model
		o      fuse.Options
		want   string
	}{
		"one model":            {[]*onnxio.Model{mlp}, fuse.Options{}, "at least two"},
		"weights' sum":         {[]*onnxio.Model{mlp, mlp}, fuse.Options{Weights: []float64{0.5, 0.6}}, "sum to"},
		"weights' count":       {[]*onnxio.Model{mlp, mlp}, fuse.Options{Weights: []float64{1}}, "1 weights for 2"},
		"NaN weight":           {[]*onnxio.Model{mlp, mlp}, fuse.Options{Weights: []float64{math.NaN(), 1}}, "not a share"},
		"onto":                 {[]*onnxio.Model{mlp, mlp}, fuse.Options{Onto: 3}, "no model 3"},
		"architectures":        {[]*onnxio.Model{mlp, cnn}, fuse.Options{}, "the models differ"},
		"no alignment":         {[]*onnxio.Model{wide, mlp}, fuse.Options{Options: job.Options{Align: "none"}}, "without alignment"},
		"activations, no data": {[]*onnxio.Model{mlp, mlp}, fuse.Options{Options: job.Options{Align: "activations"}}, "needs data"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := fuse.Models(context.Background(), c.models, c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// Integers are not averaged: the error says so, and names the weight.
func TestQuantizedModels(t *testing.T) {
	m, err := onnxtest.Parse(`
		x: N 5
		w = DequantizeLinear(int8_w[5 8], step<0.01>)
		a = MatMul(x, w)
		y = MatMul(a, w2[8 3])`)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = fuse.Models(context.Background(), []*onnxio.Model{m, m}, fuse.Options{})
	if err == nil || !strings.Contains(err.Error(), `weight "int8_w" is quantised`) {
		t.Errorf("error %v", err)
	}
}

// The embeddings of a siamese network are read by each other alone, so that no weight shows what
// they are good for.
func TestChannelsThatNoWeightReads(t *testing.T) {
	enginetest.Require(t)
	m, err := onnxtest.Parse(`
		x: N 6
		z: N 6
		a = Gemm(x, w1[6 8], b1[8])
		b = Relu(a)
		c = MatMul(b, w2[8 4])
		d = Gemm(z, w1, b1)
		e = Relu(d)
		f = MatMul(e, w2)
		p = Mul(c, f)
		y = ReduceSum(p, ax{1})`)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	arrays := map[string]*engine.Value{}
	for _, name := range []string{"x", "z"} {
		v := make([]float32, 100*6)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		arrays[name] = engine.Float32(v, 100, 6)
	}
	d, err := dataset.New("noise", arrays, nil)
	if err != nil {
		t.Fatal(err)
	}
	child, _, err := fuse.Models(context.Background(), []*onnxio.Model{permuted(t, m), m}, fuse.Options{Method: fuse.Union, Options: job.Options{Tune: job.Off, Data: d}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, child, d)); diff > 0.01 {
		t.Errorf("outputs differ by %.2g from those of the parents, which compute the same", diff)
	}
}
