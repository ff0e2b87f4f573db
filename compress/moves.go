package compress

import (
	"context"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/internal/refit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Move is a way to make a model smaller.
type Move string

const (
	// Width makes spaces narrower.
	Width Move = "width"
	// Depth drops residual blocks.
	Depth Move = "depth"
	// Rank makes two operators of a linear one, with few channels between them.
	Rank Move = "rank"
)

// may reports whether a move is wanted.
func (c *compression) may(m Move) bool { return c.o.Moves == nil || slices.Contains(c.o.Moves, m) }

// moving reports whether other moves than narrower spaces are wanted and can be judged.
func (c *compression) moving(b budget) bool {
	counted := b.unit != inChannels && !c.o.Uniform
	return (c.may(Depth) || c.may(Rank)) && counted && c.form == nil && c.Fits() && c.Report.Split.Fit.Len() >= pipeline.FewSamples
}

// checkMoves refuses moves that are asked for and cannot be judged.
func (c *compression) checkMoves(b budget) error {
	for _, m := range c.o.Moves {
		switch {
		case m == Width || c.moving(b):
		case c.form != nil:
			return pipeline.Mistakef("moves: a quantised model is narrowed only")
		default:
			return pipeline.Mistakef("moves: %s needs a refit on %d samples or more", m, pipeline.FewSamples)
		}
	}
	return nil
}

// excludes reports whether a node is to stay as it is.
func (c *compression) excludes(n *onnxpb.NodeProto) bool {
	return slices.ContainsFunc(c.exclude, func(g glob) bool {
		return g.MatchString(n.GetName()) || slices.ContainsFunc(n.GetInput(), g.MatchString)
	})
}

// moves are what is done to a model beside narrowing its spaces.
type moves struct {
	blocks []*coupling.Block
	ranks  map[string]factors // by the operators' weights
}

// none reports whether there are no moves.
func (m *moves) none() bool { return len(m.blocks) == 0 && len(m.ranks) == 0 }

// shape is that of a model with widths after the moves.
func (m *moves) shape(a *coupling.Analysis, widths coupling.Widths) shape {
	return shape{widths: widths, gone: without(a, m.blocks), blocks: m.blocks, ranks: m.ranks}
}

// carryOut makes the moves, on a model that has been narrowed. What makes or reads the stream of a block
// that is gone is fitted at once, and so is what reads the columns of a kernel, as the readers of a
// narrower space are by its map: how far predictions move says little before.
func (c *compression) carryOut(ctx context.Context, made pipeline.Made, m *moves, fit *dataset.Data) (pipeline.Made, error) {
	if len(m.blocks) > 0 {
		dropped, err := edit.Drop(made.Child, m.blocks)
		if err != nil {
			return made, err
		}
		made.Parents[0].Beneath = dropped.Beneath
		if made, err = c.FittedNear(ctx, made, dropped.Changed, fit); err != nil {
			return made, err
		}
	}
	two := map[string]refit.Factoring{}
	for _, f := range m.ranks {
		two[f.op.Node.GetOutput()[0]] = refit.Factoring{Rank: f.rank, Spread: f.spread}
	}
	kernels, err := refit.Factor(made.Child, made.Parents[0], two)
	if err != nil || len(kernels) == 0 {
		return made, err
	}
	return c.FittedNear(ctx, made, kernels, fit)
}

// unfitted makes the model of an allocation without regard to what it computes: of every space the first
// channels stay, and of an operator that becomes two the first rows or numbers.
func (a *allocation) unfitted(s *edit.Subject) (*onnxio.Model, error) {
	w, narrow, ranks := coupling.WidthsOf(a.widths), edit.Maps{}, map[string]int{}
	for sp, k := range a.widths {
		if k < sp.Width {
			narrow[sp] = edit.First(sp, w)
		}
	}
	child, err := edit.Edit(s, narrow)
	if err == nil && len(a.blocks) > 0 {
		_, err = edit.Drop(child, a.blocks)
	}
	if err != nil {
		return nil, err
	}
	for _, f := range a.ranks {
		ranks[f.op.Node.GetOutput()[0]] = f.rank
	}
	_, err = edit.FirstFactors(child, ranks)
	return child, err
}
