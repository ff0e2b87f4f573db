package refit_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/choose"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// narrow keeps a share of the channels of every space of a model, merged by weights, and returns
// the child with the source that a refit needs.
func narrow(t *testing.T, name string, keep float64) (*onnxio.Model, teach.Parent) {
	t.Helper()
	m, _, err := edit.FoldBatchNorm(modeltest.Load(t, name), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	widths := map[*coupling.Space]int{}
	for _, sp := range s.Analysis.Spaces {
		if sp.Narrowable() {
			widths[sp] = max(1, int(keep*float64(sp.Width)))
		}
	}
	r, err := match.Merge(context.Background(), s, widths, match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	child, err := edit.Edit(s, r.Maps)
	if err != nil {
		t.Fatal(err)
	}
	return child, teach.Parent{Subject: s, Share: 1, Maps: r.Maps}
}

// selected chooses channels of a written-down model by what data say; width says how many a space
// keeps. The parent has the maps; lost is what biases have not made up for.
func selected(t *testing.T, text string, d func(*onnxio.Model) *dataset.Data, width func(*coupling.Space) int) (child *onnxio.Model, parent teach.Parent, lost map[string][]float64) {
	t.Helper()
	m, err := onnxtest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	widths := map[*coupling.Space]int{}
	for _, sp := range s.Analysis.Spaces {
		widths[sp] = width(sp)
	}
	r, err := choose.Select(context.Background(), s, widths, nil, choose.Options{Data: d(m)})
	if err != nil {
		t.Fatal(err)
	}
	if child, err = edit.Edit(s, r.Maps); err != nil {
		t.Fatal(err)
	}
	return child, teach.Parent{Subject: s, Share: 1, Maps: r.Maps}, r.Lost
}

// always is a data set for any model.
func always(d *dataset.Data) func(*onnxio.Model) *dataset.Data {
	return func(*onnxio.Model) *dataset.Data { return d }
}

func TestRefitBringsAccuracyBack(t *testing.T) {
	calib := modeltest.Data(t, "mnist_calib", dataset.Options{})
	test := modeltest.Data(t, "mnist_test", dataset.Options{})
	for _, name := range modeltest.Names(t) {
		t.Run(name, func(t *testing.T) {
			child, src := narrow(t, name, 0.5)
			before := modeltest.Correct(t, child, test)
			out, report, err := refit.Refit(context.Background(), child, []teach.Parent{src}, refit.Options{Data: calib})
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Layers) == 0 {
				t.Fatal("nothing was refitted")
			}
			for _, l := range report.Layers {
				if l.After > l.Before {
					t.Errorf("%s: the error on held-out samples rose from %g to %g", l.Name, l.Before, l.After)
				}
			}
			// Chance is 100; every one of these nets loses hundreds to merging alone.
			if after := modeltest.Correct(t, out, test); after < before || after < 700 {
				t.Errorf("%d correct before, %d after", before, after)
			}
		})
	}
}

// Where nothing was lost nothing may be changed for the worse.
func TestRefitOfAnExactChildStaysExact(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 200})
	for _, name := range []string{"mlp_a", "cnn_a", "resnet_a"} {
		t.Run(name, func(t *testing.T) {
			child, src := narrow(t, name, 1)
			out, _, err := refit.Refit(context.Background(), child, []teach.Parent{src}, refit.Options{Data: d})
			if err != nil {
				t.Fatal(err)
			}
			if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, src.Subject.Model, d), modeltest.Outputs(t, out, d)); diff > 1e-5 {
				t.Errorf("outputs differ by %g", diff)
			}
		})
	}
}

func TestRefitIsDeterministicAndLeavesItsInputsAlone(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
	child, src := narrow(t, "resnet_optiona", 0.5)
	before := [][]byte{encode(t, child), encode(t, src.Subject.Model)}
	var first []byte
	for range 2 {
		out, _, err := refit.Refit(context.Background(), child, []teach.Parent{src}, refit.Options{Data: d, Options: teach.Options{Threads: 1}})
		if err != nil {
			t.Fatal(err)
		}
		b := encode(t, out)
		if first != nil && string(first) != string(b) {
			t.Error("two runs differ")
		}
		first = b
	}
	for i, m := range []*onnxio.Model{child, src.Subject.Model} {
		if string(encode(t, m)) != string(before[i]) {
			t.Errorf("input %d was changed", i)
		}
	}
}

func TestWideLayersAreRepairedInstead(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 200})
	child, src := narrow(t, "cnn_a", 0.5)
	_, report, err := refit.Refit(context.Background(), child, []teach.Parent{src}, refit.Options{Data: d, MaxInputs: 50})
	if err != nil {
		t.Fatal(err)
	}
	repaired := 0
	for _, l := range report.Layers {
		if (l.Note != "") != (l.Inputs > 50) {
			t.Errorf("%s has %d inputs and the note %q", l.Name, l.Inputs, l.Note)
		}
		if l.Note != "" {
			repaired++
		}
	}
	if repaired == 0 {
		t.Error("no layer was wide enough for the test")
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
