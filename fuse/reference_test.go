package fuse_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// reference is what an independent implementation of Singh & Jaggi's method (NumPy and POT,
// testdata/reference) made of the testdata networks.
type reference struct {
	Cases []struct {
		Source, Target, Align, Scaling string
		TargetShare                    float64 `json:"target_share"`
		Correct                        int
		Plans                          []struct {
			To   []int
			Cost float64
		}
		Tensors []struct {
			Layer  int
			Kind   string
			Shape  []int
			Norm   float64
			Probes []struct {
				Index []int
				Value float64
			}
		}
	}
}

func TestEqualsTheReference(t *testing.T) {
	raw, err := os.ReadFile(modeltest.Dir("reference/reference.json"))
	if err != nil {
		t.Fatal(err)
	}
	var ref reference
	if err := json.Unmarshal(raw, &ref); err != nil {
		t.Fatal(err)
	}
	if len(ref.Cases) == 0 {
		t.Fatal("no cases")
	}
	images := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 200, Seed: dataset.FileOrder})
	test := modeltest.Data(t, "mnist_test", dataset.Options{})
	for _, c := range ref.Cases {
		t.Run(c.Source+"→"+c.Target+" by "+c.Align+" "+c.Scaling, func(t *testing.T) {
			src, dst := modeltest.Load(t, c.Source), modeltest.Load(t, c.Target)
			o := match.Options{By: match.Basis(c.Align), Scaling: edit.Scaling(c.Scaling), Data: images}
			plans(t, src, dst, o, func(layer int, p []int, cost float64) {
				want := c.Plans[layer]
				for i, to := range want.To {
					if p[i] != to {
						t.Fatalf("layer %d: channel %d goes to %d, in the reference to %d", layer+1, i, p[i], to)
					}
				}
				if math.Abs(cost-want.Cost) > 1e-4*want.Cost {
					t.Errorf("layer %d: the plan costs %g, in the reference %g", layer+1, cost, want.Cost)
				}
			})
			out, _, err := fuse.Models(context.Background(), []*onnxio.Model{src, dst}, fuse.Options{Weights: []float64{1 - c.TargetShare, c.TargetShare}, Options: job.Options{Refit: job.Off, Align: c.Align, Scaling: c.Scaling, Data: images}})
			if err != nil {
				t.Fatal(err)
			}
			weights := layerWeights(t, out)
			for _, w := range c.Tensors {
				got := weights[w.Layer-1][w.Kind]
				norm := 0.0
				for _, x := range got.data {
					norm += x * x
				}
				if norm = math.Sqrt(norm); math.Abs(norm-w.Norm) > 1e-3*w.Norm {
					t.Errorf("layer %d %s: norm %g, in the reference %g", w.Layer, w.Kind, norm, w.Norm)
				}
				for _, p := range w.Probes {
					if x := got.at(p.Index); math.Abs(x-p.Value) > 1e-3*w.Norm/math.Sqrt(float64(len(got.data))) {
						t.Errorf("layer %d %s%v: %g, in the reference %g", w.Layer, w.Kind, p.Index, x, p.Value)
					}
				}
			}
			// A fused net decides a few images by less than the arithmetic's rounding.
			if n := modeltest.Correct(t, out, test); n < c.Correct-1 || n > c.Correct+1 {
				t.Errorf("%d of 1,000 correct, in the reference %d", n, c.Correct)
			}
		})
	}
}

// plans aligns src onto dst and hands over, for every space, where each source channel goes and
// what the plan costs.
func plans(t *testing.T, src, dst *onnxio.Model, o match.Options, f func(layer int, to []int, cost float64)) {
	t.Helper()
	var s [2]*edit.Subject
	for i, m := range []*onnxio.Model{src, dst} {
		var err error
		if s[i], err = edit.NewSubject(m, coupling.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := match.Pair(s[0], s[1])
	if err != nil {
		t.Fatal(err)
	}
	r, err := match.Onto(context.Background(), pair, o)
	if err != nil {
		t.Fatal(err)
	}
	layer := 0
	for _, sp := range s[0].Analysis.Spaces {
		m := r.Maps[sp]
		if m == nil {
			continue
		}
		to := make([]int, sp.Width)
		for j, row := range m.Groups[0].In {
			for _, e := range row {
				to[e.Col] = j
			}
		}
		f(layer, to, r.Objective[sp])
		layer++
	}
	if layer == 0 {
		t.Fatal("no space was aligned")
	}
}

// matrix is a weight in the orientation [out, in], or a bias.
type matrix struct {
	data []float64
	rows int
	cols int
}

func (m matrix) at(index []int) float64 {
	if len(index) == 1 {
		return m.data[index[0]]
	}
	return m.data[index[0]*m.cols+index[1]]
}

// layerWeights reads the weights of an MLP's layers.
func layerWeights(t *testing.T, m *onnxio.Model) []map[string]matrix {
	t.Helper()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]matrix
	for _, l := range g.Linears() {
		w, err := m.Tensor(g.Constant(l.Weight.Name))
		if err != nil {
			t.Fatal(err)
		}
		mat := matrix{w.Float64(), w.Dims[0], w.Dims[1]}
		if l.In.Weight == 0 {
			tr := matrix{make([]float64, len(mat.data)), mat.cols, mat.rows}
			for i := range mat.rows {
				for j := range mat.cols {
					tr.data[j*mat.rows+i] = mat.data[i*mat.cols+j]
				}
			}
			mat = tr
		}
		layer := map[string]matrix{"weight": mat}
		if l.Bias.Name != "" {
			b, err := m.Tensor(g.Constant(l.Bias.Name))
			if err != nil {
				t.Fatal(err)
			}
			layer["bias"] = matrix{data: b.Float64()}
		}
		out = append(out, layer)
	}
	return out
}
