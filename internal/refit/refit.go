package refit

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Options are the settings of a refit. Data is required; the zero value of everything else is
// useful.
type Options struct {
	teach.Options
	// Data are the calibration inputs.
	Data *dataset.Data
	// MaxInputs is the largest number of inputs (channels × kernel positions) of a layer that is
	// fitted from sums; wider layers get their channels' means and deviations repaired instead.
	// Zero means 6,000, or what there is memory for. Layers that see fewer rows (samples ×
	// positions) than they have inputs are fitted whatever their width.
	MaxInputs int
	// Near, if set, names tensors of the child: only the operators that make them, or are the first
	// to read them, are fitted.
	Near []string
}

// A Report says what was fitted.
type Report struct {
	Samples int     `json:"samples"`
	Layers  []Layer `json:"layers"`
	// Statistics are the seconds spent on evaluating the models piece by piece and summing moments,
	// Solves those on least squares, the search of ridge strengths included.
	Statistics float64 `json:"statistics_seconds"`
	Solves     float64 `json:"solve_seconds"`
}

// A Layer is the outcome for one operator. Errors are squared errors against the target on held-out
// samples, relative to the target's variance; of a classifier's last layer they are the divergence
// in nats from the target's probabilities (Decided) plus 0.3 of that.
type Layer struct {
	Name   string `json:"name"`
	Inputs int    `json:"inputs"`
	// Samples is the number of samples that the layer was fitted on, and checked on: those that there
	// was memory for.
	Samples int     `json:"samples"`
	Before  float64 `json:"error_before"`
	After   float64 `json:"error_after"`
	// Strength is the ridge strength relative to the mean of the Gram diagonal; zero where the
	// transported weights were kept.
	Strength float64 `json:"ridge"`
	// Note says why a layer was not fitted, "" if it was.
	Note string `json:"note,omitempty"`
}

// gramBytes is what a fit takes for the square of its inputs: the sums of what it is made and checked
// on, their joint form and factors, all in float64.
const gramBytes = 40

// noteFew says that a layer was not fitted since nothing could be held out: what a fit makes of the
// rows that it was made from does not tell whether it helps.
const noteFew = "too few samples to fit; transported weights kept"

// NoteNew says that a layer was not fitted since no parent has what it makes: in a model that is
// made of a single one it is the first of two that an operator became.
const NoteNew = "new: there is nothing to fit it to"

// noteWide says that a layer has too many inputs to be fitted.
const noteWide = "too many inputs to fit; mean and deviation repaired"

// Refit returns a copy of the child in which every linear operator behind a change is fitted to the
// parents. The child keeps its structure; biases are added where operators lack them and can take
// one.
func Refit(ctx context.Context, child *onnxio.Model, parents teach.Parents, o Options) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	if o.Data == nil {
		return nil, nil, fmt.Errorf("refitting needs data")
	}
	if len(parents) == 0 {
		return nil, nil, fmt.Errorf("refitting needs a parent")
	}
	if o.MaxInputs == 0 {
		o.MaxInputs = 6000
		if o.Memory > 0 {
			o.MaxInputs = min(o.MaxInputs, int(math.Sqrt(float64(o.Memory)/gramBytes)))
		}
	}
	if len(parents) > 1 {
		if o.Outputs, err = parents.Tasks(ctx, o.Data, o.Options); err != nil {
			return nil, nil, err
		}
	}
	r := &run{o: o, model: child.Clone(), parents: parents}
	if err := r.open(); err != nil {
		return nil, nil, err
	}
	defer r.close()
	report := &Report{Samples: o.Data.Len()}
	start := time.Now()
	for i, l := range r.layers {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if r.fits(l) {
			out, err := r.layer(ctx, i, l)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", onnxio.Label(l.Node), err)
			}
			report.Layers = append(report.Layers, *out)
		}
		if o.Progress != nil {
			o.Progress(i+1, len(r.layers))
		}
	}
	report.Solves = r.solving.Seconds()
	report.Statistics = time.Since(start).Seconds() - report.Solves
	return r.model, report, nil
}

// run is the state of one refit.
type run struct {
	o       Options
	model   *onnxio.Model
	graph   *onnxio.Graph
	an      *coupling.Analysis
	layers  []*layer
	parents teach.Parents
	differs map[string]bool            // tensors that the child and the parents compute differently
	latest  map[string]int             // by tensor: the last layer, by its place among them, that it is computed by
	moved   map[*onnxpb.NodeProto]bool // those that read something else than in the parents
	child   *stats.Flow
	flows   []*stats.Flow // of the parents
	walk    *stats.Walk   // of all of them
	steps   map[*layer]int
	solving time.Duration // so far
}

func (r *run) open() (err error) {
	if r.graph, err = r.model.Graph(); err != nil {
		return err
	}
	if r.an, err = coupling.Analyze(r.model, coupling.Options{Opaque: true}); err != nil {
		return err
	}
	if r.layers, err = layersOf(r.graph, r.an); err != nil {
		return err
	}
	r.follow()
	most, least, err := r.openFlows()
	if err == nil && least < most { // some take whole batches only: the others do without the rest too
		r.close()
		r.o.Data = r.o.Data.Range(0, least)
		_, _, err = r.openFlows()
	}
	if err != nil {
		return err
	}
	return r.plan()
}

// openFlows starts the evaluation of the child and its parents, and tells on how many samples these
// work at most and at least.
func (r *run) openFlows() (most, least int, err error) {
	fo := dataset.StreamOptions{Batch: r.batch(), Threads: r.o.Threads}
	if r.child, err = stats.NewFlow(r.model, r.o.Data, fo); err != nil {
		return 0, 0, err
	}
	most, least = r.child.Samples(), r.child.Samples()
	for _, m := range r.parents.Models() {
		f, err := stats.NewFlow(m, r.o.Data, fo)
		if err != nil {
			r.close()
			return 0, 0, err
		}
		r.flows = append(r.flows, f)
		most, least = max(most, f.Samples()), min(least, f.Samples())
	}
	return most, least, nil
}

// batch is the batch size: enough batches to hold some out.
func (r *run) batch() int {
	if r.o.Batch > 0 {
		return r.o.Batch
	}
	return min(32, max(1, r.o.Data.Len()/(2*heldEvery)))
}

func (r *run) close() {
	if r.child != nil {
		r.child.Close()
	}
	for _, f := range r.flows {
		f.Close()
	}
	r.flows = nil
}

// changed reports whether a node computes something else than in the parent: one of its constants
// is new or differs. With several parents everything does.
func (r *run) changed(n *onnxpb.NodeProto) bool {
	for _, in := range n.GetInput() {
		w := r.an.Weights[in]
		if w == nil {
			continue
		}
		if len(r.parents) > 1 {
			return true
		}
		if !onnxio.SameTensor(r.parents[0].Subject.Graph.Constant(in), r.graph.Constant(in)) {
			return true
		}
	}
	return false
}

// moves reports whether a node reads other activations than the one that makes a tensor of the same
// name in the only parent, or is of another kind: it stands in the place of what is gone.
func (r *run) moves(n *onnxpb.NodeProto) bool {
	if len(r.parents) > 1 || len(n.GetOutput()) == 0 {
		return false
	}
	p := &r.parents[0]
	name := p.Counterpart(n.GetOutput()[0])
	theirs := p.Subject.Graph.Producer(name)
	if theirs == nil {
		return name != ""
	}
	var live []string
	for _, in := range n.GetInput() {
		if in != "" && !isConstant(r.an, in) && r.graph.Constant(in) == nil {
			live = append(live, in)
		}
	}
	return n.GetOpType() != theirs.GetOpType() || !slices.EqualFunc(live, p.Subject.Live(theirs), func(ours, its string) bool {
		return p.Counterpart(ours) == its
	})
}

// follow finds what lies behind every tensor.
func (r *run) follow() {
	at := map[*onnxpb.NodeProto]int{}
	for i, l := range r.layers {
		at[l.Node] = i
	}
	r.differs, r.latest, r.moved = map[string]bool{}, map[string]int{}, map[*onnxpb.NodeProto]bool{}
	for _, n := range r.graph.Nodes {
		latest, ok := at[n]
		if !ok {
			latest = -1
		}
		differs := r.changed(n)
		if r.moves(n) {
			r.moved[n], differs = true, true
		}
		for _, in := range n.GetInput() {
			if r.graph.Producer(in) != nil {
				latest = max(latest, r.latest[in])
				differs = differs || r.differs[in]
			}
		}
		for _, out := range n.GetOutput() {
			r.latest[out], r.differs[out] = latest, differs
		}
	}
}

// fits reports whether a layer is to be fitted.
func (r *run) fits(l *layer) bool { return r.dirty(l) && (r.o.Near == nil || r.near(l)) }

// near reports whether a layer makes one of the tensors that are asked about, or is the first to
// read one.
func (r *run) near(l *layer) bool {
	asked := func(tensor string) bool { return slices.Contains(r.o.Near, tensor) }
	if slices.ContainsFunc(l.made(), asked) {
		return true
	}
	for todo := []string{l.In.Tensor}; len(todo) > 0; {
		tensor := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if asked(tensor) {
			return true
		}
		if n := r.graph.Producer(tensor); n != nil && onnxio.LinearKindOf(n) == onnxio.NotLinear {
			todo = append(todo, n.GetInput()...)
		}
	}
	return false
}

// dirty reports whether what a layer reads or should make differs from what its counterpart in the
// parents reads or makes. Where it does not, transported weights are exact.
func (r *run) dirty(l *layer) bool {
	return r.differs[l.In.Tensor] || slices.ContainsFunc(l.made(), func(tensor string) bool { return r.moved[r.graph.Producer(tensor)] })
}

// layer fits one operator and writes its weights into the model.
func (r *run) layer(ctx context.Context, i int, l *layer) (_ *Layer, err error) {
	defer guard.Recover(&err)
	out := &Layer{Name: cmp.Or(l.Node.GetName(), l.Node.GetOutput()[0])}
	t, note, err := r.target(i, l)
	if out.Note = note; note != "" || err != nil {
		return out, err
	}
	if err := r.walk.To(ctx, r.steps[l]); err != nil {
		return nil, err
	}
	out.Samples = r.child.Samples()
	if err := r.fitWeights(ctx, l, t, out); err != nil {
		return nil, err
	}
	return out, r.child.SetModel(r.model)
}

// fitWeights fits an operator, or repairs the statistics of its outputs where it has too many
// inputs.
func (r *run) fitWeights(ctx context.Context, l *layer, t *target, out *Layer) error {
	w, err := read(r.graph, l.Linear)
	if err != nil {
		return err
	}
	out.Inputs = w.inputs
	done := false
	if t.Kind == teach.Scores && l.Groups == 1 {
		done, err = r.fitScores(l, t, w, out)
	}
	if !done && err == nil {
		err = r.fitSquares(ctx, l, t, w, out)
	}
	if err != nil {
		return err
	}
	return w.write(r.graph, l.Linear)
}

// fitSquares fits an operator by squared error.
func (r *run) fitSquares(ctx context.Context, l *layer, t *target, w *weights, out *Layer) error {
	if l.Kind == onnxio.NotLinear {
		return r.fitScale(ctx, l, t, w, out)
	}
	few, err := r.few(l)
	switch {
	case err != nil:
		return err
	case few:
		return r.fitRows(ctx, l, t, w, out)
	case w.inputs > r.o.MaxInputs:
		out.Note = noteWide
		return r.repair(ctx, l, t, w)
	}
	return r.fit(ctx, l, t, w, out)
}

// last reports whether the other side of a layer's residual Add needs no layer that has yet to be
// fitted.
func (r *run) last(i int, l *layer) bool {
	return r.graph.Producer(l.other) == nil || r.latest[l.other] < i
}

// fitRows solves for the layer's weights where there are fewer rows than inputs.
func (r *run) fitRows(ctx context.Context, l *layer, t *target, w *weights, out *Layer) error {
	train, held, err := halves(ctx, r, l, t, w.inputs, stats.CollectRows)
	if err != nil {
		return err
	}
	start := time.Now()
	defer func() { r.solving += time.Since(start) }()
	if held == nil {
		out.Note = noteFew
		return nil
	}
	h := &rows{RowSet: held}
	e := scored{variation: h.variation(), size: h.size()}
	var best fit
	best, out.Strength, e.before, e.after = chooseOnRows(&rows{RowSet: train}, h, w.group(0), t.decides)
	w.setGroup(0, best)
	e.enter(out)
	return nil
}

// fit solves for the layer's weights, group by group.
func (r *run) fit(ctx context.Context, l *layer, t *target, w *weights, out *Layer) error {
	train, held, err := halves(ctx, r, l, t, w.inputs, stats.CollectMoments)
	if err != nil {
		return err
	}
	start := time.Now()
	defer func() { r.solving += time.Since(start) }()
	if held == nil {
		out.Note = noteFew
		return nil
	}
	if len(train) != l.Groups || len(held) != l.Groups {
		return fmt.Errorf("%d groups of moments for %d", len(train), l.Groups)
	}
	var e scored
	for g := range train {
		h := (*moments)(held[g])
		e.variation += h.variation()
		e.size += h.size()
		best, strength, before, after := choose((*moments)(train[g]), h, w.group(g))
		w.setGroup(g, best)
		e.before += before
		e.after += after
		out.Strength = max(out.Strength, strength)
	}
	e.enter(out)
	return nil
}
