package tune

import (
	"context"

	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
)

// calibrate scales the logits of a classifier by what brings their probabilities nearest to the
// parents' mean on judged inputs, and returns the factor, that of the last classifier where there are
// several, or 0. Targets that are Decided settle ties, but leave the child surer than the parents
// are together; a child that could learn but a part of what its parent says is less sure than that.
// A factor puts that right and changes no decision (Guo et al., On calibration of modern neural
// networks, ICML 2017). It goes into the trained parameters that the logits are made with; where
// others make them too, they stay. child is the model with the parameters as they are.
func (r *run) calibrate(ctx context.Context, child *onnxio.Model, judge *teach.Judge) (factor float64, err error) {
	for i, g := range r.trainer.goals {
		params := r.trainer.makers(g)
		if params == nil {
			continue
		}
		logits, err := judge.Values(ctx, child, i)
		if err != nil {
			return 0, err
		}
		factor = teach.Confidence(logits, judge.Said(i), g.Classes, g.Temperature)
		for _, name := range params {
			for j := range r.trainer.params[name].F32 {
				r.trainer.params[name].F32[j] *= float32(factor)
			}
		}
	}
	return factor, nil
}

// makers are the trained parameters whose scale is that of a classifier's logits, nil where there
// are none or where they are not all.
func (t *trainer) makers(g *goal) (out []string) {
	readers := len(t.graph.Consumers(g.Tensor))
	if t.graph.IsOutput(g.Tensor) {
		readers++
	}
	if g.Kind != teach.Probabilities || readers > 1 {
		return nil
	}
	for tensor := g.Tensor; ; {
		n := t.graph.Producer(tensor)
		next, isAdd := "", n.GetOpType() == "Add"
		made := len(out)
		for _, p := range parameters(t.graph, n) {
			switch in := p.Tensor(); {
			case t.params[in] != nil:
				out = append(out, in)
			case isAdd:
				next = in
			case in != "":
				return nil // a bias or weight that is not trained
			}
		}
		if len(out) == made {
			return nil
		}
		if next == "" {
			return out
		}
		if _, only := t.graph.OnlyReader(next); !only {
			return nil
		}
		tensor = next
	}
}
