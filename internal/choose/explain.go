package choose

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Evidence is what calibration data say about the channels of a space, as its
// consumers see them: one reader for each group and consumer.
type Evidence struct {
	readers [][]*reader    // by group
	order   []*elimination // by group, once it has been made
}

// maxRows bounds the positions that one second-moment matrix is made from.
const maxRows = 20000

// A Party is one of the models whose channels compete for places: alone in
// compression, side by side in union fusion.
type Party struct {
	Subject *edit.Subject
	// Spaces names the party's counterpart of a space of the first party; nil
	// for the first party itself.
	Spaces map[*coupling.Space]*coupling.Space
	// Energy is the party's share of what is to be explained; zero means one.
	Energy float64
	// Fixed are maps of spaces that a union does not choose the channels of: those
	// that may only be permuted (Space.Paired) are moved onto those of the first
	// party, and averaged.
	Fixed edit.Maps
	// Whole says that a union keeps all the party's channels, wherever there are
	// places for them.
	Whole bool
}

func (p *Party) space(s *coupling.Space) *coupling.Space {
	if p.Spaces == nil {
		return s
	}
	return p.Spaces[s]
}

// Observe runs the data through one or several models side by side and
// collects, for every given space of the first, the second moments of all
// parties' channels at the inputs of its consumers.
func Observe(ctx context.Context, parties []Party, spaces []*coupling.Space, o match.Options) (_ map[*coupling.Space]*Evidence, err error) {
	defer guard.Recover(&err)
	type view struct {
		parts []*channels.Tap // by party
		into  []*reader       // by group
	}
	out := map[*coupling.Space]*Evidence{}
	var views []*view
	var sidesOf []observation
	tensors := make([][]string, len(parties))
	for _, sp := range spaces {
		ev := &Evidence{readers: make([][]*reader, sp.Groups)}
		out[sp] = ev
		var sides [][]*consumer
		know, total := anyForm, 0
		for i := range parties {
			total += parties[i].space(sp).Width
		}
		switch {
		case total > maxEliminate:
			know = diagonal
		case len(parties) > 1:
			know = whole
		}
		for i := range parties {
			p := &parties[i]
			c, err := consumersOf(p.Subject, p.space(sp), know)
			if err != nil {
				return nil, err
			}
			if len(c) == 0 && len(parties) > 1 { // somebody has to give the channels
				c = producersOf(p.Subject, p.space(sp), know)
			}
			sides = append(sides, c)
			if len(c) != len(sides[0]) {
				return nil, fmt.Errorf("space %q is read %d times in one model and %d times in another", sp.Name, len(sides[0]), len(c))
			}
		}
		for k := range sides[0] {
			v := &view{}
			for g := range sp.Groups {
				n := 0
				var blocks []sensitivity
				for _, side := range sides {
					n += side[k].seen.Space.Width
					blocks = append(blocks, side[k].sens[g])
				}
				r := &reader{n: n, sum: make([]float64, n), sens: blockDiagonal(blocks), affine: sides[0][k].affine}
				r.held = &reader{n: n, sum: make([]float64, n), affine: r.affine}
				for i, side := range sides {
					r.widths = append(r.widths, side[k].seen.Space.Width)
					r.energy = append(r.energy, parties[i].Energy)
				}
				v.into = append(v.into, r)
				ev.readers[g] = append(ev.readers[g], r)
			}
			for i, side := range sides {
				v.parts = append(v.parts, &side[k].seen)
				tensors[i] = append(tensors[i], side[k].seen.Tensor)
			}
			views = append(views, v)
			sidesOf = append(sidesOf, observation{sides[0][k], v.into})
		}
	}
	if len(parties) == 1 {
		var rest []*view
		exact, err := observeExactly(ctx, parties[0].Subject, sidesOf, o)
		if err != nil {
			return nil, err
		}
		for k, v := range views {
			if !exact[k] {
				rest = append(rest, v)
			}
		}
		views = rest
		tensors[0] = nil
		for _, v := range views {
			tensors[0] = append(tensors[0], v.parts[0].Tensor)
		}
	}
	if len(views) == 0 {
		return out, nil
	}
	samples := max(o.Data.Len(), 1)
	o.Batch = batchOf(o)
	batch, batches := 0, (samples+o.Batch-1)/o.Batch
	rng := rand.New(rand.NewPCG(1, 2))
	models := make([]*onnxio.Model, len(parties))
	for i := range parties {
		models[i] = parties[i].Subject.Model
	}
	err = dataset.StreamTogether(ctx, models, o.Data, tensors, dataset.StreamOptions{Batch: o.Batch, Threads: o.Threads, Progress: o.Progress}, func(n int, values []map[string]*engine.Value) error {
		held := heldOut(batch, batches)
		batch++
		for _, v := range views {
			for g, r := range v.into {
				if held {
					r = r.held
				}
				var x []float64
				d := -1
				for i, part := range v.parts {
					xi, err := part.Vectors(values[i][part.Tensor], g)
					if err != nil {
						return err
					}
					if d >= 0 && xi.Cols != d {
						return fmt.Errorf("activation %q has %d values a channel, its counterpart %d", part.Tensor, xi.Cols, d)
					}
					x, d = append(x, xi.Data...), xi.Cols
				}
				x, d = thin(x, r.n, d, int(math.Ceil(float64(maxRows)*float64(n)/float64(samples))), rng)
				r.add(x, d)
			}
		}
		return nil
	})
	return out, err
}

// A consumer is one activation through which a space is read, with the
// sensitivity of each group.
type consumer struct {
	use    coupling.Use
	seen   channels.Tap
	sens   []sensitivity
	affine bool
}

// detail says how much is to be known about a sensitivity.
type detail uint8

const (
	nothing  detail = iota
	diagonal        // sensitivity.own
	anyForm         // and S, or a smaller factor of it
	whole           // and S
)

// consumersOf lists the consumers of a space that can be observed, in the order
// of its uses.
func consumersOf(s *edit.Subject, sp *coupling.Space, know detail) ([]*consumer, error) {
	var out []*consumer
	done := map[string]bool{}
	for _, u := range sp.Consumers() {
		in := dataInput(s, u.Node)
		view, ok := channels.TapOf(s, in, sp)
		if in == "" || !ok || done[in+"|"+u.Tensor] {
			continue
		}
		done[in+"|"+u.Tensor] = true
		c := &consumer{use: u, seen: view, affine: u.Node.GetOpType() != "MatMul"}
		for g := range sp.Groups {
			if know == nothing {
				break
			}
			sens, err := sensitivityOf(s, sp, u, g, know)
			if err != nil {
				return nil, err
			}
			c.sens = append(c.sens, sens)
		}
		out = append(out, c)
	}
	return out, nil
}

// producersOf stands in for the consumers of a space that none can be observed
// for, since another activation reads it (a dot product of two embeddings) or a
// weight that cannot be told apart: what the channels are before the
// nonlinearity, all of the same weight.
func producersOf(s *edit.Subject, sp *coupling.Space, know detail) []*consumer {
	var out []*consumer
	for _, t := range channels.Taps(s, sp) {
		c := &consumer{use: sp.Producers()[0], seen: t, affine: true}
		for range sp.Groups {
			one := sensitivity{own: slices.Repeat([]float64{1}, sp.Width)}
			if know > diagonal {
				one.whole = mat.NewSymDense(sp.Width, nil)
				for i := range sp.Width {
					one.whole.SetSym(i, i, 1)
				}
			}
			c.sens = append(c.sens, one)
		}
		out = append(out, c)
	}
	return out
}

// blockDiagonal puts the parties' sensitivities side by side.
func blockDiagonal(blocks []sensitivity) sensitivity {
	if len(blocks) == 1 {
		return blocks[0]
	}
	var out sensitivity
	for _, b := range blocks {
		out.own = append(out.own, b.own...)
	}
	if blocks[0].whole == nil {
		return out
	}
	out.whole = mat.NewSymDense(len(out.own), nil)
	at := 0
	for _, b := range blocks {
		k := b.whole.SymmetricDim()
		for i := range k {
			for j := i; j < k; j++ {
				out.whole.SetSym(at+i, at+j, b.whole.At(i, j))
			}
		}
		at += k
	}
	return out
}

// thin keeps a random choice of want columns of an n×d matrix.
func thin(x []float64, n, d, want int, rng *rand.Rand) ([]float64, int) {
	if d <= want {
		return x, d
	}
	cols := rng.Perm(d)[:want]
	slices.Sort(cols)
	out := make([]float64, n*want)
	for c := range n {
		for j, p := range cols {
			out[c*want+j] = x[c*d+p]
		}
	}
	return out, want
}

// dataInput is the activation a linear node reads.
func dataInput(s *edit.Subject, n *onnxpb.NodeProto) string {
	for _, in := range n.GetInput() {
		if _, constant := s.Analysis.Roots[in]; !constant && in != "" {
			return in
		}
	}
	return ""
}

// sensitivityOf is S[p,q] = Σ w_p·w_q over everything a consumer does with
// channels p and q.
func sensitivityOf(s *edit.Subject, sp *coupling.Space, u coupling.Use, group int, know detail) (out sensitivity, err error) {
	if know == diagonal {
		out.own, err = channels.Energies(s, sp, u, group)
		return out, err
	}
	r, err := channels.Read(s, edit.NewTransform(s.Analysis, nil), edit.GroupsOf(sp), []coupling.Use{u})
	if err != nil {
		return out, err
	}
	f := r[group]
	if f.Cols == 0 {
		return out, fmt.Errorf("weight %q: channels of %q are not read", u.Tensor, sp.Name)
	}
	out.own = make([]float64, f.Rows)
	for _, p := range f.Parts {
		channels.Squares(out.own, dense.New(f.Rows, p.Cols, p.Data))
	}
	switch {
	case know == anyForm && f.Rows > channels.LeastSamples && f.Cols < f.Rows:
		out.w = mat.NewDense(f.Cols, f.Rows, nil)
		at := 0
		for _, p := range f.Parts {
			for i, v := range p.Data[:f.Rows*p.Cols] {
				out.w.Set(at+i%p.Cols, i/p.Cols, float64(v))
			}
			at += p.Cols
		}
	default:
		whole := dense.New[float64](f.Rows, f.Rows, nil)
		for _, p := range f.Parts {
			dense.AddGram(whole, 1, dense.New(f.Rows, p.Cols, p.Data))
		}
		dense.Mirror(whole)
		out.whole = mat.NewSymDense(f.Rows, whole.Data)
	}
	return out, nil
}

// Choose keeps k of the n channels of a group: the others are removed one by
// one, each time the one that the consumers, refitted, miss least. pieces are
// ranges of which each keeps one where k allows. The result is sorted.
func (e *Evidence) Choose(group, k int, pieces []int) []int {
	n := e.readers[group][0].n
	return e.eliminate(group, pieces).kept(n, k)
}

// ChooseBeside is Choose where some of the channels, no more than k, stay
// whatever the others are worth.
func (e *Evidence) ChooseBeside(group, k int, stay []bool) []int {
	return e.ordered(group, nil, stay).kept(len(stay), k)
}

// eliminate orders the channels of a group; the order does not depend on how
// many are to stay, so it is made once.
func (e *Evidence) eliminate(group int, pieces []int) *elimination {
	if e.order == nil {
		e.order = make([]*elimination, len(e.readers))
	}
	if e.order[group] == nil {
		e.order[group] = e.ordered(group, pieces, nil)
	}
	return e.order[group]
}

func (e *Evidence) ordered(group int, pieces []int, stay []bool) *elimination {
	readers := e.readers[group]
	n, least := readers[0].n, max(len(pieces)-1, 1)
	if n > maxEliminate {
		return rank(readers, least, pieces, stay)
	}
	var lenses []*lens
	for _, r := range readers {
		lenses = append(lenses, r.lens())
	}
	return eliminate(lenses, n, least, pieces, stay, len(readers[0].widths) == 1)
}

// Unexplained returns, for every number k = 0…n of channels kept, the share of
// what the consumers compute that is lost, averaged over consumers and groups.
func (e *Evidence) Unexplained(pieces []int) []float64 {
	n := e.readers[0][0].n
	out := make([]float64, n+1)
	for g := range e.readers {
		lost := e.eliminate(g, pieces).error
		for k := range out {
			v := 1.0
			switch {
			case k == n:
				v = 0
			case n-k <= len(lost):
				v = min(lost[n-k-1], 1)
			}
			out[k] += v / float64(len(e.readers))
		}
	}
	return out
}

// Observed reports whether every group of the space has a consumer that shows
// its channels.
func (e *Evidence) Observed() bool {
	for _, r := range e.readers {
		if len(r) == 0 {
			return false
		}
	}
	return len(e.readers) > 0
}

// squareRoot returns A with AᵀA = S, up to rounding, for a positive
// semi-definite S.
func squareRoot(s *mat.SymDense) *mat.Dense {
	n := s.SymmetricDim()
	l := dense.New[float64](n, n, nil)
	for ridge := 1e-12; ; ridge *= 10 {
		for i := range n {
			for j := range i + 1 {
				l.Data[i*n+j] = s.At(i, j)
			}
			l.Data[i*n+i] += ridge*mat.Trace(s)/float64(n) + math.SmallestNonzeroFloat64
		}
		if dense.Cholesky(l) {
			break
		}
		if ridge > 1 {
			return mat.DenseCopyOf(s) // S itself orders channels nearly as well
		}
	}
	a := mat.NewDense(n, n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			a.Set(i, j, l.Data[j*n+i])
		}
	}
	return a
}

// Select finds maps that keep some of each space's own channels as they are,
// chosen by Choose, with consumers reading the rest through Recover. Linear
// spaces are projected instead, onto their Subspace. It needs o.Data. Spaces
// that no consumer can be observed for are merged by weights.
// known is what Observe has found already, or nil.
func Select(ctx context.Context, s *edit.Subject, widths map[*coupling.Space]int, known map[*coupling.Space]*Evidence, o match.Options) (_ *match.Result, err error) {
	defer guard.Recover(&err)
	if o.Data == nil {
		return nil, fmt.Errorf("selecting channels by what they explain needs data")
	}
	res := &match.Result{Maps: edit.Maps{}, Objective: map[*coupling.Space]float64{}, Sweeps: 1}
	var spaces []*coupling.Space
	for _, sp := range s.Analysis.Spaces {
		if k, ok := widths[sp]; ok && k != sp.Width {
			spaces = append(spaces, sp)
		}
	}
	seen := known
	if seen == nil {
		var err error
		if seen, err = Observe(ctx, []Party{{Subject: s}}, spaces, o); err != nil {
			return nil, err
		}
	}
	blind := map[*coupling.Space]int{}
	for _, sp := range spaces {
		ev := seen[sp]
		m := &edit.Map{}
		project := false
		if ev != nil {
			var err error
			if project, err = projects(s, sp, ev); err != nil {
				return nil, err
			}
		}
		for g := range sp.Groups {
			if ev == nil || len(ev.readers[g]) == 0 {
				blind[sp] = widths[sp]
				break
			}
			if project {
				t, _, err := ev.Subspace(g, widths[sp])
				if err != nil {
					return nil, fmt.Errorf("space %q: %w", sp.Name, err)
				}
				m.Groups, m.Pieces = append(m.Groups, t), []int{widths[sp]}
				continue
			}
			keep := ev.Choose(g, widths[sp], sp.Starts())
			t, err := ev.Recover(g, keep)
			if err != nil {
				return nil, fmt.Errorf("space %q: %w", sp.Name, err)
			}
			m.Groups = append(m.Groups, t)
			m.Pieces = edit.PiecesOf(sp, keep)
		}
		if _, ok := blind[sp]; !ok {
			res.Maps[sp] = m
		}
	}
	if len(blind) > 0 {
		byWeights := o
		byWeights.By = match.Weights
		r, err := match.Merge(ctx, s, blind, byWeights)
		if err != nil {
			return nil, err
		}
		for sp, m := range r.Maps {
			res.Maps[sp], res.Objective[sp] = m, r.Objective[sp]
		}
	}
	return res, nil
}
