package choose

import (
	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/internal/edit"
)

// lost adds to what every activation loses in the mean, by its name and along the axis of the
// channels, when consumers read the channels of a space through a map: maps are fitted about the
// means where a consumer can take a bias, which has to make up for them.
func (e *Evidence) lost(s *edit.Subject, m *edit.Map, into map[string][]float64) {
	for i, tap := range e.taps {
		n := tap.Size(s)
		if !e.seen[0][i].affine || n < 0 {
			continue
		}
		if into[tap.Tensor] == nil {
			into[tap.Tensor] = make([]float64, n)
		}
		for g := range e.seen {
			tap.Put(g, e.seen[g][i].unread(&m.Groups[g]), into[tap.Tensor])
		}
	}
}

// unread is the mean of every channel less what is read of it through a transfer.
func (c *sight) unread(t *edit.Transfer) []float64 {
	out := c.sums().means(true)
	kept := make([]float64, len(t.In))
	for j, row := range t.In {
		for _, e := range row {
			kept[j] += e.Val * out[e.Col]
		}
	}
	for j, row := range t.OutT {
		for _, e := range row {
			out[e.Col] -= e.Val * kept[j]
		}
	}
	if r := t.Rest; r != nil {
		for i := range r.Right.Rows {
			part := 0.0
			for j, v := range kept {
				part += r.Left.Data[j*r.Left.Row+i*max(r.Left.Col, 1)] * v
			}
			floats.AddScaled(out, -part, r.Right.Data[i*r.Right.Row:][:r.Right.Cols])
		}
	}
	return out
}
