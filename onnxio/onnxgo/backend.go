package onnxgo

import (
	"fmt"

	onnx "github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/tensor"
)

// Value is a tensor of the graph, in onnx-go's terms a node. It may carry data: a weight, or an
// empty tensor that stands for a declared shape.
type Value struct {
	id   int64
	name string
	data tensor.Tensor
}

var (
	_ onnx.Backend     = (*Backend)(nil)
	_ onnx.Namer       = (*Value)(nil)
	_ onnx.DataCarrier = (*Value)(nil)
)

// ID returns the value's number in the graph.
func (v *Value) ID() int64 { return v.id }

// SetName names the tensor.
func (v *Value) SetName(name string) { v.name = name }

// GetName returns the name of the tensor.
func (v *Value) GetName() string { return v.name }

// SetTensor attaches data.
func (v *Value) SetTensor(t tensor.Tensor) error {
	v.data = t
	return nil
}

// GetTensor returns the attached data, nil if there is none.
func (v *Value) GetTensor() tensor.Tensor { return v.data }

// operation is one operator call in the order of the file.
type operation struct {
	op              onnx.Operation
	inputs, outputs []*Value
}

// values is the graph of the model's values, with an edge from each to those that it is made from,
// the weight of which is the input's position.
type values = simple.WeightedDirectedGraph

// Backend receives a model from onnx-go. Make one with [NewBackend], or let [Decode] do everything.
type Backend struct {
	*values
	// pending holds, for the operation being read, the inputs by output id and position. The graph
	// above cannot: it has one edge between two values, but an operator may read a tensor twice
	// (Add x x).
	pending    map[int64]map[int]*Value
	fault      error // found where the interface has no error to return
	operations []operation
	produced   map[int64]bool
	inputs     map[int64]bool
	outputs    []int64
}

// NewBackend returns an empty backend for onnx.NewModel. After decoding, tell it the model's inputs
// and outputs: [Backend.SetInterface].
func NewBackend() *Backend {
	return &Backend{
		values:   simple.NewWeightedDirectedGraph(0, 0),
		pending:  make(map[int64]map[int]*Value),
		produced: make(map[int64]bool),
		inputs:   make(map[int64]bool),
	}
}

// Decode reads a model with onnx-go into a new backend. onnx-go panics on some damaged or
// unsupported models; here that is an error.
func Decode(data []byte) (b *Backend, err error) {
	defer func() {
		if r := recover(); r != nil {
			b, err = nil, fmt.Errorf("onnx-go: panic: %v", r)
		}
	}()
	b = NewBackend()
	m := onnx.NewModel(b)
	if err := m.UnmarshalBinary(data); err != nil {
		return nil, fmt.Errorf("onnx-go: %w", err)
	}
	b.SetInterface(m.Input, m.Output)
	return b, nil
}

// SetInterface tells the ids of the model's inputs and outputs, as onnx.Model has them after
// decoding. Without it a declared input cannot be told from a weight: onnx-go attaches a tensor to
// both.
func (b *Backend) SetInterface(inputs, outputs []int64) {
	for _, id := range inputs {
		b.inputs[id] = true
	}
	b.outputs = outputs
}

// ApplyOperation says which operator makes some values, whose edges to its inputs were set just
// before.
func (b *Backend) ApplyOperation(op onnx.Operation, outputs ...graph.Node) error {
	if b.fault != nil {
		return b.fault
	}
	o := operation{op: op}
	for _, n := range outputs {
		v, ok := n.(*Value)
		if !ok {
			return fmt.Errorf("%s: output of type %T is not from this backend", op.Name, n)
		}
		o.outputs = append(o.outputs, v)
		b.produced[v.id] = true
	}
	if len(o.outputs) > 0 {
		// Every output has the same inputs.
		at := b.pending[o.outputs[0].id]
		o.inputs = make([]*Value, len(at))
		for i, v := range at {
			if i < 0 || i >= len(at) {
				return fmt.Errorf("%s -> %q: input %d of %d", op.Name, o.outputs[0].name, i, len(at))
			}
			o.inputs[i] = v
		}
	}
	clear(b.pending)
	b.operations = append(b.operations, o)
	return nil
}

// NewNode returns a new value, not yet part of the graph.
func (b *Backend) NewNode() graph.Node { return &Value{id: b.values.NewNode().ID()} }

// SetWeightedEdge adds an edge from an output to an input.
func (b *Backend) SetWeightedEdge(e graph.WeightedEdge) {
	from, ok1 := e.From().(*Value)
	to, ok2 := e.To().(*Value)
	if !ok1 || !ok2 {
		b.fault = fmt.Errorf("edge between %T and %T, which are not from this backend", e.From(), e.To())
		return
	}
	if b.pending[from.id] == nil {
		b.pending[from.id] = make(map[int]*Value)
	}
	b.pending[from.id][int(e.Weight())] = to
	if from.id != to.id {
		b.values.SetWeightedEdge(e)
	} else if from.name != "" {
		// onnx-go has a single value for all inputs and outputs left out, whose name is ""; any
		// other one is a cycle.
		b.fault = fmt.Errorf("the operator that makes %q reads its own output", from.name)
	}
}
