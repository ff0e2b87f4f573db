package compress_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// kill makes channels 0 to n−1 of every hidden space constant zeros, and returns the widths by
// name.
func kill(t *testing.T, m *onnxio.Model, n int) map[string]int {
	t.Helper()
	a, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	widths := map[string]int{}
	for _, s := range a.Spaces {
		if !s.Narrowable() {
			continue
		}
		widths[s.Name] = s.Width
		for _, u := range s.Uses {
			if u.Role == coupling.Consumed {
				continue
			}
			w, err := m.Tensor(g.Constant(u.Tensor))
			if err != nil {
				t.Fatal(err)
			}
			data, inner := w.Float64(), 1
			for _, d := range w.Dims[u.Axis+1:] {
				inner *= d
			}
			for e := range data {
				if e/inner%w.Dims[u.Axis] < n {
					data[e] = 0
				}
			}
			w.Name = u.Tensor
			w.SetFloat64(w.Dims, data)
			if err := g.SetConstant(w); err != nil {
				t.Fatal(err)
			}
		}
	}
	return widths
}

// Channels that do not matter go first, and a share is one of the channels that the model came
// with: with a quarter dead, keeping three quarters loses nothing.
func TestLosslessComesFirst(t *testing.T) {
	m := modeltest.Load(t, "cnn_a").Clone()
	widths := kill(t, m, 3)
	d := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 64})
	for _, keep := range []float64{0.5, 1} {
		out, r, err := compress.Model(context.Background(), m, compress.Options{Keep: keep, Multiple: 1, Options: job.Options{NoData: true}})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Spaces {
			n, ok := widths[s.Name]
			if !ok {
				continue
			}
			if want := min(int(keep*float64(n)+0.5), n-3); s.Before != n || s.After > want || keep == 0.5 && s.After != want {
				t.Errorf("keep %g: %s: %d → %d, want %d → %d", keep, s.Name, s.Before, s.After, n, want)
			}
		}
		if r.Lossless == nil || r.Lossless.Constant < 3*len(widths) {
			t.Errorf("keep %g: report %+v", keep, r.Lossless)
		}
		if r.Before.Params <= r.After.Params {
			t.Errorf("keep %g: %d parameters of %d", keep, r.After.Params, r.Before.Params)
		}
		if keep == 1 {
			if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff > 1e-5 {
				t.Errorf("outputs differ by %g", diff)
			}
		}
	}
	out, r, err := compress.Model(context.Background(), m, compress.Options{Keep: 1, Options: job.Options{NoData: true, Lossless: job.Off}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Lossless != nil || encode(t, out) != encode(t, m) {
		t.Error("with the lossless pass off the model changed")
	}
}

func encode(t *testing.T, m *onnxio.Model) string {
	t.Helper()
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSizeBudget(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
	for _, c := range []struct {
		model string
		o     compress.Options
	}{
		{"resnet_a", compress.Options{Options: job.Options{NoData: true}}},
		{"resnet_a", compress.Options{Uniform: true, Options: job.Options{Data: d, Tune: job.On, Epochs: 1, NoEval: true}}},
		{"cnn_a", compress.Options{Options: job.Options{Data: d, Tune: job.Off, NoEval: true}}},
	} {
		m, o := modeltest.Load(t, c.model), c.o
		_, whole := m.Size()
		for _, share := range []float64{0.7, 0.3} {
			o.Size = int64(share * float64(whole))
			out, r, err := compress.Model(context.Background(), m, o)
			if err != nil {
				t.Fatal(err)
			}
			_, bytes := out.Size()
			if bytes > o.Size || float64(bytes) < 0.85*float64(o.Size) {
				t.Errorf("%s: %d bytes for a budget of %d (%d parameters)", c.model, bytes, o.Size, r.After.Params)
			}
		}
	}
	if _, _, err := compress.Model(context.Background(), modeltest.Load(t, "resnet_a"), compress.Options{Size: 1000, Options: job.Options{NoData: true}}); err == nil || !strings.Contains(err.Error(), "cannot be met: it is 1.00 kB, and") {
		t.Errorf("error %v", err)
	}
}

// A budget that cannot be met is told beside one that can.
func TestUnmetNamesAShare(t *testing.T) {
	m := modeltest.Load(t, "resnet_a")
	ask := func(flag string, share, floor float64) error {
		o := compress.Options{Floor: floor, Multiple: 1, Options: job.Options{NoData: true, DryRun: true}}
		*map[string]*float64{"macs": &o.MACs, "params": &o.Params}[flag] = share
		_, _, err := compress.Model(context.Background(), m, o)
		return err
	}
	named := regexp.MustCompile(`it is [0-9.]+k? \w+, and .* [0-9.]+[kM]? \w+ remain, which is --(\w+) ([0-9.]+)(?:; without one \(--floor 0\) .* would, which is --\w+ ([0-9.]+))?$`)
	for _, flag := range []string{"macs", "params"} {
		for _, floor := range []float64{0, 0.5, 1e-9} {
			err := ask(flag, 1e-4, floor)
			if !errors.Is(err, compress.ErrUnmet) {
				t.Fatal(err)
			}
			found := named.FindStringSubmatch(err.Error())
			if found == nil || found[1] != flag || (found[3] != "") != (floor != 1e-9) {
				t.Fatalf("floor %g: %v", floor, err)
			}
			for i, at := range []float64{floor, 1e-9} {
				if found[2+i] == "" {
					continue
				}
				share, _ := strconv.ParseFloat(found[2+i], 64)
				if err := ask(flag, share, at); err != nil {
					t.Errorf("%s: %v", found[0], err)
				}
				if err := ask(flag, share*0.98, at); err == nil {
					t.Errorf("%s: less would do", found[0])
				}
			}
		}
	}
}

func TestMaxDrop(t *testing.T) {
	m := modeltest.Load(t, "mlp_a")
	calib := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 125})
	test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 200})
	for _, c := range []struct {
		name    string
		eval    *dataset.Data
		limit   float64
		measure string
		samples int
	}{
		{"held out", nil, 0.04, "agreement", 25},
		{"labelled", test, 0.02, "top1", 200},
	} {
		out, r, err := compress.Model(context.Background(), m, compress.Options{MaxDrop: c.limit, Options: job.Options{Data: calib, EvalData: c.eval}})
		if err != nil {
			t.Fatal(err)
		}
		s := r.Search
		if s == nil || s.Measure != c.measure || s.Samples != c.samples || s.HeldOut != (c.eval == nil) || s.Drop > c.limit || s.Limit != c.limit {
			t.Fatalf("%s: %+v", c.name, s)
		}
		if c.eval == nil && r.Refit.Samples > 100 {
			t.Errorf("%s: refitted on %d samples, 25 of 125 are for measuring", c.name, r.Refit.Samples)
		}
		if r.After.MACs >= r.Before.MACs {
			t.Errorf("%s: nothing was saved: %+v", c.name, s.Trials)
		}
		// The result is the smallest within the limit of all that were tried.
		for _, x := range s.Trials {
			if x.Within != (x.Drop <= c.limit) || x.Within && x.Size.MACs < r.After.MACs {
				t.Errorf("%s: trial %+v, result %+v", c.name, x, r.After)
			}
		}
		if !slices.ContainsFunc(s.Trials, func(x compress.Trial) bool { return !x.Within }) {
			t.Errorf("%s: no trial went too far: %+v", c.name, s.Trials)
		}
		if c.eval != nil {
			if lost := modeltest.Correct(t, m, test) - modeltest.Correct(t, out, test); float64(lost)/200 > c.limit+1e-9 {
				t.Errorf("%s: %d of 200 lost", c.name, lost)
			}
		}
	}
	for _, c := range []struct {
		o    compress.Options
		want string
	}{
		{compress.Options{MaxDrop: 0.1, Options: job.Options{NoData: true}}, "max-drop needs data"},
		{compress.Options{MaxDrop: 0.1, Options: job.Options{Data: calib.Sample(3, 0)}}, "too few"},
		{compress.Options{MaxDrop: 1.5, Options: job.Options{Data: calib}}, "max-drop is 1.5"},
		{compress.Options{MaxDrop: 0.1, Keep: 0.5, Options: job.Options{Data: calib}}, "give one of"},
	} {
		if _, _, err := compress.Model(context.Background(), m, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

// Under a budget no space falls below its floor: the answer to a budget that asks for more is an
// error that names what remains and the flag, not a space of one channel.
func TestFloor(t *testing.T) {
	m := modeltest.Load(t, "cnn_a")
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 32})
	for _, o := range []compress.Options{{Options: job.Options{NoData: true}}, {Options: job.Options{Data: d, NoEval: true}}, {Multiple: 4, Options: job.Options{Data: d, NoEval: true}}} {
		o.DryRun = true
		for floor, atLeast := range map[float64]float64{0: 1.0 / 8, 0.35: 0.35, 1e-9: 0} {
			o.Floor, o.MACs = floor, 0.1+0.7*atLeast
			_, r, err := compress.Model(context.Background(), m, o)
			if err != nil {
				t.Fatalf("floor %g: %v", floor, err)
			}
			for _, s := range r.Spaces {
				if s.Kept == "" && float64(s.After) < atLeast*float64(s.Before) {
					t.Errorf("floor %g: %s: %d → %d", floor, s.Name, s.Before, s.After)
				}
			}
			o.MACs = 1e-3
			if _, _, err = compress.Model(context.Background(), m, o); err == nil || !strings.Contains(err.Error(), "remain") {
				t.Errorf("floor %g: error %v", floor, err)
			} else if strings.Contains(err.Error(), "--floor 0") != (floor != 1e-9) {
				t.Errorf("floor %g: %v", floor, err)
			}
		}
	}
	_, r, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.03, Options: job.Options{NoData: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Spaces {
		if s.Kept == "" && s.After != max(1, int(0.03*float64(s.Before)+0.5)) {
			t.Errorf("a share that was asked for: %s: %d → %d", s.Name, s.Before, s.After)
		}
	}
}

// A search holds samples out to measure on even where nothing else is to be judged.
func TestMaxDropMeasuresInAnyCase(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 60})
	o := compress.Options{MaxDrop: 0.5, Options: job.Options{Data: d, NoEval: true, Tune: job.Off}}
	_, r, err := compress.Model(context.Background(), modeltest.Load(t, "mlp_a"), o)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Search; s == nil || s.Samples != 12 || !s.HeldOut || r.Split.Fit.Len() != 48 {
		t.Errorf("%+v, fitted on %d", s, r.Split.Fit.Len())
	}
}

// Labels that the original knows nothing of do not judge: a model that finds as few of them would be
// the cheapest there is.
func TestMaxDropOfDoubtfulLabels(t *testing.T) {
	m := modeltest.Load(t, "mlp_a")
	const n = 200
	rng := rand.New(rand.NewPCG(1, 2))
	x, labels := make([]float32, n*784), make([]int, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for i := range labels {
		labels[i] = i % 10
	}
	d, err := dataset.New("noise", map[string]*engine.Value{m.Proto.Graph.Input[0].GetName(): engine.Float32(x, n, 1, 28, 28)}, labels)
	if err != nil {
		t.Fatal(err)
	}
	var warned []string
	_, r, err := compress.Model(context.Background(), m, compress.Options{MaxDrop: 0.04, Options: job.Options{
		Data: modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 125}), EvalData: d, Warn: func(s string) { warned = append(warned, s) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Search; s.Measure != "agreement" || s.Drop > 0.04 {
		t.Errorf("%+v", s)
	}
	if told := strings.Count(strings.Join(warned, "\n"), "labels are not used"); told != 1 {
		t.Errorf("warned %d times: %q", told, warned)
	}
}
