package compress_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
)

func TestKeepAllChangesNoBit(t *testing.T) {
	for _, name := range modeltest.Names(t) {
		m := modeltest.Load(t, name)
		out, _, err := compress.Model(context.Background(), m, compress.Options{Keep: 1, Options: job.Options{NoData: true, Lossless: job.Off}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := out.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s: the model changed", name)
		}
	}
}

func TestWidthsAreWhatWasAsked(t *testing.T) {
	for _, name := range modeltest.Names(t) {
		t.Run(name, func(t *testing.T) {
			m := modeltest.Load(t, name)
			d := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 8})
			for _, keep := range []float64{0.9, 0.5, 0.01} {
				out, report, err := compress.Model(context.Background(), m, compress.Options{Keep: keep, Options: job.Options{NoData: true}})
				if err != nil {
					t.Fatal(err)
				}
				modeltest.Outputs(t, out, d) // loads with full checking, and runs
				after, err := coupling.Analyze(out, coupling.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if n := after.Params(nil); n != report.After.Params {
					t.Errorf("keep %g: %d parameters, reported %d", keep, n, report.After.Params)
				}
				if n, _ := after.MACs(nil); n != report.After.MACs {
					t.Errorf("keep %g: %d MACs, reported %d", keep, n, report.After.MACs)
				}
				for _, s := range report.Spaces {
					if s.Kept != "" {
						if s.After != s.Before {
							t.Errorf("keep %g: %q was to stay (%s) and went from %d to %d", keep, s.Name, s.Kept, s.Before, s.After)
						}
						continue
					}
					want := max(1, int(keep*float64(s.Before)+0.5))
					least := 2 // a space of two pieces keeps one of each
					if strings.Contains(s.Name, "/attention/") {
						least = 8 // heads go whole
					}
					if s.After < want || s.After > max(want, least) {
						t.Errorf("keep %g: %q has %d of %d channels, want %d", keep, s.Name, s.After, s.Before, want)
					}
				}
			}
		})
	}
}

func TestBudgets(t *testing.T) {
	m := modeltest.Load(t, "resnet_a")
	for _, o := range []compress.Options{{MACs: 0.5, Options: job.Options{NoData: true}}, {MACs: 0.05, Options: job.Options{NoData: true}}, {Params: 0.3, Options: job.Options{NoData: true}}, {MACs: 0.5, Multiple: 4, Options: job.Options{NoData: true}}} {
		out, report, err := compress.Model(context.Background(), m, o)
		if err != nil {
			t.Fatal(err)
		}
		if out == nil {
			t.Fatal("no model")
		}
		got, want := float64(report.After.MACs)/float64(report.Before.MACs), o.MACs
		if o.Params != 0 {
			got, want = float64(report.After.Params)/float64(report.Before.Params), o.Params
		}
		if got > want || got < 0.6*want {
			t.Errorf("%+v: %.3f of the cost remains", o, got)
		}
		for _, s := range report.Spaces {
			if o.Multiple > 1 && s.After != s.Before && s.After%o.Multiple != 0 {
				t.Errorf("%q has %d channels, no multiple of %d", s.Name, s.After, o.Multiple)
			}
			fast := map[bool]int{true: 8, false: 4}[s.Before >= 32 && s.After >= 16]
			if o.Multiple == 0 && s.Before >= 16 && s.After >= 8 && s.After%fast != 0 {
				t.Errorf("%q went from %d to %d channels, which convolutions over images do not like", s.Name, s.Before, s.After)
			}
		}
	}
	if _, _, err := compress.Model(context.Background(), m, compress.Options{MACs: 1e-6, Options: job.Options{NoData: true}}); err == nil || !strings.Contains(err.Error(), "cannot be met") {
		t.Errorf("an impossible budget gives %v", err)
	}
}

func TestExcludeAndKeepResidual(t *testing.T) {
	m := modeltest.Load(t, "resnet_a")
	_, report, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Exclude: []string{"*block1/conv1*"}, KeepResidual: true, Options: job.Options{NoData: true}})
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]string{}
	for _, s := range report.Spaces {
		if s.After == s.Before {
			kept[s.Name] = s.Kept
		}
	}
	want := map[string]string{
		"/conv1/Conv":        "residual stream (keep-residual)",
		"/block2/conv2/Conv": "residual stream (keep-residual)",
		"/block1/conv1/Conv": `excluded by "*block1/conv1*"`,
		"/fc/Gemm":           `graph output "logits"`,
	}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Error(diff)
	}
}

func TestDryRunOnlyTellsWidths(t *testing.T) {
	m := modeltest.Load(t, "cnn_a")
	out, dry, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true, DryRun: true}})
	if err != nil || out != nil {
		t.Fatalf("model %v, error %v", out, err)
	}
	_, wet, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true}})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range dry.Spaces {
		if w := wet.Spaces[i]; w.After != s.After || w.Name != s.Name {
			t.Errorf("announced %q %d, got %q %d", s.Name, s.After, w.Name, w.After)
		}
	}
}

// The wide MLP moved into the narrow one's shape has its widths and the accuracy that the reference
// reaches (testdata/reference: 843 by weights, 868 by activations of 1,000).
func TestInto(t *testing.T) {
	wide, narrow := modeltest.Load(t, "mlp_wide"), modeltest.Load(t, "mlp_a")
	images := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 200, Seed: dataset.FileOrder})
	test := modeltest.Data(t, "mnist_test", dataset.Options{})
	for by, correct := range map[match.Basis]int{match.Weights: 843, match.Activations: 868} {
		out, report, err := compress.Into(context.Background(), wide, narrow, compress.Options{Options: job.Options{Refit: job.Off, Align: string(by), Data: images, NoEval: true}})
		if err != nil {
			t.Fatal(err)
		}
		var after []int
		for _, s := range report.Spaces {
			after = append(after, s.After)
		}
		if diff := cmp.Diff([]int{64, 32, 10}, after); diff != "" {
			t.Error(diff)
		}
		if n := modeltest.Correct(t, out, test); n < correct-1 || n > correct+1 {
			t.Errorf("by %s: %d correct, in the reference %d", by, n, correct)
		}
	}
}

func TestIntoItsOwnShapeGivesTheModel(t *testing.T) {
	m := modeltest.Load(t, "resnet_optiona")
	d := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 32})
	out, _, err := compress.Into(context.Background(), m, m, compress.Options{Options: job.Options{NoData: true}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff > 1e-5 {
		t.Errorf("outputs differ by %g", diff)
	}
}

func TestErrors(t *testing.T) {
	m := modeltest.Load(t, "mlp_a")
	for name, c := range map[string]struct {
		o    compress.Options
		want string
	}{
		"nothing asked": {compress.Options{Options: job.Options{NoData: true, Lossless: job.Off}}, "give one of"},
		"two budgets":   {compress.Options{Keep: 0.5, MACs: 0.5, Options: job.Options{NoData: true}}, "give one of"},
		"keep too much": {compress.Options{Keep: 1.5, Options: job.Options{NoData: true}}, "between 0 and 1"},
		"negative":      {compress.Options{Keep: -1, Options: job.Options{NoData: true}}, "between 0 and 1"},
		"multiple":      {compress.Options{Keep: 0.5, Multiple: -8, Options: job.Options{NoData: true}}, "multiple"},
		"empty pattern": {compress.Options{Keep: 0.5, Exclude: []string{""}, Options: job.Options{NoData: true}}, "pattern"},
		"metric":        {compress.Options{Keep: 0.5, Options: job.Options{NoData: true, Cost: string("manhattan")}}, "manhattan"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := compress.Model(context.Background(), m, c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, _, err := compress.Into(context.Background(), m, modeltest.Load(t, "cnn_a"), compress.Options{Options: job.Options{NoData: true}}); err == nil || !strings.Contains(err.Error(), "the models differ") {
		t.Errorf("another architecture gives %v", err)
	}
}

func TestNaNInAnEditedWeightIsNamed(t *testing.T) {
	m := modeltest.Load(t, "mlp_a").Clone()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	name := g.Linears()[1].Weight.Name
	w, err := m.Tensor(g.Constant(name))
	if err != nil {
		t.Fatal(err)
	}
	v := w.Float64()
	v[5] = math.NaN()
	w.SetFloat64(w.Dims, v)
	if err := g.SetConstant(w); err != nil {
		t.Fatal(err)
	}
	_, _, err = compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true}})
	if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("error %v does not name %q", err, name)
	}
}
