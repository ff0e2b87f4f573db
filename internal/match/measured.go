package match

import (
	"context"
	"fmt"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/ot"
)

// tapPair is an activation of a space and its counterpart in another model.
type tapPair struct {
	x, y    channels.Tap
	moments [][]*moments // by groups of x and y; nil where they cannot be matched
}

// taps lists the activations of a space that both models show.
func (p *Pairing) taps(s *coupling.Space) []*tapPair {
	var out []*tapPair
	d := p.Spaces[s]
	for _, x := range channels.Taps(p.a, s) {
		x.Tensor = through(p.a, x.Tensor)
		y, ok := channels.TapOf(p.b, p.Tensors[x.Tensor], d)
		if !ok {
			continue
		}
		t := &tapPair{x: x, y: y, moments: make([][]*moments, s.Groups)}
		for g := range t.moments {
			t.moments[g] = make([]*moments, d.Groups)
			for h := range t.moments[g] {
				if g == h || p.pairedGroups(s) {
					t.moments[g][h] = newMoments(s.Width, d.Width)
				}
			}
		}
		out = append(out, t)
	}
	return out
}

// addInPlace is add where values need not be laid out, else nothing.
func (t *tapPair) addInPlace(a, b *engine.Value) (done bool) {
	if t.x.Space.Groups > 1 || t.y.Space.Groups > 1 {
		return false
	}
	x, y := t.x.Matrices(a, 0), t.y.Matrices(b, 0)
	if len(x) == 0 || len(x) != len(y) || x[0].Cols != y[0].Cols {
		return false
	}
	for i := range x {
		addMoments(t.moments[0][0], x[i], y[i])
	}
	return true
}

// add accumulates the values of both activations for the same samples.
func (t *tapPair) add(a, b *engine.Value) error {
	if t.addInPlace(a, b) {
		return nil
	}
	ys := make([]dense.Matrix[float64], t.y.Space.Groups)
	for h := range ys {
		var err error
		if ys[h], err = t.y.Vectors(b, h); err != nil {
			return err
		}
	}
	for g, row := range t.moments {
		x, err := t.x.Vectors(a, g)
		if err != nil {
			return err
		}
		for h, m := range row {
			if x.Cols != ys[h].Cols {
				return fmt.Errorf("activations %q and %q have %d and %d values a channel", t.x.Tensor, t.y.Tensor, x.Cols, ys[h].Cols)
			}
			if m != nil {
				addMoments(m, x, ys[h])
			}
		}
	}
	return nil
}

// measured are the taps of spaces, with what was seen there.
type measured struct {
	pair   *Pairing
	metric Metric
	taps   map[*coupling.Space][]*tapPair
}

// has reports whether a space was observed.
func (m *measured) has(s *coupling.Space) bool { return m != nil && m.taps[s] != nil }

// own says nothing: activations inside a space show it as well.
func (m *measured) own(*coupling.Space, []*coupling.Space, *ot.Cost) (told bool, err error) {
	return false, nil
}

// costs returns, for every group of a space, the summed costs over its taps. They are made anew at
// every call: together they would be large.
func (m *measured) costs(s *coupling.Space) (costs, error) {
	out := newCosts(s, m.taps[s][0].y.Space, m.pair.pairedGroups(s))
	for _, t := range m.taps[s] {
		for at, c := range out.all() {
			t.moments[at.g][at.h].blocks(func(from int, part *moments) { addCost(part, c.Data[from*part.k:], m.metric, nil) })
		}
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

// observePairs runs both models over the data side by side and collects what the costs of spaces
// are made of. Memory does not grow with the number of samples beyond that of channels.
func observePairs(ctx context.Context, pair *Pairing, spaces []*coupling.Space, o Options) (*measured, error) {
	m := &measured{pair: pair, metric: o.Cost, taps: map[*coupling.Space][]*tapPair{}}
	var taps []*tapPair
	var tensors [2][]string
	for _, s := range spaces {
		m.taps[s] = pair.taps(s)
		if len(m.taps[s]) == 0 {
			return nil, fmt.Errorf("space %q: no activation shows its channels", s.Name)
		}
		for _, t := range m.taps[s] {
			taps = append(taps, t)
			tensors[0], tensors[1] = append(tensors[0], t.x.Tensor), append(tensors[1], t.y.Tensor)
		}
	}
	models := []*onnxio.Model{pair.a.Model, pair.b.Model}
	if pair.a == pair.b {
		models = models[:1]
	}
	return m, dataset.StreamTogether(ctx, models, o.Data, tensors[:len(models)], o.stream(), func(_ int, v []map[string]*engine.Value) error {
		for _, t := range taps {
			if err := t.add(v[0][t.x.Tensor], v[len(v)-1][t.y.Tensor]); err != nil {
				return err
			}
		}
		return nil
	})
}
