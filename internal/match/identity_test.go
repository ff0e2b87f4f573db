package match_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func Subject(t *testing.T, m *onnxio.Model) *edit.Subject {
	t.Helper()
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// permute moves the channels of every space that may change at random, across pieces too.
func permute(t *testing.T, s *edit.Subject) *onnxio.Model {
	t.Helper()
	maps := edit.Maps{}
	for i, sp := range s.Analysis.Spaces {
		if sp.Frozen {
			continue
		}
		m := &edit.Map{}
		for g := range sp.Groups {
			rows := make(edit.Rows, sp.Width)
			for j, p := range modeltest.Permutation(uint64(1000*i+g), sp.Width) {
				rows[j] = []edit.Entry{{Col: p, Val: 1}}
			}
			m.Groups = append(m.Groups, edit.Transfer{In: rows, OutT: rows})
		}
		for _, p := range sp.Pieces {
			m.Pieces = append(m.Pieces, p.Size())
		}
		maps[sp] = m
	}
	if len(maps) == 0 {
		t.Fatal("no space may change")
	}
	out, err := edit.Edit(s, maps)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// duplicate replaces every channel by two copies that consumers read by half.
func duplicate(t *testing.T, s *edit.Subject) *onnxio.Model {
	t.Helper()
	maps := edit.Maps{}
	for _, sp := range s.Analysis.Spaces {
		if !sp.Narrowable() {
			continue
		}
		m := &edit.Map{}
		for range sp.Groups {
			in, out := make(edit.Rows, 0, 2*sp.Width), make(edit.Rows, 0, 2*sp.Width)
			for c := range sp.Width {
				for range 2 {
					in = append(in, []edit.Entry{{Col: c, Val: 1}})
					out = append(out, []edit.Entry{{Col: c, Val: 0.5}})
				}
			}
			m.Groups = append(m.Groups, edit.Transfer{In: in, OutT: out})
		}
		for _, p := range sp.Pieces {
			m.Pieces = append(m.Pieces, 2*p.Size())
		}
		maps[sp] = m
	}
	wide, err := edit.Edit(s, maps)
	if err != nil {
		t.Fatal(err)
	}
	return wide
}

func TestPermutedModelComputesTheSame(t *testing.T) {
	for _, name := range modeltest.Names(t) {
		t.Run(name, func(t *testing.T) {
			m := modeltest.Load(t, name)
			d := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 64})
			p := permute(t, Subject(t, m))
			if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, p, d)); diff > 1e-5 {
				t.Errorf("outputs differ by %g", diff)
			}
			moved := false
			before, after := modeltest.Floats(t, m), modeltest.Floats(t, p)
			for w, v := range before {
				for i := range v {
					moved = moved || v[i] != after[w][i]
				}
			}
			if !moved {
				t.Error("no weight moved")
			}
		})
	}
}

// Duplicating every channel and merging the copies returns the original.
func TestDuplicateAndMerge(t *testing.T) {
	for _, name := range modeltest.Names(t) {
		t.Run(name, func(t *testing.T) {
			m := modeltest.Load(t, name)
			d := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 64})
			wide := duplicate(t, Subject(t, m))
			want := modeltest.Outputs(t, m, d)
			if diff := modeltest.MaxDiff(t, want, modeltest.Outputs(t, wide, d)); diff > 1e-5 {
				t.Fatalf("duplicating changes outputs by %g", diff)
			}
			for _, by := range []match.Basis{match.Weights, match.Activations} {
				s := Subject(t, wide)
				widths := map[*coupling.Space]int{}
				for _, sp := range s.Analysis.Spaces {
					if sp.Narrowable() {
						widths[sp] = sp.Width / 2
					}
				}
				r, err := match.Merge(context.Background(), s, widths, match.Options{By: by, Data: d})
				if err != nil {
					t.Fatal(err)
				}
				back, err := edit.Edit(s, r.Maps)
				if err != nil {
					t.Fatal(err)
				}
				if diff := modeltest.MaxDiff(t, want, modeltest.Outputs(t, back, d)); diff > 1e-5 {
					t.Errorf("by %s: outputs differ by %g", by, diff)
				}
				for name, w := range modeltest.Floats(t, m) {
					if got := modeltest.Floats(t, back)[name]; len(got) != len(w) {
						t.Errorf("by %s: weight %q has %d elements, want %d", by, name, len(got), len(w))
					}
				}
			}
		})
	}
}

func TestFoldBatchNormIsExact(t *testing.T) {
	for _, name := range []string{"cnn_a", "resnet_a", "resnet_b", "resnet_optiona"} {
		t.Run(name, func(t *testing.T) {
			m := modeltest.Load(t, name)
			d := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 64})
			f, folded, err := edit.FoldBatchNorm(m, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(folded) == 0 {
				t.Fatal("nothing was folded")
			}
			for _, n := range f.Proto.GetGraph().GetNode() {
				if n.GetOpType() == "BatchNormalization" {
					t.Errorf("%q is left", n.GetName())
				}
			}
			if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, f, d)); diff > 1e-5 {
				t.Errorf("outputs differ by %g", diff)
			}
		})
	}
}

func parsed(t *testing.T, text string) *onnxio.Model {
	t.Helper()
	m, err := onnxtest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
