package refit

import (
	"fmt"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// weights are a layer's parameters as a linear map: w is outputs×inputs, row-major; outputs of
// group g are the g-th block of rows.
type weights struct {
	outputs, inputs, groups int
	w, b                    []float64 // b is nil without a bias
	typ                     onnxpb.TensorProto_DataType
	dims                    []int
	transposed              bool    // stored as [inputs, outputs]
	alpha, beta             float64 // of Gemm
}

// read decodes a layer's parameters.
func read(g *onnxio.Graph, l *onnxio.Linear) (*weights, error) {
	t, err := g.Model.Tensor(g.Constant(l.Weight.Name))
	if err != nil {
		return nil, err
	}
	w := &weights{groups: l.Groups, typ: t.Type, dims: t.Dims, transposed: l.Out.Weight == 1, alpha: l.Alpha, beta: l.Beta}
	if w.alpha == 0 || (w.beta == 0 && l.Bias.Name != "") {
		return nil, fmt.Errorf("alpha or beta is 0")
	}
	w.outputs = t.Dims[l.Out.Weight]
	if w.outputs == 0 || t.Len() == 0 {
		return nil, fmt.Errorf("weight %q is empty", l.Weight.Name)
	}
	w.inputs = t.Len() / w.outputs
	w.w = make([]float64, t.Len())
	if t.F32 != nil { // not as doubles first: the layer may be most of the model
		fill(w, t.F32)
	} else {
		fill(w, t.Float64())
	}
	if l.Bias.Name != "" {
		b, err := g.Model.Tensor(g.Constant(l.Bias.Name))
		if err != nil {
			return nil, err
		}
		w.b = b.Float64()
		floats.Scale(w.beta, w.b)
		if len(w.b) != w.outputs {
			return nil, fmt.Errorf("bias %q has %d entries for %d outputs", l.Bias.Name, len(w.b), w.outputs)
		}
	}
	return w, nil
}

// fill sets w.w from a weight as it is stored.
func fill[T float32 | float64](w *weights, v []T) {
	for o := range w.outputs {
		for i := range w.inputs {
			w.w[o*w.inputs+i] = float64(v[w.at(o, i)]) * w.alpha
		}
	}
}

// gather is the inverse.
func gather[T float32 | float64](w *weights) []T {
	v := make([]T, len(w.w))
	for o := range w.outputs {
		for i := range w.inputs {
			v[w.at(o, i)] = T(w.w[o*w.inputs+i] / w.alpha)
		}
	}
	return v
}

// tensor is the weight as it is stored.
func (w *weights) tensor(name string) *onnxio.Tensor {
	if w.typ == onnxio.Float {
		return &onnxio.Tensor{Name: name, Type: w.typ, Dims: w.dims, F32: gather[float32](w)}
	}
	return onnxio.NewTensor(name, w.typ, w.dims, gather[float64](w))
}

// at is where weight (o, i) is stored.
func (w *weights) at(o, i int) int {
	if w.transposed {
		return i*w.outputs + o
	}
	return o*w.inputs + i
}

// group is the map of one group.
func (w *weights) group(g int) fit {
	n := w.outputs / w.groups
	f := fit{w: w.w[g*n*w.inputs : (g+1)*n*w.inputs]}
	if w.b != nil {
		f.b = w.b[g*n : (g+1)*n]
	}
	return f
}

func (w *weights) setGroup(g int, f fit) {
	n := w.outputs / w.groups
	copy(w.w[g*n*w.inputs:], f.w)
	if w.b != nil {
		copy(w.b[g*n:], f.b)
	}
}

// write stores a layer's parameters in a model.
func (w *weights) write(g *onnxio.Graph, l *onnxio.Linear) error {
	if err := g.SetConstant(w.tensor(l.Weight.Name)); err != nil {
		return err
	}
	return w.writeBias(g, l)
}

func (w *weights) writeBias(g *onnxio.Graph, l *onnxio.Linear) error {
	if w.b == nil {
		return nil
	}
	old, err := g.Model.Tensor(g.Constant(l.Bias.Name))
	if err != nil {
		return err
	}
	b := make([]float64, len(w.b))
	for i := range b {
		b[i] = w.b[i] / w.beta
	}
	return g.SetConstant(onnxio.NewTensor(l.Bias.Name, old.Type, old.Dims, b))
}
