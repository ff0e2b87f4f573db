package match

import (
	"context"
	"fmt"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/ot"
)

// tap is an activation of a space, and that of its counterpart in another model.
type tap struct {
	x, y    channels.View
	moments [][]*moments // by groups of x and y; nil where they cannot be matched
}

// add accumulates the values of both activations for the same samples.
func (t *tap) add(a, b *engine.Value) error {
	if t.x.Space.Groups == 1 && t.y.Space.Groups == 1 {
		x, y := t.x.Matrices(a, 0), t.y.Matrices(b, 0)
		if len(x) > 0 && len(x) == len(y) && x[0].Cols == y[0].Cols {
			for i := range x {
				addMoments(t.moments[0][0], x[i], y[i])
			}
			return nil
		}
	}
	ys, dy := make([][]float64, t.y.Space.Groups), 0
	for h := range ys {
		var err error
		if ys[h], dy, err = t.y.Vectors(b, h); err != nil {
			return err
		}
	}
	for g, row := range t.moments {
		x, dx, err := t.x.Vectors(a, g)
		if err != nil {
			return err
		}
		if dx != dy {
			return fmt.Errorf("activations %q and %q have %d and %d values a channel", t.x.Tensor, t.y.Tensor, dx, dy)
		}
		for h, m := range row {
			if m != nil {
				addMoments(m, dense.New(m.n, dx, x), dense.New(m.k, dx, ys[h]))
			}
		}
	}
	return nil
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
	out := newCosts(s, m.taps[s][0].y.Space, m.pair.pairedGroups(s))
	for _, t := range m.taps[s] {
		out.each(func(g, h int, c *ot.Cost) {
			t.moments[g][h].blocks(func(from int, part *moments) { addCost(part, c.Data[from*part.k:], m.metric, nil) })
		})
	}
	return out, nil
}

func (m *measured) narrow(s *coupling.Space) (*ot.Cost32, error) {
	n, k := s.Width, m.taps[s][0].y.Space.Width
	c := &ot.Cost32{N: n, K: k, Data: make([]float32, n*k)}
	for _, t := range m.taps[s] {
		t.moments[0][0].blocks(func(from int, part *moments) { addCost(part, c.Data[from*k:], m.metric, nil) })
	}
	return c, nil
}

// observePairs runs both models over the data side by side and collects what the
// costs of spaces are made of. Memory does not grow with the number of samples
// beyond that of channels.
func observePairs(ctx context.Context, src, dst *edit.Subject, pair *Pairing, spaces []*coupling.Space, o Options) (*measured, error) {
	var taps []*tap
	for _, s := range spaces {
		d := pair.Spaces[s]
		found := false
		for _, t := range channels.Taps(src, s) {
			u := pair.Tensors[through(src, t)]
			x, okx := channels.ViewIn(src, t, s)
			y, oky := channels.ViewIn(dst, u, d)
			if u == "" || !okx || !oky {
				continue
			}
			found = true
			x.Tensor = through(src, t)
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
		tx, ty = append(tx, t.x.Tensor), append(ty, t.y.Tensor)
	}
	err := lockstep(ctx, src, dst, tx, ty, o, func(a, b map[string]*engine.Value) error {
		for _, t := range taps {
			if err := t.add(a[t.x.Tensor], b[t.y.Tensor]); err != nil {
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
		out.taps[t.x.Space] = append(out.taps[t.x.Space], t)
	}
	return out, nil
}

// lockstep streams the same samples through two models and hands f the tapped
// tensors of both, batch by batch.
func lockstep(ctx context.Context, src, dst *edit.Subject, tx, ty []string, o Options, f func(a, b map[string]*engine.Value) error) error {
	if src == dst {
		return dataset.StreamTogether(ctx, []*onnxio.Model{src.Model}, o.Data, [][]string{tx}, o.Stream(), func(_ int, v []map[string]*engine.Value) error { return f(v[0], v[0]) })
	}
	return dataset.StreamTogether(ctx, []*onnxio.Model{src.Model, dst.Model}, o.Data, [][]string{tx, ty}, o.Stream(), func(_ int, v []map[string]*engine.Value) error { return f(v[0], v[1]) })
}
