package match

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/ot"
)

// Merge finds, for every space with an entry in widths, a map onto that many of its own channels.
// The channels that stay (representatives) are chosen greedily to lower Σ_p mass_p·min_q C_pq most
// at each step; every channel moves to its nearest representative, which keep their order. Out is
// Sum unless Scaling says otherwise, so merging exact copies is exact.
//
// Spaces are planned in topological order, each seeing its inputs merged. Attention heads are
// compared after the best plan between their dimensions, which are permuted for it. Heads that are
// alike become one; others are never averaged, since a mean of two attentions is neither: those of
// which least is read go whole.
func Merge(ctx context.Context, s *edit.Subject, widths map[*coupling.Space]int, o Options) (_ *Result, err error) {
	defer guard.Recover(&err)
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Scaling == "" {
		o.Scaling = edit.Sum
	}
	res := &Result{Maps: edit.Maps{}, Objective: map[*coupling.Space]float64{}, Sweeps: 1}
	spaces, err := narrowed(s, widths)
	if err != nil {
		return nil, err
	}
	mg := &merger{s: s, o: o, pair: selfPairing(s), res: res}
	if o.By == Activations {
		tapped := slices.Clone(spaces)
		for _, sp := range spaces {
			tapped = append(tapped, mg.pair.inside(sp)...)
		}
		if mg.measured, err = observePairs(ctx, mg.pair, tapped, o); err != nil {
			return nil, err
		}
	}
	for _, sp := range spaces {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := mg.merge(sp, widths[sp]); err != nil {
			return nil, fmt.Errorf("space %q: %w", sp.Name, err)
		}
	}
	return res, nil
}

// narrowed lists the spaces whose widths change, and checks that they may.
func narrowed(s *edit.Subject, widths map[*coupling.Space]int) ([]*coupling.Space, error) {
	var out []*coupling.Space
	for _, sp := range s.Analysis.Spaces {
		k, ok := widths[sp]
		switch {
		case !ok || k == sp.Width:
			continue
		case k < 1 || k > sp.Width:
			return nil, fmt.Errorf("space %q: %d of %d channels", sp.Name, k, sp.Width)
		case !sp.Resizable():
			return nil, fmt.Errorf("space %q may not be narrowed: %s%s", sp.Name, sp.Reason, sp.Rigid)
		}
		out = append(out, sp)
	}
	return out, nil
}

// merger is the state of one call of Merge.
type merger struct {
	s        *edit.Subject
	o        Options
	pair     *Pairing
	measured *measured // by activations; nil by weights
	res      *Result
}

// costs compares the channels of a space among each other.
func (m *merger) costs(sp *coupling.Space) (costs, error) {
	if m.measured.has(sp) {
		return m.measured.costs(sp)
	}
	made, err := channels.Made(m.s, sp, m.res.Maps)
	if err != nil {
		return nil, err
	}
	out := newCosts(sp, sp, m.pair.pairedGroups(sp))
	for _, groups := range made {
		for at, c := range out.all() {
			addFeatureCost(c.Data, groups[at.g], groups[at.h], m.o.Cost)
		}
	}
	return out, nil
}

// merge makes the map of one space, and of the spaces inside it.
func (m *merger) merge(sp *coupling.Space, k int) (err error) {
	defer guard.Recover(&err)
	inside := m.pair.inside(sp)
	if len(inside) > 0 || sp.Heads {
		return m.mergeHeads(sp, inside, k)
	}
	to := &narrowing{merger: m, space: sp, k: k, m: &edit.Map{}}
	if !m.measured.has(sp) && sp.Width > wideSpace {
		err = m.mergeWide(to)
	} else {
		var table costs
		if table, err = m.costs(sp); err != nil {
			return err
		}
		for g := range table {
			if _, err := to.add(g, table[g][g]); err != nil {
				return err
			}
		}
	}
	m.res.Maps[sp] = to.m
	return err
}

// mergeWide plans one group at a time, in single precision, and with what the step before has left
// behind collected: each step takes a large part of the model's size.
func (m *merger) mergeWide(to *narrowing) error {
	defer runtime.GC()
	made, err := channels.Made(m.s, to.space, m.res.Maps)
	if err != nil {
		return err
	}
	runtime.GC()
	n := to.space.Width
	for g := range to.space.Groups {
		c := &ot.Cost32{N: n, K: n, Data: make([]float32, n*n)}
		for _, groups := range made {
			addFeatureCost(c.Data, groups[g], groups[g], m.o.Cost)
		}
		if _, err := to.add(g, c); err != nil {
			return err
		}
	}
	return nil
}

// wideSpace is the number of channels from which on costs are kept in single precision: those of
// 8,192 channels take 256 MB then.
const wideSpace = 4096

// A narrowing is a map onto k of a space's own channels in the making.
type narrowing struct {
	*merger
	space *coupling.Space
	k     int
	m     *edit.Map
}

// add plans the next group. The plan that is returned names the channels that stay by their old
// places.
func (t *narrowing) add(group int, c ot.Costs) (*ot.Plan, error) {
	mass, err := masses(t.s, t.space, t.res.Maps, group, t.o.Mass)
	if err != nil {
		return nil, err
	}
	if mass == nil {
		mass = slices.Repeat([]float64{1 / float64(t.space.Width)}, t.space.Width)
	}
	var keep []int
	if narrow, ok := c.(*ot.Cost32); ok {
		keep = representatives(narrow.Data, mass, t.k, t.space.Starts())
	} else {
		keep = representatives(c.(*ot.Cost).Data, mass, t.k, t.space.Starts())
	}
	plan := nearest(c, mass, keep)
	transfer, err := edit.FromPlan(plan, t.o.Scaling)
	if err != nil {
		return nil, err
	}
	t.m.Groups = append(t.m.Groups, transfer)
	t.m.Pieces = edit.PiecesOf(t.space, keep)
	for i, e := range plan.Entries {
		plan.Entries[i].J = keep[e.J]
	}
	t.res.Objective[t.space] += plan.Cost(c)
	return plan, nil
}

// own adds to costs what the producers say that make the channels of a space alone, without those
// of the spaces inside it: of the channels in front of a depthwise multiplier.
func (m *merger) own(sp *coupling.Space, inside []*coupling.Space, c *ot.Cost) error {
	if m.measured != nil {
		return nil // activations inside say it too
	}
	made, err := channels.Made(m.s, sp, m.res.Maps)
	if err != nil {
		return err
	}
	for i, u := range sp.Producers() {
		axis := m.s.Analysis.Weights[u.Tensor].Axes[u.Axis]
		if !slices.ContainsFunc(inside, func(in *coupling.Space) bool { return slices.ContainsFunc(in.Pieces, axis.Holds) }) {
			addFeatureCost(c.Data, made[i][0], made[i][0], m.o.Cost)
		}
	}
	return nil
}

// mergeHeads merges attention heads, each after its dimensions have been moved onto those of the
// head that it joins.
func (m *merger) mergeHeads(sp *coupling.Space, inside []*coupling.Space, k int) error {
	if sp.Heads && m.measured != nil {
		// That two heads are alike their weights say: what they attended to in some samples does
		// not.
		byWeights := *m
		byWeights.measured = nil
		m = &byWeights
	}
	heads := ot.NewCost(sp.Width, sp.Width, nil)
	if err := m.own(sp, inside, heads); err != nil {
		return err
	}
	plans := make([][][]*ot.Plan, len(inside)) // by space, head and head
	for i, in := range inside {
		var err error
		if plans[i], err = m.planInside(in, heads); err != nil {
			return err
		}
	}
	if sp.Heads {
		if err := m.apart(sp, inside, heads); err != nil {
			return err
		}
	}
	to := &narrowing{merger: m, space: sp, k: k, m: &edit.Map{}}
	joined, err := to.add(0, heads)
	if err != nil {
		return err
	}
	if sp.Heads {
		if err := m.drop(to.m, joined, heads); err != nil {
			return err
		}
	}
	m.res.Maps[sp] = to.m
	for i, in := range inside {
		if m.res.Maps[in], err = m.follow(in, joined, plans[i]); err != nil {
			return err
		}
	}
	return nil
}

// follow moves the dimensions of heads onto those of the heads that these join.
func (m *merger) follow(in *coupling.Space, joined *ot.Plan, plans [][]*ot.Plan) (_ *edit.Map, err error) {
	dims := &edit.Map{Pieces: edit.SizesOf(in), Groups: make([]edit.Transfer, in.Groups)}
	for _, e := range joined.Entries {
		if dims.Groups[e.I], err = edit.FromPlan(plans[e.I][e.J], m.o.Scaling); err != nil {
			return nil, err
		}
	}
	return dims, nil
}

// planInside plans the dimensions of every head onto those of every other one, and adds what that
// costs to the costs between the heads.
func (m *merger) planInside(in *coupling.Space, heads *ot.Cost) ([][]*ot.Plan, error) {
	table, err := m.costs(in)
	if err != nil {
		return nil, err
	}
	plans := make([][]*ot.Plan, in.Groups)
	for g := range plans {
		plans[g] = make([]*ot.Plan, in.Groups)
		for h := range plans[g] {
			r, err := transport(nil, nil, table[g][h], m.o)
			if err != nil {
				return nil, err
			}
			plans[g][h] = r.Plan
			heads.Set(g, h, heads.At(g, h)+r.Objective)
		}
	}
	return plans, nil
}

// alikeWithin is the cost between two heads, relative to that between them and nothing, up to which
// they are the same.
const alikeWithin = 1e-4

// apart turns the costs between heads into what it costs to do without one: how much of it is read,
// or nothing where it is like the other.
func (m *merger) apart(sp *coupling.Space, inside []*coupling.Space, heads *ot.Cost) error {
	size, read := make([]float64, sp.Width), make([]float64, sp.Width)
	for _, in := range append([]*coupling.Space{sp}, inside...) {
		features, err := channels.Made(m.s, in, m.res.Maps)
		if err != nil {
			return err
		}
		for h := range sp.Width {
			part := headPart{in, h, 0, in.Width}
			if in == sp {
				part = headPart{in, 0, h, h + 1}
			}
			used, err := part.used(m.s)
			if err != nil {
				return err
			}
			made := part.made(features)
			size[h] += made
			read[h] += made * used
		}
	}
	for g := range sp.Width {
		for h := range sp.Width {
			if g == h || m.alike(heads.At(g, h), size[g]+size[h]) {
				heads.Set(g, h, 0)
			} else {
				heads.Set(g, h, max(read[g], math.SmallestNonzeroFloat32))
			}
		}
	}
	return nil
}

// alike reports whether two heads, of a joint size, are the same as far as the cost between them
// says.
func (m *merger) alike(cost, size float64) bool {
	within := alikeWithin * size
	return cost <= within || m.o.Cost == SquaredEuclidean && cost <= within*within || m.o.Cost == Cosine && cost <= alikeWithin
}

// A headPart is the channels of a space that belong to a head.
type headPart struct {
	space           *coupling.Space
	group, from, to int
}

// made is the norm of what makes the channels.
func (p headPart) made(features [][]channels.Features) float64 {
	sum := 0.0
	for _, groups := range features {
		for _, part := range groups[p.group].Parts {
			for _, v := range part.Data[p.from*part.Cols : p.to*part.Cols] {
				sum += float64(v) * float64(v)
			}
		}
	}
	return math.Sqrt(sum)
}

// used is the norm of what reads the channels.
func (p headPart) used(s *edit.Subject) (float64, error) {
	sum := 0.0
	for _, u := range p.space.Consumers() {
		own, err := channels.Energies(s, p.space, u, p.group)
		if err != nil {
			return 0, err
		}
		sum += floats.Sum(own[p.from:p.to])
	}
	return math.Sqrt(sum), nil
}

// drop takes heads out of a map that would join others which they are not like.
func (m *merger) drop(mp *edit.Map, joined *ot.Plan, heads *ot.Cost) (err error) {
	places := map[int]int{} // of heads that stay
	for _, e := range joined.Entries {
		if e.I == e.J {
			places[e.J] = len(places)
		}
	}
	plan := &ot.Plan{N: joined.N, K: joined.K}
	for _, e := range joined.Entries {
		if heads.At(e.I, e.J) == 0 {
			plan.Entries = append(plan.Entries, ot.Entry{I: e.I, J: places[e.J], Mass: e.Mass})
		}
	}
	mp.Groups[0], err = edit.FromPlan(plan, m.o.Scaling)
	return err
}

// selfPairing pairs a subject with itself.
func selfPairing(s *edit.Subject) *Pairing {
	p := newPairing(s, s)
	for name := range s.Analysis.Activations {
		p.Tensors[name] = name
	}
	for _, sp := range s.Analysis.Spaces {
		p.Spaces[sp] = sp
		if sp.Index != nil {
			p.atoms[sp.Index.Canonical()] = sp.Index.Canonical()
		}
	}
	return p
}

// representatives chooses k of n channels greedily: at each step the one that lowers Σ_p
// mass_p·min_{q kept} C_pq most, ties by index. This is facility location, whose gains only shrink
// as more are kept, so stale gains are upper bounds and most need never be recomputed (Minoux
// 1978). pieces lists ranges of channels ([0, …, n]) of which each must keep one where k allows.
// The result is sorted.
func representatives[T dense.Float](costs []T, mass []float64, k int, pieces []int) []int {
	f := newFacility(costs, mass)
	if len(pieces) > 2 && k >= len(pieces)-1 {
		for i, from := range pieces[:len(pieces)-1] {
			if best := f.best(from, pieces[i+1]); best >= 0 {
				f.take(best)
			}
		}
	}
	for q, at := range f.asOf {
		if at >= 0 {
			f.bound[q], f.asOf[q] = f.gain(q), len(f.kept)
		}
	}
	for len(f.kept) < min(k, len(mass)) {
		if q := f.likeliest(); f.asOf[q] == len(f.kept) {
			f.take(q)
		} else {
			f.bound[q], f.asOf[q] = f.gain(q), len(f.kept)
		}
	}
	slices.Sort(f.kept)
	return f.kept
}

// A facility is the state of a choice of representatives.
type facility[T dense.Float] struct {
	to   []T // costs by columns
	mass []float64
	near []T // cost of each channel to its nearest kept one
	kept []int
	// bound is the gain that each channel had when asOf channels were kept; asOf is -1 for those
	// that are kept.
	bound []float64
	asOf  []int
}

func newFacility[T dense.Float](costs []T, mass []float64) *facility[T] {
	f := &facility[T]{to: columns(costs, len(mass)), mass: mass, near: make([]T, len(mass)), bound: make([]float64, len(mass)), asOf: make([]int, len(mass))}
	if len(costs) > 0 {
		far := max(slices.Max(costs), 0)
		for p := range f.near {
			f.near[p] = 2*far + 1 // nothing kept yet: farther than anything
		}
	}
	return f
}

// gain is how much cheaper it gets to keep a further channel.
func (f *facility[T]) gain(q int) float64 {
	s := 0.0
	for p, x := range f.to[q*len(f.near):][:len(f.near)] {
		if d := f.near[p] - x; d > 0 {
			s += f.mass[p] * float64(d)
		}
	}
	return s
}

func (f *facility[T]) take(q int) {
	f.kept, f.asOf[q] = append(f.kept, q), -1
	for p, x := range f.to[q*len(f.near):][:len(f.near)] {
		f.near[p] = min(f.near[p], x)
	}
}

// likeliest is the channel with the largest bound of those that are not kept.
func (f *facility[T]) likeliest() int {
	best := -1
	for q, b := range f.bound {
		if f.asOf[q] >= 0 && (best < 0 || b > f.bound[best]) {
			best = q
		}
	}
	return best
}

// best is the channel of a range with the largest gain, -1 where there is none.
func (f *facility[T]) best(from, to int) int {
	best, most := -1, -1.0
	for q := from; q < to; q++ {
		if g := f.gain(q); g > most {
			best, most = q, g
		}
	}
	return best
}

// columns returns a square matrix by columns: as it is, where it is symmetric.
func columns[T dense.Float](costs []T, n int) []T {
	const block = 32 // so that both sides stay in the cache
	for i := 0; i < n; i += block {
		for j := 0; j <= i; j += block {
			if !symmetric(costs, n, [2]int{i, min(i+block, n)}, [2]int{j, j + block}) {
				out := make([]T, n*n)
				for k, x := range costs {
					out[k%n*n+k/n] = x
				}
				return out
			}
		}
	}
	return costs
}

// symmetric reports whether a square matrix is symmetric as far as it lies in some rows and, below
// the diagonal, some columns.
func symmetric[T dense.Float](m []T, n int, rows, cols [2]int) bool {
	for i := rows[0]; i < rows[1]; i++ {
		for j := cols[0]; j < min(cols[1], i); j++ {
			if m[i*n+j] != m[j*n+i] {
				return false
			}
		}
	}
	return true
}

// nearest is the optimal plan when the target marginal is free: every channel sends all its mass to
// the nearest kept one, itself if it is kept.
func nearest(c ot.Costs, mass []float64, keep []int) *ot.Plan {
	n, _ := c.Dims()
	p := &ot.Plan{N: n, K: len(keep)}
	index := map[int]int{}
	for j, q := range keep {
		index[q] = j
	}
	for i := range n {
		best, ok := index[i]
		if !ok {
			best = 0
			for j, q := range keep {
				if c.At(i, q) < c.At(i, keep[best]) {
					best = j
				}
			}
		}
		p.Entries = append(p.Entries, ot.Entry{I: i, J: best, Mass: mass[i]})
	}
	return p
}
