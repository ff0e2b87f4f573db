package match

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime/debug"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/ot"
)

// A Result is a set of maps with what is worth telling about them.
type Result struct {
	Maps edit.Maps
	// Lost is what biases have to make up for: by activation, and along the axis of its channels,
	// the mean of what consumers do not read any more. Nil where that is nothing.
	Lost map[string][]float64
	// Objective is the transport cost of each space's plan, summed over groups.
	Objective map[*coupling.Space]float64
	// Sweeps counts the passes over all spaces.
	Sweeps int
}

// Onto finds one plan for each space of a pairing's first model that moves its channels into those
// of the paired space of the second. Out is Inᵀ (Mean) unless Scaling says otherwise.
func Onto(ctx context.Context, pair *Pairing, o Options) (_ *Result, err error) {
	defer guard.Recover(&err)
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Scaling == "" {
		o.Scaling = edit.Mean
	}
	p := planner{pair: pair, o: o, res: &Result{Maps: edit.Maps{}, Objective: map[*coupling.Space]float64{}}}
	for _, s := range pair.a.Analysis.Spaces {
		if pair.Spaces[s] != nil {
			p.spaces = append(p.spaces, s)
		}
	}
	switch o.By {
	case Unaligned:
		err = p.keep()
	case Activations:
		err = p.measure(ctx)
	default:
		err = p.sweep(ctx)
	}
	if err != nil {
		return nil, err
	}
	return p.res, nil
}

// keep leaves every channel where it is.
func (p *planner) keep() error {
	for _, s := range p.spaces {
		if d := p.pair.Spaces[s]; d.Width != s.Width {
			return fmt.Errorf("space %q: %d channels cannot stand for %d without alignment", s.Name, s.Width, d.Width)
		}
		p.res.Maps[s] = edit.KeepAll(s)
	}
	return nil
}

// measure plans by activations.
func (p *planner) measure(ctx context.Context) error {
	seen, err := observePairs(ctx, p.pair, p.spaces, p.o)
	if err != nil {
		return err
	}
	for _, s := range p.spaces {
		if err := p.plan(s, seen); err != nil {
			return err
		}
	}
	p.res.Sweeps = 1
	return nil
}

// costs holds the cost matrix between the channels of every group of a source space and those of
// every group of its target that it may be matched with.
type costs [][]*ot.Cost

// newCosts makes costs of zero: of groups in the same place, or, where groups are themselves
// channels that have a plan, of all pairs of groups.
func newCosts(s, d *coupling.Space, all bool) costs {
	c := make(costs, s.Groups)
	for g := range c {
		c[g] = make([]*ot.Cost, d.Groups)
		for h := range c[g] {
			if all || g == h {
				c[g][h] = ot.NewCost(s.Width, d.Width, nil)
			}
		}
	}
	return c
}

// A groupPair is a group of the source and one of the target.
type groupPair struct{ g, h int }

// all lists the pairs of groups that may be matched.
func (c costs) all() iter.Seq2[groupPair, *ot.Cost] {
	return func(yield func(groupPair, *ot.Cost) bool) {
		for g := range c {
			for h := range c[g] {
				if c[g][h] != nil && !yield(groupPair{g, h}, c[g][h]) {
					return
				}
			}
		}
	}
}

// plan makes the map of one space.
func (p *planner) plan(s *coupling.Space, from costSource) (err error) {
	defer guard.At(&err, func() string { return fmt.Sprintf("space %q", s.Name) })
	if inner := p.pair.inside(s); len(inner) > 0 {
		heads, err := p.headCosts(s, inner, from)
		if err != nil {
			return err
		}
		return p.solve(s, []ot.Costs{heads})
	}
	if s.Width >= wideSpace && s.Groups == 1 {
		debug.FreeOSMemory() // each step takes a large part of the models' size
		c, err := from.narrow(s)
		if err != nil {
			return err
		}
		return p.solve(s, []ot.Costs{c})
	}
	table, err := from.costs(s)
	if err != nil {
		return err
	}
	own := make([]ot.Costs, s.Groups)
	for g := range own {
		own[g] = table[g][p.partner(s, g)]
	}
	return p.solve(s, own)
}

// headCosts compares channels that have channels of their own, in any order, as attention heads do:
// what it costs to move one head onto another is the cost of the best plan between their channels,
// which is a transport problem itself, and then the channels follow their head.
func (p *planner) headCosts(s *coupling.Space, inner []*coupling.Space, from costSource) (*ot.Cost, error) {
	heads := ot.NewCost(s.Width, p.pair.Spaces[s].Width, nil)
	told, err := from.own(s, inner, heads)
	if err != nil {
		return nil, err
	}
	for _, in := range inner {
		table, err := from.costs(in)
		if errors.Is(err, errUntold) {
			continue // in the order of spaces that are planned later
		}
		if err != nil {
			return nil, err
		}
		told = true
		for at, c := range table.all() {
			a, b, err := p.masses(in, at)
			if err != nil {
				return nil, fmt.Errorf("space %q: %w", in.Name, err)
			}
			r, err := transport(a, b, c, p.o)
			if err != nil {
				return nil, fmt.Errorf("space %q: %w", in.Name, err)
			}
			heads.Set(at.g, at.h, heads.At(at.g, at.h)+r.Objective)
		}
	}
	if !told {
		return nil, fmt.Errorf("space %q: %w", s.Name, errUntold)
	}
	return heads, nil
}

// partner is the group of the target whose channels those of a source group move onto: where the
// groups are channels that have a map, the one that most of the group goes to.
func (p *planner) partner(s *coupling.Space, group int) int {
	m := p.res.Maps[p.pair.a.Analysis.IndexOf(s)]
	if m == nil || !p.pair.pairedGroups(s) {
		return group
	}
	best, most := 0, 0.0
	for h, row := range m.Groups[0].In {
		for _, e := range row {
			if e.Col == group && e.Val > most {
				best, most = h, e.Val
			}
		}
	}
	return best
}

type planner struct {
	pair   *Pairing
	o      Options
	spaces []*coupling.Space
	res    *Result
	// partial says that some weight was left out, since a space had no plan yet.
	partial bool
	// unordered compares by what does not depend on the order of channels that have no plan yet.
	unordered bool
}

// sweep plans by weights: a topological pass, then passes in which every space sees the plans of
// all others, until the total cost stops falling.
func (p *planner) sweep(ctx context.Context) error {
	limit := p.o.Sweeps
	if limit == 0 {
		limit = 10
	}
	if err := p.first(ctx); err != nil {
		return err
	}
	p.res.Sweeps = 1
	best, bestMaps := 0.0, edit.Maps(nil)
	for pass := 1; p.partial && pass <= limit; pass++ {
		total := 0.0
		for _, s := range p.spaces {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := p.plan(s, byWeights{p}); err != nil {
				return err
			}
			total += p.res.Objective[s]
		}
		p.res.Sweeps = pass + 1
		// The first pass leaves out uses that depend on later spaces, so its total does not compare
		// with the others'.
		if pass > 1 && total >= best*(1-1e-9) {
			p.res.Maps = bestMaps
			break
		}
		best, bestMaps = total, maps.Clone(p.res.Maps)
	}
	return nil
}

// first plans every space once, each as soon as something is known of it that does not depend on
// spaces without a plan. Where they all wait for one another, the first of them is compared by what
// does not depend on the others' order.
func (p *planner) first(ctx context.Context) error {
	for todo := p.spaces; len(todo) > 0; {
		var waiting []*coupling.Space
		for _, s := range todo {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !p.known(s) {
				waiting = append(waiting, s)
				continue
			}
			if err := p.plan(s, byWeights{p}); err != nil {
				return err
			}
		}
		if len(waiting) == len(todo) {
			p.unordered = true
			err := p.plan(waiting[0], byWeights{p})
			if p.unordered = false; err != nil {
				return err
			}
			waiting = waiting[1:]
		}
		todo = waiting
	}
	return nil
}

// known reports whether some weight says what a space's channels are whatever order is found for
// spaces that have no plan yet.
func (p *planner) known(s *coupling.Space) bool {
	if outer := p.pair.a.Analysis.IndexOf(s); outer != nil && p.pair.pairedGroups(s) && p.res.Maps[outer] == nil {
		return false
	}
	inner := p.pair.inside(s)
	for _, in := range inner {
		for _, uses := range channels.Makers(p.pair.a, in) {
			if p.ready(edit.GroupsOf(in), uses[0]) {
				return true
			}
		}
	}
	return slices.ContainsFunc(channels.Makers(p.pair.a, s), func(uses []coupling.Use) bool {
		return p.alone(s, inner, uses[0]) || len(inner) == 0 && p.beside(s, uses[0]) != nil
	})
}

// ready reports whether all spaces have plans that run along a weight beside the one that is looked
// at.
func (p *planner) ready(by edit.Grouping, u coupling.Use, but ...*coupling.Space) bool {
	return len(p.unplanned(by, u, but...)) == 0
}

// unplanned lists the spaces without plans that run along a weight, beside those that the channels
// along the used axis are told apart by.
func (p *planner) unplanned(by edit.Grouping, u coupling.Use, but ...*coupling.Space) []*coupling.Space {
	if by.Index != nil {
		but = append(but, p.pair.a.Analysis.SpaceOf(by.Index))
	}
	var out []*coupling.Space
	for k, a := range p.pair.a.Analysis.Weights[u.Tensor].Axes {
		for _, x := range a.Atoms() {
			s := p.pair.a.Analysis.SpaceOf(x)
			if s == nil || p.pair.Spaces[s] == nil || p.res.Maps[s] != nil || k == u.Axis && s == by.Space || slices.Contains(but, s) || slices.Contains(out, s) {
				continue
			}
			out = append(out, s)
		}
	}
	return out
}

// beside is a space without a plan that shares the axis a producer makes with another one that is
// all else that is known: channels of channels, in an order of their own that all of them have. It
// is nil where there is none.
func (p *planner) beside(s *coupling.Space, u coupling.Use) *coupling.Space {
	other := p.unplanned(edit.GroupsOf(s), u)
	if len(other) != 1 || other[0] == s || s.Groups > 1 || len(s.Pieces) > 1 {
		return nil
	}
	in := other[0]
	d := p.pair.Spaces[in]
	if in.Groups > 1 || len(in.Pieces) > 1 || len(d.Pieces) > 1 || len(p.pair.Spaces[s].Pieces) > 1 || s.Width*in.Width*p.pair.Spaces[s].Width*d.Width > maxBeside {
		return nil
	}
	if !slices.ContainsFunc(in.Pieces, func(x *coupling.Axis) bool { return p.pair.a.Analysis.Weights[u.Tensor].Axes[u.Axis].Holds(x) }) {
		return nil
	}
	return in
}

// maxBeside bounds the pairs of channels compared for the sake of others.
const maxBeside = 1 << 26

// A costSource gives the costs of spaces.
type costSource interface {
	// costs are those of all groups that may be matched.
	costs(s *coupling.Space) (costs, error)
	// narrow gives those of a space of one group in single precision: of 8,192 channels they take
	// 256 MB.
	narrow(s *coupling.Space) (*ot.Cost32, error)
	// own adds what is known of a space alone, without those inside it, and reports whether that is
	// anything.
	own(s *coupling.Space, inner []*coupling.Space, c *ot.Cost) (told bool, err error)
}

// errUntold says that there is nothing yet by which channels could be compared.
var errUntold = errors.New("no weight makes it that can be compared")

// byWeights compares channels by the weights of producers with moved inputs.
type byWeights struct{ *planner }

func (p byWeights) costs(s *coupling.Space) (costs, error) {
	out := newCosts(s, p.pair.Spaces[s], p.pair.pairedGroups(s))
	err := p.producers(s, func(x, y []channels.Features) {
		for at, c := range out.all() {
			addFeatureCost(c.Data, x[at.g], y[at.h], p.o.Cost)
		}
	}, func(inner *ot.Cost) {
		for i, c := range inner.Data {
			out[0][0].Data[i] += c
		}
	})
	return out, err
}

func (p byWeights) narrow(s *coupling.Space) (*ot.Cost32, error) {
	n, k := s.Width, p.pair.Spaces[s].Width
	c := &ot.Cost32{N: n, K: k, Data: make([]float32, n*k)}
	err := p.producers(s, func(x, y []channels.Features) { addFeatureCost(c.Data, x[0], y[0], p.o.Cost) }, func(inner *ot.Cost) {
		for i, v := range inner.Data {
			c.Data[i] += float32(v)
		}
	})
	return c, err
}

// own compares by the producers that make a space without what is inside it: the channels in front
// of a depthwise multiplier.
func (p byWeights) own(s *coupling.Space, inner []*coupling.Space, c *ot.Cost) (told bool, err error) {
	d := p.pair.Spaces[s]
	for _, y := range channels.Makers(p.pair.b, d) {
		x, y := p.counterparts(s, y)
		if len(x) == 0 || !p.alone(s, inner, x[0]) {
			continue
		}
		told = true
		x, y = p.usable(edit.GroupsOf(s), x, y)
		a, b, err := p.compare(edit.GroupsOf(s), edit.GroupsOf(d), x, y)
		if err != nil {
			return told, err
		}
		addFeatureCost(c.Data, a[0], b[0], p.o.Cost)
	}
	return told, nil
}

// alone reports whether a weight makes a space without what is inside it, and reads nothing that
// has no plan yet.
func (p *planner) alone(s *coupling.Space, inner []*coupling.Space, u coupling.Use) bool {
	axis := p.pair.a.Analysis.Weights[u.Tensor].Axes[u.Axis]
	return p.ready(edit.GroupsOf(s), u) && !slices.ContainsFunc(inner, func(in *coupling.Space) bool { return slices.ContainsFunc(in.Pieces, axis.Holds) })
}

// producers calls f with what each pair of producers whose inputs have been moved says about a
// space, and inner with what it costs to move channels, each as best its own channels allow.
func (p *planner) producers(s *coupling.Space, f func(x, y []channels.Features), inner func(*ot.Cost)) error {
	d := p.pair.Spaces[s]
	theirs := channels.Makers(p.pair.b, d)
	used := 0
	for _, y := range theirs {
		x, y := p.counterparts(s, y)
		if len(x) == 0 {
			continue // what the other model makes it by is no producer here
		}
		if in := p.beside(s, x[0]); in != nil && !p.unordered {
			c, err := p.channelsOfChannels(s, in, x, y)
			if err != nil {
				return err
			}
			inner(c)
			used++
			continue
		}
		if !p.unordered {
			if !p.ready(edit.GroupsOf(s), x[0]) {
				p.partial = true
				continue
			}
			x, y = p.usable(edit.GroupsOf(s), x, y)
		}
		a, b, err := p.compare(edit.GroupsOf(s), edit.GroupsOf(d), x, y)
		if err != nil {
			return err
		}
		f(a, b)
		used++
	}
	if used == 0 {
		return fmt.Errorf("space %q: %w", s.Name, errUntold)
	}
	return nil
}

// counterparts pairs what a producer of the target and its biases say with what the source's do,
// through their tensors, since the order may differ. There are none where the source has no such
// producer.
func (p *planner) counterparts(s *coupling.Space, theirs []coupling.Use) (x, y []coupling.Use) {
	for i, u := range theirs {
		src := p.pair.Sources[u.Tensor]
		at := slices.IndexFunc(s.Uses, func(v coupling.Use) bool {
			return v.Tensor == src.Name && v.Axis == src.Axis(u.Axis) && v.Role == u.Role
		})
		switch {
		case at >= 0:
			x, y = append(x, s.Uses[at]), append(y, u)
		case i == 0:
			return nil, nil
		}
	}
	return x, y
}

// usable leaves out the weights along which a space has no plan yet.
func (p *planner) usable(by edit.Grouping, x, y []coupling.Use, but ...*coupling.Space) (a, b []coupling.Use) {
	for i := range x {
		if !p.ready(by, x[i], but...) {
			p.partial = true
			continue
		}
		a, b = append(a, x[i]), append(b, y[i])
	}
	return a, b
}

// compare reads weights of both models.
func (p *planner) compare(by, to edit.Grouping, x, y []coupling.Use) (a, b []channels.Features, err error) {
	if a, err = channels.Read(p.pair.a, edit.NewTransform(p.pair.a.Analysis, p.res.Maps.Along(p.pair.a.Analysis, x)), by, x); err != nil {
		return nil, nil, err
	}
	if b, err = channels.Read(p.pair.b, edit.NewTransform(p.pair.b.Analysis, nil), to, y); err != nil {
		return nil, nil, err
	}
	if p.unordered {
		p.partial = true
		matchQuantiles(a, b)
	}
	if m, n := a[0].Cols, b[0].Cols; m != n {
		return nil, nil, fmt.Errorf("weights %q and %q have inputs of %d and %d", x[0].Tensor, y[0].Tensor, m, n)
	}
	return a, b, nil
}

// channelsOfChannels is what it costs to move the channels of a space where each has channels of
// its own, in an order not known yet: that of the best plan between those.
func (p *planner) channelsOfChannels(s, in *coupling.Space, x, y []coupling.Use) (*ot.Cost, error) {
	d, to := p.pair.Spaces[s], p.pair.Spaces[in]
	by, of := edit.Grouping{Space: in, Index: s.Pieces[0], Groups: s.Width}, edit.Grouping{Space: to, Index: d.Pieces[0], Groups: d.Width}
	x, y = p.usable(by, x, y)
	p.partial = true // the plans differ, and in the end there is one
	a, b, err := p.compare(by, of, x, y)
	if err != nil {
		return nil, err
	}
	out := ot.NewCost(s.Width, d.Width, nil)
	for g := range a {
		for h := range b {
			c := ot.NewCost(in.Width, to.Width, nil)
			addFeatureCost(c.Data, a[g], b[h], p.o.Cost)
			r, err := transport(nil, nil, c, p.o)
			if err != nil {
				return nil, fmt.Errorf("space %q: %w", in.Name, err)
			}
			out.Set(g, h, r.Objective)
		}
	}
	return out, nil
}

// solve turns the costs of a space into its map.
func (p *planner) solve(s *coupling.Space, costs []ot.Costs) error {
	d := p.pair.Spaces[s]
	m := &edit.Map{Pieces: edit.SizesOf(d)}
	total := 0.0
	for g, c := range costs {
		a, b, err := p.masses(s, groupPair{g, p.partner(s, g)})
		if err != nil {
			return err
		}
		r, err := transport(a, b, c, p.o)
		if err != nil {
			return fmt.Errorf("space %q: %w", s.Name, err)
		}
		total += r.Objective
		t, err := edit.FromPlan(r.Plan, p.o.Scaling)
		if err != nil {
			return fmt.Errorf("space %q: %w", s.Name, err)
		}
		m.Groups = append(m.Groups, t)
	}
	p.res.Maps[s] = m
	p.res.Objective[s] = total
	return nil
}

// masses returns the marginals of a group of a space and of a group of its target, nil for uniform
// ones.
func (p *planner) masses(s *coupling.Space, at groupPair) (a, b []float64, err error) {
	if a, err = masses(p.pair.a, s, nil, at.g, p.o.Mass); err == nil {
		b, err = masses(p.pair.b, p.pair.Spaces[s], nil, at.h, p.o.Mass)
	}
	return a, b, err
}

// transport finds the best plan between channels.
func transport(a, b []float64, c ot.Costs, o Options) (*ot.Result, error) {
	if o.Solver == Sinkhorn {
		return ot.Sinkhorn(a, b, c, ot.SinkhornOptions{Epsilon: o.Epsilon})
	}
	return ot.EMD(a, b, c)
}
