package choose

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/onnxio"
)

// Options say what channels are chosen by.
type Options struct {
	// Data is what the models are run on, as StreamOptions say.
	Data *dataset.Data
	dataset.StreamOptions
	// Memory is the number of bytes to get by with, as far as it goes; zero means 4 GB.
	Memory int64
	// Selects holds streams of which Select keeps some channels as they are, though they could be
	// rotated.
	Selects map[*coupling.Space]bool
	// Keep holds the channels that stay, by group, of spaces of which Select has not to choose.
	Keep map[*coupling.Space][][]int
	// Merge says how Select merges the spaces that no consumer shows, by weights.
	Merge match.Options
}

// batch is a batch size with which there are enough batches to hold some out.
func (o Options) batch() int {
	if o.Batch > 0 {
		return o.Batch
	}
	return min(32, max(1, o.Data.Len()/(2*heldEvery)))
}

// Evidence is what calibration data say about the channels of a space.
type Evidence struct {
	seen  [][]*sight     // by group and consumer
	taps  []channels.Tap // of the first parent, by consumer
	uses  []coupling.Use // of the first parent, by consumer
	order []*elimination // by group, once it has been made
}

// maxRows bounds the positions that one second-moment matrix is made from.
const maxRows = 20000

// A Parent is one of the models whose channels compete for places: alone in compression, side by
// side in union fusion.
type Parent struct {
	Subject *edit.Subject
	// Spaces names the parent's counterpart of a space of the first parent; nil for the first
	// parent itself.
	Spaces map[*coupling.Space]*coupling.Space
	// Energy is the parent's share of what is to be explained; zero means one.
	Energy float64
	// Fixed are maps of spaces that a union does not choose the channels of: those that may only be
	// permuted (Space.Paired) are moved onto those of the first parent, and averaged.
	Fixed edit.Maps
	// Whole says that a union keeps all the parent's channels, wherever there are places for them.
	Whole bool
}

func (p *Parent) space(s *coupling.Space) *coupling.Space {
	if p.Spaces == nil {
		return s
	}
	return p.Spaces[s]
}

// Observe runs the data through one or several models side by side and collects, for every given
// space of the first, the second moments of all parents' channels at the inputs of its consumers.
func Observe(ctx context.Context, parents []Parent, spaces []*coupling.Space, o Options) (_ map[*coupling.Space]*Evidence, err error) {
	defer guard.Recover(&err)
	out := map[*coupling.Space]*Evidence{}
	var all []*observation
	for _, sp := range spaces {
		own, err := observations(parents, sp)
		if err != nil {
			return nil, err
		}
		ev := &Evidence{seen: make([][]*sight, sp.Groups)}
		for _, ob := range own {
			ev.taps = append(ev.taps, ob.consumers[0].tap)
			ev.uses = append(ev.uses, ob.consumers[0].use)
			for g, s := range ob.into {
				ev.seen[g] = append(ev.seen[g], s)
			}
		}
		out[sp] = ev
		all = append(all, own...)
	}
	if len(parents) == 1 {
		if all, err = observeExactly(ctx, parents[0].Subject, all, o); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return out, nil
	}
	return out, observeTogether(ctx, parents, all, o)
}

// An observation is one consumer of a space, in every parent, and what is seen through it of each
// group.
type observation struct {
	consumers []*consumer // by parent
	into      []*sight    // by group
}

// observations lists what there is to be observed of a space.
func observations(parents []Parent, sp *coupling.Space) ([]*observation, error) {
	know := needed(parents, sp)
	sides := make([][]*consumer, len(parents))
	for i := range parents {
		p, own := &parents[i], parents[i].space(sp)
		if sides[i] = consumersOf(p.Subject, own); len(parents) == 1 {
			sides[i] = append(sides[i], contractedOf(p.Subject, own)...)
		}
		for _, c := range sides[i] {
			if c.sens != nil {
				continue
			}
			if err := c.weigh(p.Subject, know); err != nil {
				return nil, err
			}
		}
		if len(sides[i]) == 0 && len(parents) > 1 { // somebody has to give the channels
			sides[i] = producersOf(p.Subject, own, know)
		}
		if n, first := len(sides[i]), len(sides[0]); n != first {
			return nil, fmt.Errorf("space %q is read %d times in one model and %d times in another", sp.Name, first, n)
		}
	}
	out := make([]*observation, len(sides[0]))
	for k := range out {
		out[k] = &observation{}
		for _, side := range sides {
			out[k].consumers = append(out[k].consumers, side[k])
		}
		for g := range sp.Groups {
			out[k].into = append(out[k].into, newSight(parents, out[k].consumers, g))
		}
	}
	return out, nil
}

// needed says how much the choice of a space's channels takes of sensitivities.
func needed(parents []Parent, sp *coupling.Space) detail {
	total := 0
	for i := range parents {
		total += parents[i].space(sp).Width
	}
	switch {
	case total > maxEliminate:
		return diagonal
	case len(parents) > 1:
		return whole
	}
	return anyForm
}

// newSight is what is to be seen of a group through a consumer, of all parents' channels side by
// side.
func newSight(parents []Parent, consumers []*consumer, group int) *sight {
	s := &sight{affine: consumers[0].affine}
	var blocks []sensitivity
	for i, c := range consumers {
		n := c.tap.Space.Width
		s.n += n
		s.widths, s.energy = append(s.widths, n), append(s.energy, parents[i].Energy)
		blocks = append(blocks, c.sens[group])
	}
	s.sens = blockDiagonal(blocks)
	s.sum = make([]float64, s.n)
	s.held = &moments{n: s.n, sum: make([]float64, s.n)}
	return s
}

// observeTogether runs all parents over the same samples and sums up moments.
func observeTogether(ctx context.Context, parents []Parent, all []*observation, o Options) error {
	models, tensors := make([]*onnxio.Model, len(parents)), make([][]string, len(parents))
	bytes := int64(1) // of what is looked at of one sample
	for i := range parents {
		models[i] = parents[i].Subject.Model
		for _, ob := range all {
			tensors[i] = append(tensors[i], ob.consumers[i].tap.Tensor)
		}
		for _, tensor := range slices.Compact(slices.Sorted(slices.Values(tensors[i]))) {
			bytes += stats.SizeOf(parents[i].Subject.Analysis, tensor)
		}
	}
	samples := max(o.Data.Len(), 1)
	// Several batches are under way at a time, and numbers are widened.
	o.Batch = max(1, min(o.batch(), int(stats.RoomIn(o.Memory).Bytes/4/bytes)))
	batch, batches := 0, (samples+o.Batch-1)/o.Batch
	rng := rand.New(rand.NewPCG(1, 2))
	return dataset.StreamTogether(ctx, models, o.Data.Ragged(o.Batch), tensors, o.StreamOptions, func(n int, values []map[string]*engine.Value) error {
		held := heldOut(batch, batches)
		batch++
		most := int(math.Ceil(float64(maxRows) * float64(n) / float64(samples)))
		for _, ob := range all {
			for g, s := range ob.into {
				x, err := ob.vectors(values, g)
				if err != nil {
					return err
				}
				into := &s.moments
				if held {
					into = s.held
				}
				into.add(thin(x, most, rng))
			}
		}
		return nil
	})
}

// vectors are the values of all parents' channels of a group, as rows.
func (ob *observation) vectors(values []map[string]*engine.Value, group int) (x dense.Matrix[float64], err error) {
	for i, c := range ob.consumers {
		own, err := c.tap.Vectors(values[i][c.tap.Tensor], group)
		if err != nil {
			return x, err
		}
		if i > 0 && own.Cols != x.Cols {
			return x, fmt.Errorf("activation %q has %d values a channel, its counterpart %d", c.tap.Tensor, own.Cols, x.Cols)
		}
		x = dense.New(x.Rows+own.Rows, own.Cols, append(x.Data, own.Data...))
	}
	return x, nil
}

// thin keeps a random choice of most columns.
func thin(x dense.Matrix[float64], most int, rng *rand.Rand) dense.Matrix[float64] {
	if x.Cols <= most {
		return x
	}
	cols := rng.Perm(x.Cols)[:most]
	slices.Sort(cols)
	out := dense.New[float64](x.Rows, most, nil)
	for c := range x.Rows {
		for j, p := range cols {
			out.Data[c*most+j] = x.Data[c*x.Row+p]
		}
	}
	return out
}

// choose keeps k of the n channels of a group: the others are removed one by one, each time the one
// that the consumers, refitted, miss least. pieces are ranges of which each keeps one where k
// allows. The result is sorted.
func (e *Evidence) choose(group, k int, pieces []int) []int {
	return e.eliminate(group, pieces).kept(e.seen[group][0].n, k)
}

// chooseBeside is choose where some of the channels, no more than k, stay whatever the others are
// worth.
func (e *Evidence) chooseBeside(group, k int, stay []bool) []int {
	return ordered(e.seen[group], nil, stay).kept(len(stay), k)
}

// eliminate orders the channels of a group; the order does not depend on how many are to stay, so
// it is made once.
func (e *Evidence) eliminate(group int, pieces []int) *elimination {
	if e.order == nil {
		e.order = make([]*elimination, len(e.seen))
	}
	if e.order[group] == nil {
		e.order[group] = ordered(e.seen[group], pieces, nil)
	}
	return e.order[group]
}

func ordered(seen []*sight, pieces []int, stay []bool) *elimination {
	left := newRanges(seen[0].n, max(len(pieces)-1, 1), pieces, stay)
	if left.n > maxEliminate {
		return rank(seen, left)
	}
	var lenses []*lens
	for _, s := range seen {
		lenses = append(lenses, s.lens())
	}
	return eliminate(lenses, left, len(seen[0].widths) == 1)
}

// Unexplained returns, for every number k = 0…n of channels kept, the share of what the consumers
// compute that is lost, averaged over consumers and groups.
func (e *Evidence) Unexplained(pieces []int) []float64 {
	n := e.seen[0][0].n
	out := make([]float64, n+1)
	for g := range e.seen {
		lost := e.eliminate(g, pieces).error
		for k := range out {
			v := 1.0
			switch {
			case k == n:
				v = 0
			case n-k <= len(lost):
				v = min(lost[n-k-1], 1)
			}
			out[k] += v / float64(len(e.seen))
		}
	}
	return out
}

// Observed reports whether consumers show the channels of every group.
func (e *Evidence) Observed() bool {
	for _, r := range e.seen {
		if len(r) == 0 {
			return false
		}
	}
	return len(e.seen) > 0
}
