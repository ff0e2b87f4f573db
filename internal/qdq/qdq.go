// Package qdq writes quantised models with ordinary operators.
//
// A quantised model computes with integers that stand for real numbers, and there are many ways to
// write that down: operators of their own (QLinearConv, QGemm, QLinearAdd), products of integers
// that are scaled afterwards (MatMulInteger, ConvInteger), weights that are multiplied by a scale
// (Cast, Mul), or weights of floating-point numbers that are rounded when the model runs
// (QuantizeLinear, DequantizeLinear). [Expand] gives the same function with Conv, MatMul and the
// like between QuantizeLinear and DequantizeLinear, of which all weights are stored as integers;
// whoever narrows a model has to know that form alone. [Form.Restore] writes the narrowed model in
// the way in which the original was.
package qdq

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

const (
	microsoft  = "com.microsoft"
	quantize   = "QuantizeLinear"
	dequantize = "DequantizeLinear"
)

// A Form remembers how the parts of a model were written. The nil Form is that of a model with
// nothing to expand.
type Form struct {
	sites []site
	// saved are the original's constants that the expanded model has no use for.
	saved map[string]*onnxpb.TensorProto
	// helpers are tensors made by nodes that only the expanded model needs.
	helpers map[string]bool
	// imported: the expanded model imports the operators of onnxruntime, and the original did not.
	imported bool
	stored   map[string]onnxpb.TensorProto_DataType
	ops      map[string]string
}

// A site is one place that was written in another way. restore changes the plan of the rewriter if
// it finds the place as it left it, up to widths, weights and biases; otherwise the place stays as
// it is, which computes the same.
type site interface {
	restore(r *rewriter) error
}

// StoredAs returns the type in which the original keeps a weight of the expanded model, where the
// two differ.
func (f *Form) StoredAs(weight string) (onnxpb.TensorProto_DataType, bool) {
	if f == nil {
		return 0, false
	}
	t, ok := f.stored[weight]
	return t, ok
}

// Operator returns the original's operator in the place of a node of the expanded model.
func (f *Form) Operator(n *onnxpb.NodeProto) string {
	if f != nil && len(n.GetOutput()) > 0 {
		if op, ok := f.ops[n.GetOutput()[0]]; ok {
			return op
		}
	}
	return n.GetOpType()
}

// Expand returns a model that computes the same with ordinary operators, and how to get back. Where
// there is nothing to expand it returns m itself and nil. Subgraphs are left as they are.
func Expand(m *onnxio.Model) (*onnxio.Model, *Form, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, nil, err
	}
	if !slices.ContainsFunc(g.Nodes, expandable) {
		return m, nil, nil
	}
	out := m.Clone()
	if g, err = out.Graph(); err != nil {
		return nil, nil, err
	}
	f := &Form{saved: map[string]*onnxpb.TensorProto{}, helpers: map[string]bool{}, stored: map[string]onnxpb.TensorProto_DataType{}, ops: map[string]string{}}
	r := newRewriter(out, g, f)
	for _, n := range g.Nodes {
		if r.gone[n] {
			continue
		}
		for _, expand := range []func(*onnxpb.NodeProto) (site, error){r.expandOperator, r.expandProduct, r.expandRecurrent, r.expandScaled, r.expandRounded, r.expandBias} {
			s, err := expand(n)
			if err != nil {
				return nil, nil, out.InFile(err)
			}
			if s != nil {
				f.sites = append(f.sites, s)
				break
			}
		}
	}
	if len(f.sites) == 0 {
		return m, nil, nil
	}
	if r.microsoft && out.Opset(microsoft) == 0 {
		f.imported = true
		out.Proto.OpsetImport = append(out.Proto.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String(microsoft), Version: proto.Int64(1)})
	}
	r.apply()
	for name, t := range r.unread() {
		f.saved[name] = t
	}
	r.dropSaved()
	return out, f, g.Refresh()
}

// expandable reports whether Expand looks at a node.
func expandable(n *onnxpb.NodeProto) bool {
	_, quantised := operators[n.GetOpType()]
	return quantised || slices.Contains([]string{"MatMulInteger", "ConvInteger", dynamicLSTM, "Cast", quantize, dequantize}, n.GetOpType())
}

// Restore writes a model that was made from the expanded one as the original was written. The model
// is not changed.
func (f *Form) Restore(m *onnxio.Model) (*onnxio.Model, error) {
	if f == nil {
		return m, nil
	}
	out := m.Clone()
	g, err := out.Graph()
	if err != nil {
		return nil, err
	}
	r := newRewriter(out, g, f)
	for _, s := range f.sites {
		if err := s.restore(r); err != nil {
			return nil, out.InFile(err)
		}
	}
	r.apply()
	if err := g.Refresh(); err != nil {
		return nil, err
	}
	r.dropHelpers()
	if f.imported && !slices.ContainsFunc(g.Proto.Node, func(n *onnxpb.NodeProto) bool { return n.GetDomain() == microsoft }) {
		out.Proto.OpsetImport = slices.DeleteFunc(out.Proto.OpsetImport, func(o *onnxpb.OperatorSetIdProto) bool { return o.GetDomain() == microsoft })
	}
	return out, g.Refresh()
}
