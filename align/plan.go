package align

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/ot"
)

// A Result is a set of maps with what is worth telling about them.
type Result struct {
	Maps Maps
	// Objective is the transport cost of each space's plan, summed over groups.
	Objective map[*coupling.Space]float64
	// Sweeps counts the passes over all spaces.
	Sweeps int
}

// Onto finds one plan for each space of src that moves its channels into the
// channels of the paired space of dst. Out is the reference's Inᵀ (Mean) unless
// Scaling says otherwise.
func Onto(ctx context.Context, src, dst *Subject, pair *Pairing, o Options) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Scaling == "" {
		o.Scaling = Mean
	}
	p := planner{src: src, dst: dst, pair: pair, o: o, res: &Result{Maps: Maps{}, Objective: map[*coupling.Space]float64{}}}
	for _, s := range src.Analysis.Spaces {
		if pair.Spaces[s] != nil {
			p.spaces = append(p.spaces, s)
		}
	}
	if o.By == Unaligned {
		for _, s := range p.spaces {
			if d := pair.Spaces[s]; d.Width != s.Width {
				return nil, fmt.Errorf("space %q: %d channels cannot stand for %d without alignment", s.Name, s.Width, d.Width)
			}
			p.res.Maps[s] = keepAll(s)
		}
		return p.res, nil
	}
	if o.By == Activations {
		seen, err := observePairs(ctx, src, dst, pair, p.spaces, o)
		if err != nil {
			return nil, err
		}
		for _, s := range p.spaces {
			if err := p.plan(s, seen); err != nil {
				return nil, err
			}
		}
		p.res.Sweeps = 1
		return p.res, nil
	}
	return p.res, p.sweep(ctx)
}

// costs holds the cost matrix between the channels of every group of a source
// space and those of every group of its target that it may be matched with.
type costs [][]*ot.Cost

// newCosts makes costs of zero: of groups in the same place, or, where groups
// are themselves channels that have a plan, of all pairs of groups.
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

// each visits the pairs of groups that may be matched.
func (c costs) each(f func(g, h int, c *ot.Cost)) {
	for g := range c {
		for h := range c[g] {
			if c[g][h] != nil {
				f(g, h, c[g][h])
			}
		}
	}
}

// plan makes the map of one space. Attention heads have channels of their own,
// in any order: what it costs to move one head onto another is the cost of the
// best plan between their channels, which is a transport problem itself, and
// then the channels follow their head.
func (p *planner) plan(s *coupling.Space, from costSource) error {
	var inner []*coupling.Space
	for _, in := range p.spaces {
		if p.src.indexOf(in) == s && p.pair.pairedGroups(in) {
			inner = append(inner, in)
		}
	}
	if len(inner) == 0 && s.Width >= wideSpace && s.Groups == 1 {
		debug.FreeOSMemory() // each step takes a large part of the models' size
		c, err := from.narrow(s)
		if err != nil {
			return err
		}
		return p.solve(s, []ot.Costs{c})
	}
	if len(inner) == 0 {
		table, err := from.costs(s)
		if err != nil {
			return err
		}
		mine := make([]ot.Costs, s.Groups)
		for g := range mine {
			mine[g] = table[g][p.partner(s, g)]
		}
		return p.solve(s, mine)
	}
	heads := ot.NewCost(s.Width, p.pair.Spaces[s].Width, nil)
	for _, in := range inner {
		table, err := from.costs(in)
		if err != nil {
			return err
		}
		var failed error
		table.each(func(g, h int, c *ot.Cost) {
			a, b, err := p.masses(in, p.pair.Spaces[in], g, h)
			if err == nil {
				var r *ot.Result
				if r, err = transport(a, b, c, p.o); err == nil {
					heads.Set(g, h, heads.At(g, h)+r.Objective)
				}
			}
			if err != nil {
				failed = fmt.Errorf("space %q: %w", in.Name, err)
			}
		})
		if failed != nil {
			return failed
		}
	}
	return p.solve(s, []ot.Costs{heads})
}

// partner is the group of the target whose channels those of a source group
// move onto: where the groups are channels that have a map, the one that most
// of the group goes to.
func (p *planner) partner(s *coupling.Space, group int) int {
	m := p.res.Maps[p.src.indexOf(s)]
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
	src, dst *Subject
	pair     *Pairing
	o        Options
	spaces   []*coupling.Space
	res      *Result
}

// sweep plans by weights: a topological pass, then passes in which every space
// sees the plans of all others, until the total cost stops falling.
func (p *planner) sweep(ctx context.Context) error {
	limit := p.o.Sweeps
	if limit == 0 {
		limit = 10
	}
	best, bestMaps := 0.0, Maps(nil)
	for pass := 0; pass == 0 || pass <= limit; pass++ {
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
		// The first pass leaves out uses that depend on later spaces, so its
		// total does not compare with the others'.
		if pass > 1 && total >= best*(1-1e-9) {
			p.res.Maps = bestMaps
			break
		}
		best, bestMaps = total, Maps{}
		for s, m := range p.res.Maps {
			bestMaps[s] = m
		}
		if !p.cyclic() {
			break
		}
	}
	return nil
}

// cyclic reports whether some plan was made before one it depends on.
func (p *planner) cyclic() bool {
	seen := map[*coupling.Space]bool{}
	for _, s := range p.spaces {
		for _, u := range s.Producers() {
			for _, other := range p.feeding(u) {
				if other == s || !seen[other] {
					return true
				}
			}
		}
		seen[s] = true
	}
	return false
}

// feeding lists the mapped spaces along the other axes of a producer's weight.
func (p *planner) feeding(u coupling.Use) []*coupling.Space {
	var out []*coupling.Space
	for k, a := range p.src.Analysis.Weights[u.Tensor].Axes {
		if k == u.Axis {
			continue
		}
		for _, x := range a.Atoms() {
			if s := p.src.Analysis.SpaceOf(x); s != nil && p.pair.Spaces[s] != nil {
				out = append(out, s)
			}
		}
	}
	return out
}

// A costSource gives the costs of spaces.
type costSource interface {
	// costs are those of all groups that may be matched.
	costs(s *coupling.Space) (costs, error)
	// narrow gives those of a space of one group in single precision: of 8,192
	// channels they take 256 MB.
	narrow(s *coupling.Space) (*ot.Cost32, error)
}

// byWeights compares channels by the weights of all producers whose inputs have been moved.
type byWeights struct{ *planner }

func (p byWeights) costs(s *coupling.Space) (costs, error) {
	out := newCosts(s, p.pair.Spaces[s], p.pair.pairedGroups(s))
	err := p.producers(s, func(x, y reading) {
		out.each(func(g, h int, c *ot.Cost) { addFeatureCost(c.Data, x.groups[g], y.groups[h], p.o.Cost) })
	})
	return out, err
}

func (p byWeights) narrow(s *coupling.Space) (*ot.Cost32, error) {
	n, k := s.Width, p.pair.Spaces[s].Width
	c := &ot.Cost32{N: n, K: k, Data: make([]float32, n*k)}
	err := p.producers(s, func(x, y reading) { addFeatureCost(c.Data, x.groups[0], y.groups[0], p.o.Cost) })
	return c, err
}

// producers calls f with what each pair of producers whose inputs have been moved says about a space.
func (p *planner) producers(s *coupling.Space, f func(x, y reading)) error {
	d := p.pair.Spaces[s]
	x, err := p.src.readings(s, p.res.Maps)
	if err != nil {
		return err
	}
	y, err := p.dst.readings(d, nil)
	if err != nil {
		return err
	}
	if len(x) != len(y) {
		return fmt.Errorf("space %q has %d producers, %q %d", s.Name, len(x), d.Name, len(y))
	}
	// Producers are paired through their tensors, since the order may differ.
	byTensor := map[string]int{}
	for j, u := range d.Producers() {
		byTensor[u.Tensor] = j
	}
	used := 0
	for j, u := range d.Producers() {
		i := -1
		for k, v := range s.Producers() {
			if v.Tensor == p.pair.Sources[u.Tensor] {
				i = k
			}
		}
		if i < 0 {
			return fmt.Errorf("weight %q has no counterpart", u.Tensor)
		}
		ready := true
		for _, other := range p.feeding(s.Producers()[i]) {
			if p.res.Maps[other] == nil {
				ready = false
			}
		}
		if !ready {
			continue
		}
		if fx, fy := x[i].groups[0], y[j].groups[0]; fx.cols != fy.cols {
			return fmt.Errorf("weights %q and %q have inputs of %d and %d", s.Producers()[i].Tensor, u.Tensor, fx.cols, fy.cols)
		}
		f(x[i], y[j])
		used++
	}
	if used == 0 {
		return fmt.Errorf("space %q: every producer depends on a space that is planned later", s.Name)
	}
	return nil
}

// solve turns the costs of a space into its map.
func (p *planner) solve(s *coupling.Space, costs []ot.Costs) error {
	d := p.pair.Spaces[s]
	m := &Map{Pieces: sizesOf(d)}
	total := 0.0
	for g, c := range costs {
		a, b, err := p.masses(s, d, g, p.partner(s, g))
		if err != nil {
			return err
		}
		r, err := transport(a, b, c, p.o)
		if err != nil {
			return fmt.Errorf("space %q: %w", s.Name, err)
		}
		total += r.Objective
		t, err := FromPlan(r.Plan, p.o.Scaling)
		if err != nil {
			return fmt.Errorf("space %q: %w", s.Name, err)
		}
		m.Groups = append(m.Groups, t)
	}
	p.res.Maps[s] = m
	p.res.Objective[s] = total
	return nil
}

// masses returns the marginals of a group of a space and of a group of its
// target, nil for uniform ones.
func (p *planner) masses(s, d *coupling.Space, group, partner int) (a, b []float64, err error) {
	if p.o.Mass == "" || p.o.Mass == Uniform {
		return nil, nil, nil
	}
	side := func(sub *Subject, sp *coupling.Space, group int) ([]float64, error) {
		rs, err := sub.readings(sp, nil)
		if err != nil {
			return nil, err
		}
		return normalise(importance(rs, group, p.o.Mass)), nil
	}
	if a, err = side(p.src, s, group); err != nil {
		return nil, nil, err
	}
	b, err = side(p.dst, d, partner)
	return a, b, err
}

// normalise scales to total one. Channels keep a sliver of mass, so that every
// one has an image.
func normalise(w []float64) []float64 {
	total := 0.0
	for _, x := range w {
		total += x
	}
	if total == 0 {
		return nil
	}
	floor := 1e-6 * total / float64(len(w))
	sum := 0.0
	for i := range w {
		w[i] = max(w[i], floor)
		sum += w[i]
	}
	for i := range w {
		w[i] /= sum
	}
	return w
}

func transport(a, b []float64, c ot.Costs, o Options) (*ot.Result, error) {
	if o.Solver == Sinkhorn {
		return ot.Sinkhorn(a, b, c, ot.SinkhornOptions{Epsilon: o.Epsilon})
	}
	return ot.EMD(a, b, c)
}
