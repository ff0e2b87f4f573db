package latency

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Options say how a table is measured.
type Options struct {
	// Threads is the number of threads that work on one operator. 0: one per core.
	Threads int

	// Data gives the first sample to run. nil: random numbers.
	Data *dataset.Data

	// Shapes are the shapes of inputs whose sizes are free, by input name. Not needed with Data.
	Shapes map[string][]int

	// Trial runs the model in a program of its own first. nil: it is not tried.
	Trial *engine.Trial

	// Fresh measures although there is a table in the cache ([Cached]).
	Fresh bool

	// Progress, if not nil, is told how many of all narrowed models have been timed.
	Progress func(done, total int)
}

const (
	// attempts is the number of models that are timed: the model itself, some with equal shares of
	// all spaces, and others with shares drawn by lot, of which one in factoredEvery has linear
	// operators as two besides, of ranks that are drawn.
	attempts, factoredEvery = 18, 4
	// briefly is how long each is timed, beside the model itself, and how long profiled.
	briefly = 120 * time.Millisecond
	// patience is how long all may take; leastAttempts are made in any case.
	patience      = 20 * time.Second
	leastAttempts = 6
)

// Measure makes a table for a model on this machine. It takes some seconds.
func Measure(ctx context.Context, m *onnxio.Model, o Options) (_ *Table, err error) {
	defer guard.Recover(&err)
	lib, err := engine.Available()
	if err != nil {
		return nil, err
	}
	if err := eval.Admit(ctx, []*onnxio.Model{m}, eval.AdmitOptions{Data: o.Data, Shapes: o.Shapes, Trial: o.Trial}); err != nil {
		return nil, err
	}
	x, err := newExperiment(m, o)
	if err != nil {
		return nil, err
	}
	t := &Table{Runtime: lib.Version, CPU: processor()}
	start := time.Now()
	for i := range attempts {
		if i >= leastAttempts && time.Since(start) > patience {
			break
		}
		w := x.widths(i)
		err := x.try(ctx, w, x.ranks(i, w))
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && i == 0:
			return nil, err
		case err != nil:
			x.failed = cmp.Or(x.failed, err) // of some widths a model cannot be made
		}
		if o.Progress != nil {
			o.Progress(i+1, attempts)
		}
	}
	if len(x.made) == 1 && x.failed != nil {
		return nil, fmt.Errorf("%s: no narrower model could be timed: %w", m.Title(), x.failed)
	}
	x.fill(t)
	return t, nil
}

// Shares says what share of a run the nodes of a model take, by their first outputs: by one profile of
// the model as it is, which takes a second or two. What is fused into another node is part of that.
func Shares(ctx context.Context, m *onnxio.Model, o Options) (_ map[string]float64, err error) {
	defer guard.Recover(&err)
	if _, err := engine.Available(); err != nil {
		return nil, err
	}
	p, err := numbered(m)
	if err != nil {
		return nil, err
	}
	runs, err := eval.Profile(ctx, p.model, eval.LatencyOptions{Threads: o.Threads, Data: o.Data, Shapes: o.Shapes, Within: time.Second})
	if err != nil {
		return nil, err
	}
	kernels, ms := typical(runs)
	sum := floats.Sum(ms)
	if !(sum > 0) {
		return nil, errors.New("no operator was run")
	}
	out := map[string]float64{}
	for n, t := range p.spread(kernels, ms) {
		if len(n.GetOutput()) > 0 {
			out[n.GetOutput()[0]] += t / sum
		}
	}
	return out, nil
}

// An experiment times narrowed models beside the model that they are made of.
type experiment struct {
	o      eval.LatencyOptions
	model  *onnxio.Model
	form   *qdq.Form
	s      *edit.Subject
	made   []timed
	failed error
}

// A timed is a narrowed model.
type timed struct {
	widths  coupling.Widths
	ranks   map[*onnxpb.NodeProto]int    // of operators that are two
	between map[string]*onnxpb.NodeProto // which operator became the two with a tensor between them
	model   *profiled
	kernels []engine.Kernel
	ms      []float64 // of each
	whole   float64   // what one run takes, in milliseconds
	share   float64   // of what the model takes that it was made of
	threads int
}

func newExperiment(m *onnxio.Model, o Options) (*experiment, error) {
	expanded, form, err := qdq.Expand(m)
	if err != nil {
		return nil, err
	}
	s, err := edit.NewSubject(expanded, coupling.Options{InputShapes: dataset.Shapes(m, o.Data, o.Shapes)})
	if err != nil {
		return nil, err
	}
	lo := eval.LatencyOptions{Threads: o.Threads, Data: o.Data, Shapes: o.Shapes, Within: briefly}
	return &experiment{o: lo, model: m, form: form, s: s}, nil
}

// equal are the shares of all spaces of the first models.
var equal = []float64{1, 0.75, 0.5, 0.25}

// widths draws the widths of an attempt: multiples of 16, 8 or 4 channels.
func (x *experiment) widths(attempt int) coupling.Widths {
	rng := rand.New(rand.NewPCG(uint64(attempt), 0))
	multiple := []int{16, 8, 16, 4}[attempt%4]
	return widths(x.s.Analysis, multiple, func() float64 {
		if attempt < len(equal) {
			return equal[attempt]
		}
		return 0.125 + 0.875*rng.Float64()
	})
}

// Even gives every space that may be narrowed the same share of its channels, in multiples, or parts
// of them where it has less than two times as many.
func Even(an *coupling.Analysis, share float64, multiple int) coupling.Widths {
	return widths(an, multiple, func() float64 { return share })
}

// widths gives every space that may be narrowed a share of its channels.
func widths(an *coupling.Analysis, multiple int, share func() float64) coupling.Widths {
	out := coupling.Widths{}
	for _, s := range an.Spaces {
		if !s.Narrowable() {
			continue
		}
		f, m := share(), multiple
		for m > 1 && s.Width < 2*m {
			m /= 2
		}
		m = s.Step(m)
		k := int(math.Round(f*float64(s.Width)/float64(m))) * m
		if f == 1 {
			k = s.Width
		}
		out.Set(s, min(max(k, m, len(s.Pieces)), s.Width))
	}
	return out
}

// leastFactored is the number of elements of the smallest weight that becomes two.
const leastFactored = 256

// ranks draws the ranks of an attempt: multiples of 8 or 4, for the operators that can become two and
// take time.
func (x *experiment) ranks(attempt int, w coupling.Widths) map[*onnxpb.NodeProto]int {
	if attempt < len(equal) || attempt%factoredEvery != 1 || x.form != nil {
		return nil
	}
	rng := rand.New(rand.NewPCG(uint64(attempt), 1))
	out := map[*onnxpb.NodeProto]int{}
	for _, n := range x.s.Graph.Nodes {
		l, why := edit.Factorable(x.s.Graph, x.s.Analysis, n)
		if why != "" || x.s.Graph.InBranch(n) {
			continue
		}
		wt := x.s.Analysis.Weights[l.Weight.Name]
		outputs, all := max(w.Size(wt.Axes[l.Out.Weight]), 1)*edit.Across(l), int(w.Elements(wt))
		saves := all / (outputs + all/outputs) // from that rank on nothing is saved
		rank := int(rng.Float64() * float64(saves))
		if m := 4 << (attempt / factoredEvery % 2); rank > m {
			rank -= rank % m
		}
		if all >= leastFactored && rank > 0 {
			out[n] = rank
		}
	}
	return out
}

// try times a narrowed model: of every space the first channels stay, for what is computed does not
// matter.
func (x *experiment) try(ctx context.Context, w coupling.Widths, ranks map[*onnxpb.NodeProto]int) error {
	model, narrow := x.model, edit.Maps{}
	between := map[string]*onnxpb.NodeProto{}
	for _, s := range x.s.Analysis.Spaces {
		if w.Of(s) < s.Width {
			narrow[s] = edit.First(s, w)
		}
	}
	if len(narrow)+len(ranks) > 0 {
		child, err := edit.Edit(x.s, narrow)
		if err != nil {
			return err
		}
		of := map[string]int{}
		for n, rank := range ranks {
			of[n.GetOutput()[0]] = rank
		}
		made, err := edit.FirstFactors(child, of)
		if err != nil {
			return err
		}
		for name, output := range made {
			between[name] = x.s.Graph.Producer(output)
		}
		if err := x.s.Reshare(child); err != nil {
			return err
		}
		if model, err = x.form.Restore(child); err != nil {
			return err
		}
	}
	times, err := eval.Latencies(ctx, []*onnxio.Model{x.model, model}, x.o)
	if err != nil {
		return err
	}
	t := timed{widths: w, ranks: ranks, between: between, whole: times[0].QuickMS, share: times[1].QuickMS / times[0].QuickMS, threads: times[0].Threads}
	if t.model, err = numbered(model); err != nil {
		return err
	}
	runs, err := eval.Profile(ctx, t.model.model, x.o)
	if err != nil {
		return err
	}
	if t.kernels, t.ms = typical(runs); len(t.kernels) == 0 {
		return errors.New("no operator was run")
	}
	x.made = append(x.made, t)
	return nil
}

// typical returns the operators of most runs and what each takes, in milliseconds: the mean of the
// fastest quarter, since times are whole microseconds, and a machine with other work to do slows some
// down.
func typical(runs [][]engine.Kernel) (kernels []engine.Kernel, ms []float64) {
	counts := map[int]int{}
	for _, r := range runs {
		counts[len(r)]++
		if len(kernels) == 0 || counts[len(r)] > counts[len(kernels)] {
			kernels = r
		}
	}
	for k := range kernels {
		var times []float64
		for _, r := range runs {
			if len(r) == len(kernels) {
				times = append(times, r[k].Took.Seconds()*1000)
			}
		}
		slices.Sort(times)
		times = times[:(len(times)+3)/4]
		sum := 0.0
		for _, t := range times {
			sum += t
		}
		ms = append(ms, sum/float64(len(times)))
	}
	return kernels, ms
}

// fill makes the rows. What operators take while they are profiled does not add up to what a run
// takes: noting it takes time, and so does going from one to the next. The difference is taken to be
// the same for each operator.
func (x *experiment) fill(t *Table) {
	var wholes, each []float64
	for _, p := range x.made {
		wholes = append(wholes, p.whole)
	}
	t.MS, t.Threads = middle(wholes), x.made[0].threads
	for _, p := range x.made {
		for i := range p.ms { // a machine may be slower for seconds, in which the model itself was slower too
			p.ms[i] *= t.MS / p.whole
		}
		each = append(each, (p.share*t.MS-sum(p.ms))/float64(len(p.ms)))
	}
	extra := middle(each)
	nodes, rows := x.s.Analysis.Graph.Nodes, rowSet{}
	for _, p := range x.made {
		for i, ms := range p.ms {
			p.ms[i] = max(ms+extra, ms/10)
		}
		scale := p.share * t.MS / sum(p.ms)
		for i := range p.ms {
			p.ms[i] *= scale
		}
		spent, firsts := x.spent(p)
		ranks := p.shape().Ranks
		for _, n := range nodes {
			if x.s.Analysis.Graph.InBranch(n) {
				continue
			}
			d := nodeOf(x.s.Analysis, n, x.form.Operator)
			c := d.call(p.widths)
			if rank := ranks[n]; rank > 0 {
				first, second := split(c, d.linear, rank)
				rows.addAny(first, firsts[n])
				rows.addAny(second, spent[n])
				continue
			}
			rows.add(Row{Op: c.op, Node: d.name, Inputs: c.in, Outputs: c.out, MS: spent[n]})
		}
	}
	t.Operators = rows.means()
	off := 0.0
	told := t.For(x.s.Analysis, x.form.Operator)
	for _, p := range x.made {
		off += math.Abs(told.MS(p.shape())/(p.share*t.MS) - 1)
	}
	t.MS, t.Error = round(t.MS), round(off/float64(len(x.made)))
}

// shape is that of the model.
func (p *timed) shape() Shape {
	s := Shape{Widths: p.widths, Ranks: map[*onnxpb.NodeProto]int{}}
	for _, n := range p.between {
		s.Ranks[n] = p.ranks[n]
	}
	return s
}

// A rowSet gathers rows.
type rowSet struct {
	rows  []Row
	times []int // that a row was added
	at    map[string]int
}

// add takes a row in: of equal ones the mean counts, and of a node that takes no time the first.
func (s *rowSet) add(r Row) {
	key := r.Node
	if r.MS > 0 {
		key = fmt.Sprint(r.Node, r.Op, r.Inputs, r.Outputs)
	}
	if s.at == nil {
		s.at = map[string]int{}
	}
	i, ok := s.at[key]
	if !ok {
		i = len(s.rows)
		s.at[key], s.rows, s.times = i, append(s.rows, Row{r.Op, r.Node, r.Inputs, r.Outputs, 0}), append(s.times, 0)
	}
	s.rows[i].MS += r.MS
	s.times[i]++
}

// addAny takes in what operators of a kind take, whatever node they are.
func (s *rowSet) addAny(c call, ms float64) {
	if ms > 0 {
		s.add(Row{Op: c.op, Inputs: c.in, Outputs: c.out, MS: ms})
	}
}

func (s *rowSet) means() []Row {
	for i, n := range s.times {
		s.rows[i].MS = round(s.rows[i].MS / float64(n))
	}
	return s.rows
}

// spent is what each node of the analysed model takes: nodes of the file that are not in it, of
// quantised models, count for the next that is. firsts is what the first operator takes of those that
// are two.
func (x *experiment) spent(p timed) (all, firsts map[*onnxpb.NodeProto]float64) {
	all, firsts = map[*onnxpb.NodeProto]float64{}, map[*onnxpb.NodeProto]float64{}
	for n, ms := range p.model.spread(p.kernels, p.ms) {
		if of := p.between[n.GetOutput()[0]]; of != nil {
			firsts[of] += ms
		} else if own := x.own(p.model.graph, n); own != nil {
			all[own] += ms
		}
	}
	return all, firsts
}

// own is the node of the analysed model that a node of a narrowed file is, or that reads what it
// makes.
func (x *experiment) own(g *onnxio.Graph, n *onnxpb.NodeProto) *onnxpb.NodeProto {
	queue := []*onnxpb.NodeProto{n}
	for i := 0; i < len(queue) && i < fusedBefore; i++ {
		for _, out := range queue[i].GetOutput() {
			if own := x.s.Graph.Producer(out); own != nil {
				return own
			}
		}
		for _, out := range queue[i].GetOutput() {
			for _, c := range g.Consumers(out) {
				if !slices.Contains(queue, c.Node) {
					queue = append(queue, c.Node)
				}
			}
		}
	}
	return nil
}

func sum(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x
	}
	return s
}

// middle is the median.
func middle(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// round keeps six digits, which are more than are known.
func round(x float64) float64 {
	if x == 0 {
		return 0
	}
	scale := math.Pow(10, 5-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}
