//go:build cgo

// Command families runs all that monge does to a model over the networks that make.py writes, and
// prints what came of it. See README.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
)

func main() {
	verbose := flag.Bool("v", false, "print all reasons")
	data := flag.Bool("data", true, "also compress and fuse with data")
	only := flag.Bool("fuse", false, "do nothing but fuse each model, by weights: with itself, a copy with its channels in another order, and its half")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: families [flags] FOLDER [NAME...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	failures, err := run(flag.Arg(0), flag.Args()[1:], trial{feed: *data, fuses: *only}, *verbose, os.Stdout)
	if err == nil && failures > 0 {
		err = fmt.Errorf("%d failures", failures)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "families: "+err.Error())
		os.Exit(1)
	}
}

// run goes through the models NAME_*.onnx of a folder and counts what failed.
func run(folder string, names []string, how trial, verbose bool, out io.Writer) (failures int, err error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.onnx"))
	if err != nil {
		return 0, err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "model\tnarrowable\tspaces\tfrozen\trigid\t½ MACs\t½ params\t½ cosine\t¾ data\t½ macs data\tfuse\tfuse data\tfailures")
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		family := name[:max(strings.LastIndex(name, "_"), 0)]
		if len(names) > 0 && !slices.Contains(names, family) && !slices.Contains(names, name) {
			continue
		}
		t := how
		t.path, t.data, t.cells = path, filepath.Join(folder, family+".npz"), map[string]string{}
		if strings.HasSuffix(name, "_a") {
			t.sibling = filepath.Join(folder, family+"_b.onnx")
		}
		t.all()
		failures += len(t.failed)
		fmt.Fprintf(w, "%s\t", name)
		for _, c := range columns {
			fmt.Fprintf(w, "%s\t", t.cells[c])
		}
		fmt.Fprintln(w, strings.Join(t.failed, "; "))
		if verbose {
			for _, why := range slices.SortedFunc(maps.Keys(t.reasons), func(a, b string) int { return cmp.Compare(t.reasons[b], t.reasons[a]) }) {
				fmt.Fprintf(w, "\t%5.1f %%  %s\n", t.reasons[why], why)
			}
		}
		w.Flush()
	}
	return failures, nil
}

var columns = []string{"share", "spaces", "frozen", "rigid", "macs", "params", "half", "data", "budget", "fuse", "union"}

// A trial is what is done to one model.
type trial struct {
	path, data, sibling string
	feed, fuses         bool // with data; do nothing else
	cells               map[string]string
	failed              []string
	reasons             map[string]float64 // share of the parameters by why their spaces stay

	model  *onnxio.Model
	form   *qdq.Form // how the model is written, if it is quantised
	inputs *dataset.Data
	// few are inputs by number of samples, want the model's outputs for them; of a model with a
	// fixed batch only one number is there.
	few, want map[int]map[string]*engine.Value
	apart     float64 // how far the original's outputs depend on the batch
	loose     float64 // tolerance
}

func (t *trial) fail(what string, err error) {
	t.failed = append(t.failed, what+": "+err.Error())
}

// step does one thing; a panic is a failure like others.
func (t *trial) step(what string, f func() error) {
	defer func() {
		if r := recover(); r != nil {
			t.fail(what, fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	if err := f(); err != nil {
		t.fail(what, err)
	}
}

func (t *trial) all() {
	t.step("load", t.open)
	if len(t.failed) > 0 || t.want == nil {
		return
	}
	if t.fuses {
		t.fusions()
		return
	}
	t.step("analysis", t.identities)
	t.step("lossless", func() error {
		m, r, err := lossless.Strip(context.Background(), t.model, lossless.Options{})
		if err != nil {
			return err
		}
		if r.Reverted {
			return fmt.Errorf("reverted at %.2g", r.Check.Diff)
		}
		return t.same(m)
	})
	t.step("keep 1", func() error {
		m, _, err := compress.Model(context.Background(), t.model, compress.Options{Keep: 1, Options: job.Options{NoData: true}})
		if err != nil {
			return err
		}
		return t.same(m)
	})
	t.step("keep ½", func() error {
		m, r, err := compress.Model(context.Background(), t.model, compress.Options{Keep: 0.5, Options: job.Options{NoData: true}})
		if err != nil {
			return err
		}
		t.cells["macs"] = fmt.Sprintf("%.2f", float64(r.After.MACs)/float64(r.Before.MACs))
		t.cells["params"] = fmt.Sprintf("%.2f", float64(r.After.Params)/float64(r.Before.Params))
		return t.loads("half", m)
	})
	t.step("keep ½ with sizes given", func() error {
		for n, feeds := range t.few { // the result has to take another number of samples all the same
			shapes := map[string][]int{}
			for name, v := range feeds {
				shapes[name] = v.Dims
			}
			m, _, err := compress.Model(context.Background(), t.model, compress.Options{Keep: 0.5, Options: job.Options{NoData: true, InputShapes: shapes}})
			if err == nil {
				_, err = t.outputs(m)
			}
			if err != nil {
				return fmt.Errorf("of %d samples: %w", n, err)
			}
		}
		return nil
	})
	if t.sibling == "" {
		return
	}
	t.step("fuse", func() error { return t.fuse("fuse", fuse.Options{}) })
	if !t.feed {
		return
	}
	t.step("keep ¾ with data", func() error {
		m, _, err := compress.Model(context.Background(), t.model, compress.Options{Keep: 0.75, Options: job.Options{Data: t.inputs, Tune: job.Off, NoEval: true}})
		if err != nil {
			return err
		}
		return t.loads("data", m)
	})
	t.step("half the MACs with data", func() error {
		m, _, err := compress.Model(context.Background(), t.model, compress.Options{MACs: 0.5, Options: job.Options{Data: t.inputs, Tune: job.On, Epochs: 3, NoEval: true}})
		if err != nil {
			return err
		}
		return t.loads("budget", m)
	})
	t.step("fuse with data", func() error {
		return t.fuse("union", fuse.Options{Options: job.Options{Data: t.inputs, Tune: job.On, Epochs: 3}})
	})
}

// open reads the model and runs it on one sample and on five.
func (t *trial) open() (err error) {
	if t.model, err = onnxio.Load(t.path); err != nil {
		return err
	}
	if t.inputs, err = dataset.Open(t.data, dataset.Preprocess{}, dataset.Options{}); err != nil {
		return err
	}
	s, err := engine.Open(t.model, engine.Options{})
	if err != nil {
		t.cells["share"] = "onnxruntime refuses the original"
		return nil
	}
	defer s.Close()
	feed, err := t.inputs.For(s.Inputs())
	if err != nil {
		return err
	}
	t.few = map[int]map[string]*engine.Value{}
	want := map[int]map[string]*engine.Value{}
	t.loose = 1e-4
	for _, out := range s.Outputs() {
		if out.Type == onnxio.Float16 {
			t.loose = 0.03
		}
	}
	for _, n := range []int{1, 5} {
		n = feed.BatchSize(n)
		if t.few[n] != nil {
			continue
		}
		if t.few[n], err = feed.Batch(0, n); err != nil {
			return err
		}
		if want[n], err = s.Run(context.Background(), t.few[n]); err != nil {
			t.cells["share"] = "onnxruntime cannot run the original"
			return nil
		}
	}
	t.want = want
	t.apart = agreement(t.want)
	if t.apart > t.loose { // norms over the batch: nothing to compare
		t.cells["share"] = "batch matters "
	}
	return nil
}

// outputs writes a model, reads it and runs it on the same inputs.
func (t *trial) outputs(m *onnxio.Model) (map[int]map[string]*engine.Value, error) {
	dir, err := os.MkdirTemp("", "families-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "model.onnx")
	if err := onnxio.Save(context.Background(), path, m, onnxio.SaveOptions{}); err != nil {
		return nil, err
	}
	if m, err = onnxio.Load(path); err != nil {
		return nil, err
	}
	s, err := engine.Open(m, engine.Options{Strict: true})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	have := map[int]map[string]*engine.Value{}
	for n, feeds := range t.few {
		if have[n], err = s.Run(context.Background(), feeds); err != nil {
			return nil, err
		}
		for name, want := range t.want[n] {
			if h := have[n][name]; h == nil || !slices.Equal(h.Dims, want.Dims) {
				return nil, fmt.Errorf("output %q is not as it was", name)
			}
		}
	}
	return have, nil
}

// same fails where a model's outputs are not those of the original.
func (t *trial) same(m *onnxio.Model) error {
	have, err := t.outputs(m)
	if err != nil {
		return err
	}
	for n := range have {
		for name, want := range t.want[n] {
			if d := distance(want.Float64(), have[n][name].Float64()); !(d <= t.loose) {
				return fmt.Errorf("output %q of %d samples differs by %.2g", name, n, d)
			}
		}
	}
	return nil
}

// loads fails where a model does not load and run, or where its outputs for one sample depend on
// how many are run though the original's do not. The least cosine of all outputs goes into a cell.
func (t *trial) loads(cell string, m *onnxio.Model) error {
	have, err := t.outputs(m)
	if err != nil {
		return err
	}
	least := 1.0
	for n := range have {
		for name, want := range t.want[n] {
			least = min(least, cosine(want.Float64(), have[n][name].Float64()))
		}
	}
	t.cells[cell] = fmt.Sprintf("%.3f", least)
	if math.IsNaN(least) {
		return errors.New("outputs are no numbers")
	}
	if d := agreement(have); d > max(10*t.apart, 10*t.loose) {
		return fmt.Errorf("its outputs depend on the batch, by %.2g", d)
	}
	return nil
}

func (t *trial) fuse(cell string, o fuse.Options) error {
	b, err := onnxio.Load(t.sibling)
	if err != nil {
		return err
	}
	m, _, err := fuse.Models(context.Background(), []*onnxio.Model{b, t.model}, o)
	if err != nil {
		return err
	}
	return t.loads(cell, m)
}

// identities edits spaces in ways that may change nothing: all channels in another order, and every
// channel twice, read by half.
func (t *trial) identities() error {
	m, form, err := qdq.Expand(t.model)
	if err != nil {
		return err
	}
	t.form = form
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		return err
	}
	a := s.Analysis
	t.cells["share"] += fmt.Sprintf("%.0f %%", 100*a.NarrowableShare())
	t.cells["spaces"] = fmt.Sprint(len(a.Spaces))
	frozen, rigid := 0, 0
	t.reasons = map[string]float64{}
	total := float64(a.Params(nil))
	for _, sp := range a.Spaces {
		why := ""
		switch {
		case sp.Frozen:
			frozen++
			why = "frozen: " + sp.Reason
		case sp.Rigid != "":
			rigid++
			why = "rigid: " + sp.Rigid
		default:
			continue
		}
		seen := map[string]bool{}
		for _, u := range sp.Uses {
			if w := a.Weights[u.Tensor]; w != nil && u.Role != coupling.Carried && !seen[u.Tensor] {
				seen[u.Tensor] = true
				t.reasons[fmt.Sprintf("%s (%s %d)", why, sp.Name, sp.Width)] += 100 * float64(w.Len()) / total
			}
		}
	}
	t.cells["frozen"], t.cells["rigid"] = fmt.Sprint(frozen), fmt.Sprint(rigid)
	exact := t.loose
	moved, doubled := edit.Maps{}, edit.Maps{}
	for _, sp := range a.Spaces {
		if !sp.Frozen {
			moved[sp] = permutation(sp)
		}
		if sp.Narrowable() {
			doubled[sp] = duplication(sp)
		}
	}
	for _, e := range []struct {
		what string
		maps edit.Maps
	}{{"permuting", moved}, {"doubling", doubled}} {
		if t.loose = exact; form != nil {
			t.loose = 0.02 // a number between two steps may be rounded the other way
		}
		if e.what == "doubling" && slices.ContainsFunc(slices.Collect(maps.Values(a.Weights)), func(w *coupling.Weight) bool { return w.Quant != nil }) {
			t.loose = max(0.02, 2*t.loose) // halves of integers are rounded
		}
		if err := t.unchanged(s, e.maps); err == nil {
			continue
		}
		// Which space is it?
		var all []error
		for _, sp := range a.Spaces {
			if m := e.maps[sp]; m != nil {
				if err := t.unchanged(s, edit.Maps{sp: m}); err != nil {
					all = append(all, fmt.Errorf("%s space %q: %w", e.what, sp.Name, err))
				}
			}
		}
		if len(all) == 0 {
			all = append(all, fmt.Errorf("%s all: %w", e.what, t.unchanged(s, e.maps)))
		}
		return errors.Join(all...)
	}
	t.loose = exact
	return t.uneven(s)
}

// uneven drops channels from every space alone, and other shares of channels from all at once.
func (t *trial) uneven(s *edit.Subject) error {
	all := edit.Maps{}
	rng := rand.New(rand.NewPCG(3, 5))
	for _, sp := range s.Analysis.Spaces {
		if !sp.Narrowable() {
			continue
		}
		all[sp] = selection(sp, func(n int) int { return 1 + rng.IntN(n) })
		m, err := t.edit(s, edit.Maps{sp: selection(sp, func(n int) int { return max(n-1, 1) })})
		if err == nil {
			_, err = t.outputs(m)
		}
		if err != nil {
			return fmt.Errorf("dropping a channel of %q: %w", sp.Name, err)
		}
	}
	m, err := t.edit(s, all)
	if err == nil {
		_, err = t.outputs(m)
	}
	if err != nil {
		return fmt.Errorf("dropping channels of all: %w", err)
	}
	return nil
}

// selection keeps some channels of each piece.
func selection(sp *coupling.Space, keep func(n int) int) *edit.Map {
	m := &edit.Map{}
	var rows edit.Rows
	at := 0
	for _, p := range sp.Pieces {
		k := keep(p.Size())
		m.Pieces = append(m.Pieces, k)
		for c := range k {
			rows = append(rows, []edit.Entry{{Col: at + c, Val: 1}})
		}
		at += p.Size()
	}
	for range sp.Groups {
		m.Groups = append(m.Groups, edit.Transfer{In: rows, OutT: rows})
	}
	return m
}

func (t *trial) unchanged(s *edit.Subject, maps edit.Maps) error {
	m, err := t.edit(s, maps)
	if err != nil {
		return err
	}
	return t.same(m)
}

// edit carries maps out and writes the model as it was written.
func (t *trial) edit(s *edit.Subject, maps edit.Maps) (*onnxio.Model, error) {
	m, err := edit.Edit(s, maps)
	if err != nil {
		return nil, err
	}
	return t.form.Restore(m)
}

func permutation(sp *coupling.Space) *edit.Map {
	m := &edit.Map{}
	for _, p := range sp.Pieces {
		m.Pieces = append(m.Pieces, p.Size())
	}
	for g := range sp.Groups {
		var rows edit.Rows
		for _, c := range rand.New(rand.NewPCG(uint64(g), uint64(sp.Width))).Perm(sp.Width) {
			rows = append(rows, []edit.Entry{{Col: c, Val: 1}})
		}
		m.Groups = append(m.Groups, edit.Transfer{In: rows, OutT: rows})
	}
	return m
}

func duplication(sp *coupling.Space) *edit.Map {
	m := &edit.Map{}
	for _, p := range sp.Pieces {
		m.Pieces = append(m.Pieces, 2*p.Size())
	}
	for range sp.Groups {
		var in, out edit.Rows
		for c := range sp.Width {
			for range 2 {
				in = append(in, []edit.Entry{{Col: c, Val: 1}})
				out = append(out, []edit.Entry{{Col: c, Val: 0.5}})
			}
		}
		m.Groups = append(m.Groups, edit.Transfer{In: in, OutT: out})
	}
	return m
}

// agreement is how far the outputs for the first sample, alone and among others, are apart.
func agreement(outputs map[int]map[string]*engine.Value) float64 {
	one, more := outputs[1], outputs[5]
	d := 0.0
	for name, a := range one {
		if b := more[name]; b != nil && len(a.Dims) > 0 && a.Dims[0] == 1 && b.Dims[0] == 5 {
			d = max(d, distance(a.Float64(), b.Float64()[:a.Len()]))
		}
	}
	return d
}

// distance is max|a−b| / max|a|.
func distance(a, b []float64) float64 {
	d, scale := 0.0, 0.0
	for i := range a {
		if !(math.Abs(a[i]-b[i]) <= d) { // NaN too
			d = math.Abs(a[i] - b[i])
		}
		scale = max(scale, math.Abs(a[i]))
	}
	return d / max(scale, 1e-30)
}

func cosine(a, b []float64) float64 {
	var xy, xx, yy float64
	for i, x := range a {
		xy, xx, yy = xy+x*b[i], xx+x*x, yy+b[i]*b[i]
	}
	return xy / math.Sqrt(max(xx*yy, 1e-300))
}
