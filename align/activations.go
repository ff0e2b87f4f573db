package align

import (
	"context"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/ot"
)

// Taps returns the activations in which the channels of a space are seen
// before the nonlinearity: the outputs of its producers, moved on through a
// bias, a normalisation and the Add of a residual stream.
func (s *Subject) Taps(sp *coupling.Space) []string {
	var out []string
	for _, u := range sp.Producers() {
		t := s.tap(sp, u.Node)
		if t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

func (s *Subject) tap(sp *coupling.Space, n *onnxpb.NodeProto) string {
	// Of a recurrent layer the last states may be all that is read.
	at := slices.IndexFunc(n.GetOutput(), func(out string) bool {
		_, _, ok := s.channelAxis(out, sp)
		return ok && (s.Graph.IsOutput(out) || len(s.Graph.Consumers(out)) > 0)
	})
	if at < 0 {
		return ""
	}
	t := n.GetOutput()[at]
	for {
		if s.Graph.IsOutput(t) {
			return t
		}
		readers := s.Graph.Consumers(t)
		if len(readers) != 1 || readers[0].Input < 0 {
			return t
		}
		r := readers[0].Node
		switch r.GetOpType() {
		case "BatchNormalization", "Add", "Identity":
		default:
			return t
		}
		next := r.GetOutput()[0]
		if _, _, ok := s.channelAxis(next, sp); !ok {
			return t
		}
		t = next
		if r.GetOpType() == "Add" && s.liveInputs(r) > 1 {
			return t // the stream's pre-activation
		}
	}
}

func (s *Subject) liveInputs(n *onnxpb.NodeProto) int {
	live := 0
	for _, in := range n.GetInput() {
		if _, constant := s.Analysis.Roots[in]; !constant && in != "" {
			live++
		}
	}
	return live
}

// channelAxis finds the axis of an activation along which a space runs, and
// the positions of every group's channels there.
func (s *Subject) channelAxis(tensor string, sp *coupling.Space) (axis int, places [][][]int, ok bool) {
	for k, a := range s.Analysis.Activations[tensor] {
		if !slices.ContainsFunc(sp.Pieces, func(p *coupling.Axis) bool { return holds(a, p) }) {
			continue
		}
		if a.Size() < 0 {
			return 0, nil, false
		}
		places = placesOf(a, sp)
		for _, g := range places {
			for _, c := range g {
				if len(c) == 0 {
					return 0, nil, false // a range of the space only
				}
			}
		}
		return k, places, true
	}
	return 0, nil, false
}

// seen is one tapped activation of a space.
type seen struct {
	space  *coupling.Space
	tensor string
	axis   int
	places [][][]int
	// selects is another axis, whose positions belong to groups; -1 if there is none.
	selects   int
	positions [][]int
}

// seenIn is how an activation shows a space; ok is false where it does not.
func (s *Subject) seenIn(tensor string, sp *coupling.Space) (v seen, ok bool) {
	axis, places, ok := s.channelAxis(tensor, sp)
	if !ok {
		return seen{}, false
	}
	by := groupsOf(sp)
	v = seen{sp, tensor, axis, places, by.selector(s.Analysis.Activations[tensor], axis), nil}
	if v.selects >= 0 {
		v.positions = positionsOf(s.Analysis.Activations[tensor][v.selects], by, nil)
	}
	return v, true
}

// vectors lays the channels of a group out as rows (channels × positions).
func (v *seen) vectors(t *engine.Value, group int) ([]float64, int, error) {
	if v.axis >= len(t.Dims) {
		return nil, 0, fmt.Errorf("activation %q has %d axes", v.tensor, len(t.Dims))
	}
	f32, f64, dims := t.F32, t.F64, t.Dims
	if v.selects >= 0 {
		f32, _ = pick(f32, t.Dims, v.selects, v.positions[group])
		f64, dims = pick(f64, t.Dims, v.selects, v.positions[group])
	}
	outer, inner, n := 1, 1, dims[v.axis]
	for _, d := range dims[:v.axis] {
		outer *= d
	}
	for _, d := range dims[v.axis+1:] {
		inner *= d
	}
	rows := v.places[group]
	each := len(rows[0])
	d := each * outer * inner
	out := make([]float64, len(rows)*d)
	for c, places := range rows {
		at := c * d
		for _, p := range places {
			if p >= n {
				return nil, 0, fmt.Errorf("activation %q has %d channels, expected more than %d", v.tensor, n, p)
			}
			for o := range outer {
				from := (o*n + p) * inner
				if f32 != nil {
					for i, x := range f32[from : from+inner] {
						out[at+i] = float64(x)
					}
				} else {
					copy(out[at:at+inner], f64[from:from+inner])
				}
				at += inner
			}
		}
	}
	return out, d, nil
}

// tap is an activation of a space, and that of its counterpart in another model.
type tap struct {
	x, y    seen
	moments [][]*moments // by groups of x and y; nil where they cannot be matched
}

// add accumulates the values of both activations for the same samples.
func (t *tap) add(a, b *engine.Value) error {
	if t.x.space.Groups == 1 && t.y.space.Groups == 1 {
		x, y := t.x.views(a, 0), t.y.views(b, 0)
		if len(x) > 0 && len(x) == len(y) && x[0].Cols == y[0].Cols {
			for i := range x {
				addMoments(t.moments[0][0], x[i], y[i])
			}
			return nil
		}
	}
	ys, dy := make([][]float64, t.y.space.Groups), 0
	for h := range ys {
		var err error
		if ys[h], dy, err = t.y.vectors(b, h); err != nil {
			return err
		}
	}
	for g, row := range t.moments {
		x, dx, err := t.x.vectors(a, g)
		if err != nil {
			return err
		}
		if dx != dy {
			return fmt.Errorf("activations %q and %q have %d and %d values a channel", t.x.tensor, t.y.tensor, dx, dy)
		}
		for h, m := range row {
			if m != nil {
				addMoments(m, dense.New(m.n, dx, x), dense.New(m.k, dx, ys[h]))
			}
		}
	}
	return nil
}

// leastPositions is how many positions make a matrix of its own worth while.
const leastPositions = 32

// views returns the channels of a group as rows of matrices over the activation itself, one matrix for
// all samples or one for each; nil where they have to be laid out first.
func (v *seen) views(t *engine.Value, group int) []dense.Matrix[float32] {
	if t.F32 == nil || v.axis >= len(t.Dims) || !inPlace(v.places[group], t.Dims[v.axis]) {
		return nil
	}
	outer, inner, n := 1, 1, t.Dims[v.axis]
	for _, d := range t.Dims[:v.axis] {
		outer *= d
	}
	for _, d := range t.Dims[v.axis+1:] {
		inner *= d
	}
	switch {
	case inner == 1:
		return []dense.Matrix[float32]{dense.New(outer, n, t.F32).T()}
	case inner < leastPositions:
		return nil
	}
	out := make([]dense.Matrix[float32], outer)
	for o := range out {
		out[o] = dense.New(n, inner, t.F32[o*n*inner:])
	}
	return out
}

// measured are the taps of spaces, with what was seen there.
type measured struct {
	pair   *Pairing
	metric Metric
	taps   map[*coupling.Space][]*tap
}

// has reports whether a space was observed.
func (m *measured) has(s *coupling.Space) bool { return m != nil && m.taps[s] != nil }

// own says nothing: activations inside a space show it as well.
func (m *measured) own(*coupling.Space, []*coupling.Space, *ot.Cost) (told bool, err error) {
	return false, nil
}

// costs returns, for every group of a space, the summed costs over its taps. They
// are made anew at every call: those of all spaces together would be large.
func (m *measured) costs(s *coupling.Space) (costs, error) {
	out := newCosts(s, m.taps[s][0].y.space, m.pair.pairedGroups(s))
	for _, t := range m.taps[s] {
		out.each(func(g, h int, c *ot.Cost) {
			t.moments[g][h].blocks(func(from int, part *moments) { addCost(part, c.Data[from*part.k:], m.metric, nil) })
		})
	}
	return out, nil
}

func (m *measured) narrow(s *coupling.Space) (*ot.Cost32, error) {
	n, k := s.Width, m.taps[s][0].y.space.Width
	c := &ot.Cost32{N: n, K: k, Data: make([]float32, n*k)}
	for _, t := range m.taps[s] {
		t.moments[0][0].blocks(func(from int, part *moments) { addCost(part, c.Data[from*k:], m.metric, nil) })
	}
	return c, nil
}

// observePairs runs both models over the data side by side and collects what the
// costs of spaces are made of. Memory does not grow with the number of samples
// beyond that of channels.
func observePairs(ctx context.Context, src, dst *Subject, pair *Pairing, spaces []*coupling.Space, o Options) (*measured, error) {
	var taps []*tap
	for _, s := range spaces {
		d := pair.Spaces[s]
		found := false
		for _, t := range src.Taps(s) {
			u := pair.Tensors[through(src, t)]
			x, okx := src.seenIn(t, s)
			y, oky := dst.seenIn(u, d)
			if u == "" || !okx || !oky {
				continue
			}
			found = true
			x.tensor = through(src, t)
			p := &tap{x: x, y: y}
			for g := range s.Groups {
				p.moments = append(p.moments, make([]*moments, d.Groups))
				for h := range d.Groups {
					if g == h || pair.pairedGroups(s) {
						p.moments[g][h] = newMoments(s.Width, d.Width)
					}
				}
			}
			taps = append(taps, p)
		}
		if !found {
			return nil, fmt.Errorf("space %q: no activation shows its channels", s.Name)
		}
	}
	var tx, ty []string
	for _, t := range taps {
		tx, ty = append(tx, t.x.tensor), append(ty, t.y.tensor)
	}
	err := lockstep(ctx, src, dst, compact(tx), compact(ty), o, func(a, b map[string]*engine.Value) error {
		for _, t := range taps {
			if err := t.add(a[t.x.tensor], b[t.y.tensor]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &measured{pair: pair, metric: o.Cost, taps: map[*coupling.Space][]*tap{}}
	for _, t := range taps {
		out.taps[t.x.space] = append(out.taps[t.x.space], t)
	}
	return out, nil
}

func compact(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// lockstep streams the same samples through two models and hands f the tapped
// tensors of both, batch by batch.
func lockstep(ctx context.Context, src, dst *Subject, tx, ty []string, o Options, f func(a, b map[string]*engine.Value) error) error {
	if src == dst {
		return sideBySide(ctx, []*onnxio.Model{src.Model}, [][]string{tx}, o, func(_ int, v []map[string]*engine.Value) error { return f(v[0], v[0]) })
	}
	return sideBySide(ctx, []*onnxio.Model{src.Model, dst.Model}, [][]string{tx, ty}, o, func(_ int, v []map[string]*engine.Value) error { return f(v[0], v[1]) })
}

// sideBySide streams the same samples through several models and hands f the
// tapped tensors of all, batch by batch, with the number of samples.
func sideBySide(ctx context.Context, models []*onnxio.Model, tensors [][]string, o Options, f func(n int, values []map[string]*engine.Value) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type batch struct {
		n      int
		values map[string]*engine.Value
	}
	so := dataset.StreamOptions{Batch: o.Batch, Threads: o.Threads}
	others := make([]chan batch, len(models)-1)
	failed := make([]chan error, len(models)-1)
	for i := range others {
		others[i], failed[i] = make(chan batch), make(chan error, 1)
		go func() {
			defer close(others[i])
			failed[i] <- dataset.Stream(ctx, models[i+1], o.Data, tensors[i+1], so, func(_, n int, values map[string]*engine.Value) error {
				select {
				case others[i] <- batch{n, values}:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		}()
	}
	first := so
	first.Progress = o.Progress
	err := dataset.Stream(ctx, models[0], o.Data, tensors[0], first, func(_, n int, values map[string]*engine.Value) error {
		all := []map[string]*engine.Value{values}
		for i := range others {
			b, ok := <-others[i]
			if !ok {
				if err := <-failed[i]; err != nil {
					return err
				}
				return fmt.Errorf("the models take batches of different sizes")
			}
			if b.n != n {
				return fmt.Errorf("the models take batches of %d and %d samples", n, b.n)
			}
			all = append(all, b.values)
		}
		return f(n, all)
	})
	cancel()
	for i := range others { // let the other sides end
		for range others[i] {
		}
	}
	return err
}
