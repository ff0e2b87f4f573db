package choose

import (
	"context"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// maxExact is the largest number of inputs (channels × kernel positions) of a consumer whose Gram
// matrix is inverted to choose channels; wider consumers are observed channel by channel.
const maxExact = 2400

// observeExactly collects, for every consumer that allows it, the second moments of all its inputs,
// kernel positions told apart, with onnxruntime doing the sums. It returns the observations that
// are left.
func observeExactly(ctx context.Context, s *edit.Subject, all []*observation, o Options) (rest []*observation, err error) {
	var todo []*observation
	for _, ob := range all {
		if _, _, ok := plainOf(s, ob.consumers[0]); ok && len(ob.into) == 1 {
			todo = append(todo, ob)
		} else {
			rest = append(rest, ob)
		}
	}
	if len(todo) == 0 {
		return rest, nil
	}
	flow, err := stats.NewFlow(s.Model, o.Data, dataset.StreamOptions{Batch: o.batch(), Threads: o.Threads})
	if err != nil {
		return nil, err
	}
	defer flow.Close()
	return rest, visit(ctx, s, flow, todo, o)
}

// visit looks at the consumers in the order of the graph: no node runs twice.
func visit(ctx context.Context, s *edit.Subject, flow *stats.Flow, todo []*observation, o Options) error {
	made := map[string]int{}
	for i, n := range s.Graph.Nodes {
		for _, t := range n.GetOutput() {
			made[t] = i
		}
	}
	slices.SortStableFunc(todo, func(a, b *observation) int { return made[a.tensor()] - made[b.tensor()] })
	steps := make([]stats.Step, len(todo))
	for i, ob := range todo {
		l, _, _ := plainOf(s, ob.consumers[0])
		steps[i] = stats.Step{Tensors: [][]string{{ob.tensor()}}, Least: stats.Enough(s.Analysis, stats.ReadingOf(l))}
	}
	walk, err := stats.NewWalk([]*stats.Flow{flow}, steps, stats.RoomIn(o.Memory), func(_ int, tensor string) int64 {
		return stats.SizeOf(s.Analysis, tensor)
	})
	if err != nil {
		return err
	}
	var sums [2]*stats.Moments
	var last *onnxpb.NodeProto // whose they are: a node that reads several spaces is summed once
	for i, ob := range todo {
		c := ob.consumers[0]
		if last != c.use.Node {
			last = c.use.Node
			if err := walk.To(ctx, i); err != nil {
				return err
			}
			if sums, err = momentsOf(ctx, s, flow, c, o.Threads); err != nil {
				return err
			}
		}
		if err := look(s, c, ob.into[0], sums); err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(i+1, len(todo))
		}
	}
	return nil
}

// tensor is the activation that the consumer reads in the first parent.
func (ob *observation) tensor() string { return ob.consumers[0].tap.Tensor }

// plainOf describes a consumer whose problem is a plain one of bearable size: a Conv without
// groups, a Gemm or a MatMul by a constant. each is the number of inputs (kernel positions) of a
// channel.
func plainOf(s *edit.Subject, c *consumer) (l *onnxio.Linear, each int, ok bool) {
	w := s.Analysis.Weights[c.use.Tensor]
	l, ok = s.Graph.Linear(c.use.Node)
	if !ok || w == nil || l.Weight.Tensor() != w.Name || l.In.Tensor != c.tap.Tensor || l.In.Weight != c.use.Axis {
		return nil, 0, false
	}
	each = 1
	switch l.Kind {
	case onnxio.Convolution:
		each = engine.Count(l.Window.Kernel)
		ok = l.Groups == 1
	case onnxio.Product:
		ok = l.In.Axis == -1 && len(w.Axes) == 2
	default:
		ok = false
	}
	return l, each, ok && w.Axes[c.use.Axis].Size()*each <= maxExact
}

// momentsOf sums what a consumer reads, over the batches that count and over those held out, nil if
// there are none.
func momentsOf(ctx context.Context, s *edit.Subject, flow *stats.Flow, c *consumer, threads int) (out [2]*stats.Moments, err error) {
	l, each, _ := plainOf(s, c)
	r := stats.ReadingOf(l)
	inputs := s.Analysis.Weights[c.use.Tensor].Axes[c.use.Axis].Size() * each
	for i, most := range []float64{60e9, 15e9} {
		if i > 0 && flow.Batches() < 2 {
			break
		}
		ms, err := stats.CollectMoments(ctx, flow, r, nil, stats.MomentOptions{
			Threads: threads, MaxMACs: most, EnoughRows: stats.EnoughRows(inputs), Seed: 1,
			Batches: func(b int) bool { return heldOut(b, flow.Batches()) == (i > 0) },
		})
		if err != nil {
			return out, err
		}
		out[i] = ms[0]
	}
	return out, nil
}

// look turns a consumer's moments into its lens on the space, and into the channels' own moments,
// positions summed.
func look(s *edit.Subject, c *consumer, into *sight, sums [2]*stats.Moments) (err error) {
	defer guard.At(&err, func() string { return fmt.Sprintf("space %q", c.tap.Space.Name) })
	_, each, _ := plainOf(s, c)
	m := sums[0]
	w := s.Analysis.Weights[c.use.Tensor]
	l := &lens{gram: sumsOf(m).covariance(into.affine)}
	for _, positions := range edit.GroupsOf(c.tap.Space).In(w.Axes, c.use.Axis).Channels[0] {
		var block []int
		for _, at := range positions {
			for t := range each {
				block = append(block, at*each+t)
			}
		}
		l.blocks = append(l.blocks, block)
	}
	into.moments = *channelMoments(l.blocks, m)
	into.held = nil
	if held := sums[1]; held != nil {
		l.held = sumsOf(held).about(sumsOf(m).means(into.affine))
		into.held = channelMoments(l.blocks, held)
	}
	data, err := s.Floats(c.use.Tensor)
	if err != nil {
		return err
	}
	l.w = asMatrix(w, c.use.Axis, data)
	into.exact = l
	return nil
}

func sumsOf(m *stats.Moments) sums {
	return sums{float64(m.Rows), m.SumX, func(p, q int) float64 { return m.XX[p*m.D+q] }}
}

// channelMoments are those of channels, summed over the inputs of each.
func channelMoments(blocks [][]int, m *stats.Moments) *moments {
	n, each := len(blocks), len(blocks[0])
	out := &moments{n: n, rows: float64(m.Rows) * float64(each), sum: make([]float64, n), gram: make([]float64, n*n)}
	for p, bp := range blocks {
		for q := p; q < n; q++ {
			bq := blocks[q]
			if len(bq) != each || len(bp) != each {
				continue
			}
			for t := range each {
				out.gram[q*n+p] += m.XX[bp[t]*m.D+bq[t]]
			}
		}
		for _, i := range bp {
			out.sum[p] += m.SumX[i]
		}
	}
	return out
}

// asMatrix lays a weight out as outputs × inputs, where axis holds the channels that are contracted
// and, of the others, the first the outputs.
func asMatrix(w *coupling.Weight, axis int, data []float64) *mat.Dense {
	if axis == 0 { // [in, out]
		in, out := w.Axes[0].Size(), w.Axes[1].Size()
		return mat.DenseCopyOf(mat.NewDense(in, out, data).T())
	}
	out := w.Axes[0].Size()
	return mat.NewDense(out, len(data)/out, data)
}
