package onnxio

import (
	"fmt"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// validateGraphs checks what graphs and nodes declare: shapes and attributes.
func validateGraphs(m *onnxpb.ModelProto) error {
	if err := validateDeclarations(m.GetGraph()); err != nil {
		return err
	}
	for i, t := range m.GetTrainingInfo() {
		for _, g := range []*onnxpb.GraphProto{t.GetInitialization(), t.GetAlgorithm()} {
			if err := validateDeclarations(g); err != nil {
				return fmt.Errorf("training info %d: %w", i, err)
			}
		}
	}
	for _, f := range m.GetFunctions() {
		if err := validateNodes(f.Node); err != nil {
			return fmt.Errorf("function %q: %w", f.GetName(), err)
		}
	}
	return nil
}

func validateDeclarations(g *onnxpb.GraphProto) error {
	for _, values := range [][]*onnxpb.ValueInfoProto{g.GetInput(), g.GetOutput(), g.GetValueInfo()} {
		for _, v := range values {
			if err := validateShape(v); err != nil {
				return fmt.Errorf("value %q: %w", v.GetName(), err)
			}
		}
	}
	for _, s := range g.GetSparseInitializer() {
		if err := validateSparse(s); err != nil {
			return fmt.Errorf("sparse initializer %q: %w", s.GetValues().GetName(), err)
		}
	}
	return validateNodes(g.GetNode())
}

// validateShape checks declared lengths. -1 passes: several exporters write it
// for a length that is not known.
func validateShape(v *onnxpb.ValueInfoProto) error {
	n := int64(1)
	for i, d := range v.GetType().GetTensorType().GetShape().GetDim() {
		x := d.GetDimValue()
		if x < -1 {
			return fmt.Errorf("axis %d has length %d", i, x)
		}
		if x > 1 {
			if _, err := elements([]int64{n, x}); err != nil {
				return fmt.Errorf("axis %d of length %d makes the tensor too large", i, x)
			}
			n *= x
		}
	}
	return nil
}

func validateSparse(s *onnxpb.SparseTensorProto) error {
	size, err := elements(s.Dims)
	if err != nil {
		return err
	}
	if s.Values == nil || s.Indices == nil {
		return fmt.Errorf("values or indices are missing")
	}
	if len(s.Values.Dims) != 1 || s.Values.Dims[0] > size {
		return fmt.Errorf("values of shape %v in a tensor of shape %v", s.Values.Dims, s.Dims)
	}
	if onnxpb.TensorProto_DataType(s.Indices.GetDataType()) != Int64 {
		return fmt.Errorf("indices are not int64")
	}
	nnz := s.Values.Dims[0]
	d := s.Indices.Dims
	linear := len(d) == 1 && d[0] == nnz
	perAxis := len(d) == 2 && d[0] == nnz && d[1] == int64(len(s.Dims))
	if !linear && !perAxis {
		return fmt.Errorf("indices of shape %v for %d values in a tensor of shape %v", d, nnz, s.Dims)
	}
	return nil
}

func validateNodes(nodes []*onnxpb.NodeProto) error {
	for _, n := range nodes {
		seen := make(map[string]bool, len(n.Attribute))
		for i, a := range n.Attribute {
			switch name := a.GetName(); {
			case name == "":
				return fmt.Errorf("%s: attribute %d has no name", Label(n), i)
			case seen[name]:
				return fmt.Errorf("%s: attribute %q is given twice", Label(n), name)
			}
			seen[a.GetName()] = true
			if err := validateAttribute(a); err != nil {
				return fmt.Errorf("%s: attribute %q: %w", Label(n), a.GetName(), err)
			}
		}
	}
	return nil
}

func validateAttribute(a *onnxpb.AttributeProto) error {
	if a.GetRefAttrName() == "" {
		missing := false
		switch a.GetType() {
		case onnxpb.AttributeProto_TENSOR:
			missing = a.T == nil
		case onnxpb.AttributeProto_GRAPH:
			missing = a.G == nil
		case onnxpb.AttributeProto_SPARSE_TENSOR:
			missing = a.SparseTensor == nil
		case onnxpb.AttributeProto_TYPE_PROTO:
			missing = a.Tp == nil
		}
		if missing {
			return fmt.Errorf("has type %v but no such value", a.GetType())
		}
	}
	for _, s := range append(a.SparseTensors[:len(a.SparseTensors):len(a.SparseTensors)], a.SparseTensor) {
		if s != nil {
			if err := validateSparse(s); err != nil {
				return err
			}
		}
	}
	for _, g := range attrGraphs(a) {
		if err := validateDeclarations(g); err != nil {
			return err
		}
	}
	return nil
}
