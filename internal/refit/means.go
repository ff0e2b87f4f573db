package refit

import (
	"fmt"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
)

// Recentre makes biases of a child make up for what its operators do not read any more: lost is,
// for activations of the parent and along the axis of their channels, the mean of that. It writes
// into the child. What biases of other operators do not take is lost.
func Recentre(child *onnxio.Model, parent teach.Parent, lost map[string][]float64) (err error) {
	defer guard.Recover(&err)
	if len(lost) == 0 {
		return nil
	}
	g, layers, err := layersIn(child)
	if err != nil {
		return err
	}
	for _, l := range layers {
		if l.Kind != onnxio.NotLinear && l.Bias.Name != "" && lost[l.In.Tensor] != nil {
			if err := l.recentre(g, parent, lost[l.In.Tensor]); err != nil {
				return fmt.Errorf("%s: %w", onnxio.Label(l.Node), err)
			}
		}
	}
	return nil
}

// layersIn are the layers of a model, with its graph.
func layersIn(m *onnxio.Model) (*onnxio.Graph, []*layer, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, nil, err
	}
	an, err := coupling.Analyze(m, coupling.Options{Opaque: true})
	if err != nil {
		return nil, nil, err
	}
	layers, err := layersOf(g, an)
	return g, layers, err
}

// recentre adds what the parent's operator makes of the means to the bias.
func (l *layer) recentre(g *onnxio.Graph, parent teach.Parent, lost []float64) error {
	s := parent.Subject
	name := parent.Counterpart(l.Out.Tensor)
	theirs, ok := s.Graph.Linear(s.Graph.Producer(parent.Counterpart(l.Node.GetOutput()[0])))
	if name == "" || !ok || !theirs.Weight.Direct() {
		return nil
	}
	wide, err := read(s.Graph, theirs)
	if err != nil {
		return err
	}
	if wide.inputs*wide.groups%len(lost) != 0 {
		return nil
	}
	rows, err := s.TargetRows(name, l.axis, parent.Maps, 1)
	if err != nil {
		return err
	}
	shift := wide.constant(lost)
	w, err := read(g, l.Linear)
	if err != nil {
		return err
	}
	for k := range w.b {
		if rows == nil {
			w.b[k] += shift[k]
			continue
		}
		for _, e := range rows[k] {
			w.b[k] += e.Val * shift[e.Col]
		}
	}
	return w.writeBias(g, l.Linear)
}

// constant is what the outputs are of inputs that are the same in all places: one number for each
// channel.
func (w *weights) constant(x []float64) []float64 {
	out := make([]float64, w.outputs)
	each := w.inputs * w.groups / len(x) // kernel positions
	for o := range out {
		from := o / (w.outputs / w.groups) * w.inputs / each
		for i, v := range w.w[o*w.inputs:][:w.inputs] {
			out[o] += v * x[from+i/each]
		}
	}
	return out
}
