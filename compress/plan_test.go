package compress_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// written is a plan as it is read again.
func written(t *testing.T, p *compress.Plan) *compress.Plan {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	again, err := compress.ReadPlan("plan.yaml", &b)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// A plan that nobody has edited makes the same model again, with data and without: bit for bit, but
// for subspaces that are found anew on all samples.
func TestPlanAgain(t *testing.T) {
	enginetest.Require(t)
	data := job.Options{Data: modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 120}), Tune: job.Off, NoEval: true}
	for _, c := range []struct {
		name string
		o    compress.Options
		keep bool // the plan says which channels stay
		anew bool // there are subspaces
	}{
		{"cnn_a", compress.Options{Keep: 0.5, Options: data}, true, false},
		{"resnet_a", compress.Options{MACs: 0.6, Uniform: true, Options: data}, true, false},
		{"mlp_a", compress.Options{Keep: 0.5, Options: job.Options{NoData: true}}, false, false},
		{"vit_a", compress.Options{MACs: 0.6, Options: data}, true, true},
	} {
		m := modeltest.Load(t, c.name)
		first, done, err := compress.Model(context.Background(), m, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if keeps := slices.ContainsFunc(done.Plan.Spaces, func(s compress.PlanSpace) bool { return s.Keep != nil }); keeps != c.keep {
			t.Errorf("%s: %+v", c.name, done.Plan.Spaces)
		}
		again := compress.Options{Plan: written(t, done.Plan), Options: c.o.Options}
		second, report, err := compress.Model(context.Background(), m, again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(done.Spaces, report.Spaces); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		a, err := first.Encode()
		if err != nil {
			t.Fatal(err)
		}
		b, err := second.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !c.anew && !bytes.Equal(a, b) {
			t.Errorf("%s: the models differ", c.name)
		}
	}
}

// Without a refit the channels that a plan names are cut out, and no number changes: what Weights
// says is all there is to do.
func TestPlanCuts(t *testing.T) {
	m := modeltest.Load(t, "cnn_a")
	p, err := compress.ReadPlan("plan.yaml", strings.NewReader("spaces:\n  /conv3/Conv: {keep: [30, 2, 7]}\n  /fc1/Gemm: {width: 48}\n"))
	if err != nil {
		t.Fatal(err)
	}
	out, done, err := compress.Model(context.Background(), m, compress.Options{Plan: p, Options: job.Options{NoData: true, KeepBatchNorm: true}})
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(done.Plan.Spaces, func(s compress.PlanSpace) bool { return s.Name == "/conv3/Conv" })
	if at < 0 {
		t.Fatalf("%+v", done.Plan.Spaces)
	}
	said := done.Plan.Spaces[at]
	if !slices.Equal(said.Keep, []int{2, 7, 30}) || said.Channels != 32 || len(said.Weights) != 6 {
		t.Fatalf("%+v", said)
	}
	from, to := constants(t, m), constants(t, out)
	for _, w := range said.Weights {
		want := from[w.Tensor]
		for _, axis := range w.Axes {
			want = cutAlong(want, axis, said.Channels, said.Keep)
		}
		if got := to[w.Tensor]; got == nil || !slices.Equal(got.Dims, want.Dims) || !slices.Equal(got.F32, want.F32) {
			t.Errorf("%s is not cut as the plan says", w.Tensor)
		}
		delete(from, w.Tensor)
	}
	for name, w := range from {
		if got := to[name]; got == nil || !slices.Equal(got.F32, w.F32) {
			t.Errorf("%s was changed", name)
		}
	}
}

// constants are the weights of a model.
func constants(t *testing.T, m *onnxio.Model) map[string]*onnxio.Tensor {
	t.Helper()
	out := map[string]*onnxio.Tensor{}
	for _, i := range m.Proto.GetGraph().GetInitializer() {
		w, err := m.Tensor(i)
		if err != nil {
			t.Fatal(err)
		}
		if w.F32 != nil {
			out[i.GetName()] = w
		}
	}
	return out
}

// cutAlong keeps some channels, each with all its positions, of an axis.
func cutAlong(w *onnxio.Tensor, axis, channels int, keep []int) *onnxio.Tensor {
	before, behind := 1, 1
	for i, d := range w.Dims {
		switch {
		case i < axis:
			before *= d
		case i > axis:
			behind *= d
		}
	}
	each := w.Dims[axis] / channels * behind
	out := &onnxio.Tensor{Dims: slices.Clone(w.Dims)}
	out.Dims[axis] = w.Dims[axis] / channels * len(keep)
	for b := range before {
		for _, c := range keep {
			from := (b*channels + c) * each
			out.F32 = append(out.F32, w.F32[from:from+each]...)
		}
	}
	return out
}

// What cannot be is an error that names the line and the space.
func TestPlanMistakes(t *testing.T) {
	m, err := onnxtest.Parse("x: N 8 4 4\nh = Conv(x, w[8 4 3 3], b[8]) group=2 pads=1,1,1,1\nr = Relu(h)\nk = Conv(r, u[6 8 1 1], c[6])\ns = Relu(k)\ny = Conv(s, v[3 6 1 1], d[3])")
	if err != nil {
		t.Fatal(err)
	}
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"first", "", "second", "", "last"} {
		g.Nodes[i].Name = &name
	}
	if err := g.Refresh(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                                    "plan.yaml: it is empty",
		"a: [":                                "plan.yaml: ",
		"[1]":                                 "plan.yaml:1: the plan: want names",
		"spaces: 3":                           "plan.yaml:1: spaces: want names",
		"model: x":                            "plan.yaml:1: there are no spaces",
		"model: x\nwidths: {}":                `plan.yaml:2: the plan: "widths" means nothing here`,
		"spaces:\n  second: {}":               `plan.yaml:2: space "second": width is 0: want 1 or more`,
		"spaces:\n  second: {width: -1}":      `plan.yaml:2: space "second": width is -1`,
		"spaces:\n  second: {width: a}":       `plan.yaml:2: want space "second": width: a whole number`,
		"spaces:\n  second: {width: 3.5}":     `plan.yaml:2: want space "second": width: a whole number`,
		"spaces:\n  second: {keep: [1, 2.5]}": `plan.yaml:2: want space "second": keep: a list of whole numbers`,
		"spaces:\n  second: {widht: 3}":       `plan.yaml:2: space "second": "widht" means nothing here`,
		"spaces:\n  second: {width: 3}\n\n  second: {width: 3}": `second`,
		"spaces:\n  second: {keep: [1, 1]}":                     `plan.yaml:2: space "second": keep: channel 1 is there twice`,
		"spaces:\n  second: {keep: [-1]}":                       `plan.yaml:2: space "second": keep: there is no channel -1`,
		"spaces:\n  second: {width: 3, keep: [1, 2]}":           `plan.yaml:2: space "second": width is 3, but 2 channels are to stay`,
		"spaces:\n\n  secnd: {width: 3}":                        `plan.yaml:3: space "secnd": the model has none of that name: perhaps second`,
		"spaces:\n  second: {width: 7}":                         `plan.yaml:2: space "second": width is 7, but there are 6 channels`,
		"spaces:\n  second: {width: 3, channels: 8}":            `plan.yaml:2: space "second": it has 6 channels in the model, not 8`,
		"spaces:\n  second: {keep: [1, 6]}":                     `plan.yaml:2: space "second": keep: there is no channel 6`,
		"spaces:\n  second: {width: 3}\n  last: {width: 2}":     `plan.yaml:3: space "last": its width cannot change: graph output "y"`,
		"spaces:\n  second: {width: 3, weights: {u: zero}}":     `plan.yaml:2: want space "second": weights: a list of axes`,
	} {
		p, err := compress.ReadPlan("plan.yaml", strings.NewReader(text))
		if err == nil {
			_, _, err = compress.Model(context.Background(), m, compress.Options{Plan: p, Options: job.Options{NoData: true}})
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// Whatever a file holds, it is a plan that can be written and read again, or an error in one line.
func FuzzReadPlan(f *testing.F) {
	f.Add("spaces:\n  a: {width: 3, keep: [1, 2, 3], weights: {w: [0, 1]}}\n")
	f.Add("a: &a [*a]\nspaces: *a")
	f.Add("spaces:\n  ? {a: b}\n  : {width: 1}\n")
	f.Add("spaces: {a: {width: 1, keep: !!binary aGk=}}")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := compress.ReadPlan("plan.yaml", strings.NewReader(text))
		if err != nil {
			if strings.Contains(err.Error(), "internal error") {
				t.Error(err)
			}
			return
		}
		var b bytes.Buffer
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := compress.ReadPlan("plan.yaml", &b); err != nil {
			t.Error(err)
		}
	})
}

// A plan of a result that lost blocks and got operators of low rank beside narrower spaces makes a
// model of the same shapes from the original.
func TestPlanOfMoves(t *testing.T) {
	zero := func(w *onnxio.Tensor) { w.SetFloat64(w.Dims, make([]float64, w.Len())) }
	for name, c := range map[string]struct {
		model  *onnxio.Model
		macs   float64
		blocks bool
	}{
		"a block": {withWeight(t, twoBlocks, "w4", zero), 0.4, true},
		"a rank":  {withWeight(t, oneLow, "low", ofRank(4)), 0.5, false},
	} {
		first, done := moved(t, c.model, compress.Options{MACs: c.macs})
		narrower := slices.ContainsFunc(done.Spaces, func(s compress.Space) bool { return s.After != s.Before && s.After > 0 })
		if len(done.Blocks) > 0 != c.blocks || len(done.Ranks) > 0 == c.blocks || !narrower {
			t.Fatalf("%s: %+v, %+v, %+v", name, done.Spaces, done.Blocks, done.Ranks)
		}
		second, again := moved(t, c.model, compress.Options{Plan: written(t, done.Plan)})
		if diff := cmp.Diff(done.Spaces, again.Spaces, cmpopts.IgnoreFields(compress.Space{}, "Cost")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(done.Plan, again.Plan, cmpopts.IgnoreUnexported(compress.Plan{}, compress.PlanSpace{}, compress.PlanBlock{}, compress.PlanRank{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if again.After != done.After {
			t.Errorf("%s: %+v, want %+v", name, again.After, done.After)
		}
		from, to := constants(t, first), constants(t, second)
		if len(from) != len(to) {
			t.Errorf("%s: %d weights, want %d", name, len(to), len(from))
		}
		for w, x := range from {
			if y := to[w]; y == nil || !slices.Equal(x.Dims, y.Dims) {
				t.Errorf("%s: %s is not %v", name, w, x.Dims)
			}
		}
	}
}

// What a plan says of blocks and ranks that cannot be is told with the line.
func TestPlanOfMovesMistakes(t *testing.T) {
	m, err := onnxtest.Parse(twoBlocks)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"blocks: [Add_k]":                      `plan.yaml:1: blocks: "Add_k": the model has none of that name: perhaps Add_a`,
		"blocks: [Add_a, Add_a]":               `plan.yaml:1: blocks: "Add_a" is there twice`,
		"blocks: a":                            `plan.yaml:1: blocks: want a list of names`,
		"ranks:\n  Conv_c: 0":                  `plan.yaml:2: ranks: "Conv_c": 0: want 1 or more`,
		"ranks:\n  Conv_c: 37":                 `plan.yaml:2: ranks: "Conv_c": 37 is more than the 36 that its weight can have`,
		"ranks:\n  Conv_cc: 3":                 `plan.yaml:2: ranks: "Conv_cc": the model has none of that name: perhaps Conv_c`,
		"blocks: [Add_a]\nranks:\n  Conv_c: 3": `plan.yaml:3: ranks: "Conv_c": its block is dropped`,
		"ranks:\n  Conv_c: many":               `plan.yaml:2: want ranks: "Conv_c": a whole number`,
	} {
		p, err := compress.ReadPlan("plan.yaml", strings.NewReader(text))
		if err == nil {
			_, _, err = compress.Model(context.Background(), m, compress.Options{Plan: p, Options: job.Options{Data: modeltest.Noise(t, m, 120, 5), Tune: job.Off}})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	p, err := compress.ReadPlan("plan.yaml", strings.NewReader("blocks: [Add_a]"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := compress.Model(context.Background(), m, compress.Options{Plan: p, Options: job.Options{NoData: true}}); err == nil || !strings.Contains(err.Error(), "need data") {
		t.Errorf("without data: %v", err)
	}
}
