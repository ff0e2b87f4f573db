package choose

import (
	"context"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/onnxio"
)

// maxExact is the largest number of inputs (channels × kernel positions) of a
// consumer whose Gram matrix is inverted to choose channels; wider consumers
// are observed channel by channel.
const maxExact = 2400

// An observation is a consumer and the readers, by group, to be filled.
type observation struct {
	consumer *consumer
	into     []*reader
}

// observeExactly collects, for every consumer that allows it, the second
// moments of all its inputs, kernel positions told apart, with onnxruntime
// doing the sums. It reports which observations are done.
func observeExactly(ctx context.Context, s *edit.Subject, all []observation, o match.Options) (map[int]bool, error) {
	done := map[int]bool{}
	var todo []int
	for i, ob := range all {
		if _, _, ok := plainOf(s, ob.consumer); ok && len(ob.into) == 1 {
			todo = append(todo, i)
		}
	}
	if len(todo) == 0 {
		return done, nil
	}
	// The walk goes with the graph, so that no node runs twice.
	place := map[string]int{}
	for i, n := range s.Graph.Nodes {
		for _, t := range n.GetOutput() {
			place[t] = i
		}
	}
	slices.SortStableFunc(todo, func(a, b int) int {
		return place[all[a].consumer.seen.Tensor] - place[all[b].consumer.seen.Tensor]
	})
	flow, err := stats.NewFlow(s.Model, o.Data, stats.FlowOptions{Batch: batchOf(o), Threads: o.Threads})
	if err != nil {
		return nil, err
	}
	defer flow.Close()
	sums := map[string][2]*stats.Moments{} // by node: a node that reads several spaces is summed once
	for step, i := range todo {
		ob := all[i]
		node := ob.consumer.use.Node.GetOutput()[0]
		if sums[node][0] == nil {
			var rest []string
			for _, j := range todo[step:] {
				rest = append(rest, all[j].consumer.seen.Tensor)
			}
			if err := flow.Prune(rest...); err != nil {
				return nil, err
			}
			if err := flow.Compute(ctx, ob.consumer.seen.Tensor); err != nil {
				return nil, err
			}
			clear(sums)
			m, err := momentsOf(ctx, s, flow, ob.consumer, o)
			if err != nil {
				return nil, err
			}
			sums[node] = m
		}
		if err := look(s, ob, sums[node]); err != nil {
			return nil, err
		}
		done[i] = true
		if o.Progress != nil {
			o.Progress(step+1, len(todo))
		}
	}
	return done, nil
}

// plainOf describes a consumer whose problem is a plain one of bearable size: a
// Conv without groups, a Gemm or a MatMul by a constant. taps is the number of
// kernel positions of each channel.
func plainOf(s *edit.Subject, c *consumer) (l *onnxio.Linear, taps int, ok bool) {
	w := s.Analysis.Weights[c.use.Tensor]
	l, ok = s.Graph.Linear(c.use.Node)
	if !ok || w == nil || l.Weight.Tensor() != w.Name || l.In.Tensor != c.seen.Tensor || l.In.Weight != c.use.Axis {
		return nil, 0, false
	}
	taps = 1
	switch l.Kind {
	case onnxio.Convolution:
		taps = engine.Count(l.Window.Kernel)
		ok = l.Groups == 1
	case onnxio.Product:
		ok = l.In.Axis == -1 && len(w.Axes) == 2
	default:
		ok = false
	}
	return l, taps, ok && w.Axes[c.use.Axis].Size()*taps <= maxExact
}

// momentsOf sums what a consumer reads, over the batches that count and over those
// held out, nil if there are none.
func momentsOf(ctx context.Context, s *edit.Subject, flow *stats.Flow, c *consumer, o match.Options) (out [2]*stats.Moments, err error) {
	l, _, _ := plainOf(s, c)
	r := stats.ReadingOf(l)
	for i, most := range []float64{60e9, 15e9} {
		if i > 0 && flow.Batches() < 2 {
			break
		}
		ms, err := stats.CollectMoments(ctx, flow, r, nil, stats.MomentOptions{
			Threads: o.Threads, MaxMACs: most, Seed: 1,
			Batches: func(b int) bool { return heldOut(b, flow.Batches()) == (i > 0) },
		})
		if err != nil {
			return out, err
		}
		out[i] = ms[0]
	}
	return out, nil
}

// look turns a consumer's moments into its lens on the space, and into the
// channels' own moments, positions summed.
func look(s *edit.Subject, ob observation, moments [2]*stats.Moments) (err error) {
	defer guard.At(&err, func() string { return fmt.Sprintf("space %q", ob.consumer.seen.Space.Name) })
	c := ob.consumer
	_, taps, _ := plainOf(s, c)
	r := ob.into[0]
	m := moments[0]
	places := edit.GroupsOf(c.seen.Space).In(s.Analysis.Weights[c.use.Tensor].Axes, c.use.Axis).Channels[0]
	n := float64(m.Rows)
	l := &lens{gram: secondMoments(m.D, n, func(i, j int) float64 { return m.XX[i*m.D+j] }, m.SumX, r.affine)}
	for _, p := range places {
		var block []int
		for _, at := range p {
			for t := range taps {
				block = append(block, at*taps+t)
			}
		}
		l.blocks = append(l.blocks, block)
	}
	r.takePlaces(l.blocks, m)
	if held := moments[1]; held != nil {
		var means []float64
		if r.affine {
			means = make([]float64, m.D)
			floats.AddScaled(means, 1/n, m.SumX)
		}
		l.held = aboutMeans(m.D, float64(held.Rows), func(i, j int) float64 { return held.XX[i*m.D+j] }, held.SumX, means)
		r.held = &reader{n: r.n, sum: make([]float64, r.n), affine: r.affine}
		r.held.takePlaces(l.blocks, held)
	}
	data, err := s.Floats(c.use.Tensor)
	if err != nil {
		return err
	}
	l.w = asMatrix(s.Analysis.Weights[c.use.Tensor], c.use.Axis, data)
	r.exact = l
	return nil
}

// takePlaces sums the moments of channels over their places.
func (c *reader) takePlaces(blocks [][]int, m *stats.Moments) {
	each := len(blocks[0])
	c.gram = make([]float64, c.n*c.n)
	for p, bp := range blocks {
		for q, bq := range blocks {
			if q < p || len(bq) != each || len(bp) != each {
				continue
			}
			for t := range each {
				c.gram[q*c.n+p] += m.XX[bp[t]*m.D+bq[t]]
			}
		}
		for _, i := range bp {
			c.sum[p] += m.SumX[i]
		}
	}
	c.rows = float64(m.Rows) * float64(each)
}

// asMatrix lays a weight out as outputs × (channels × taps), where axis holds
// the channels that are contracted and, of the others, the first the outputs.
func asMatrix(w *coupling.Weight, axis int, data []float64) *mat.Dense {
	if axis == 0 { // [in, out]
		in, out := w.Axes[0].Size(), w.Axes[1].Size()
		return mat.DenseCopyOf(mat.NewDense(in, out, data).T())
	}
	out := w.Axes[0].Size()
	return mat.NewDense(out, len(data)/out, data)
}
