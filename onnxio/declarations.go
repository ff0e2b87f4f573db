package onnxio

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// validateDeclarations checks what a graph and its nodes, but not subgraphs, declare: shapes and
// attributes.
func validateDeclarations(g *onnxpb.GraphProto) error {
	for _, v := range slices.Concat(g.GetInput(), g.GetOutput(), g.GetValueInfo()) {
		if err := validateShape(v); err != nil {
			return fmt.Errorf("value %q: %w", v.GetName(), err)
		}
	}
	for _, s := range g.GetSparseInitializer() {
		if err := validateSparse(s); err != nil {
			return fmt.Errorf("sparse initializer %q: %w", s.GetValues().GetName(), err)
		}
	}
	for _, n := range g.GetNode() {
		if err := validateAttributes(n); err != nil {
			return fmt.Errorf("%s: %w", Label(n), err)
		}
	}
	return nil
}

// validateShape checks declared lengths. -1 passes: several exporters write it for a length that is
// not known.
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

func validateAttributes(n *onnxpb.NodeProto) error {
	seen := make(map[string]bool, len(n.Attribute))
	for i, a := range n.Attribute {
		switch name := a.GetName(); {
		case name == "":
			return fmt.Errorf("attribute %d has no name", i)
		case seen[name]:
			return fmt.Errorf("attribute %q is given twice", name)
		}
		seen[a.GetName()] = true
		if err := validateAttribute(a); err != nil {
			return fmt.Errorf("attribute %q: %w", a.GetName(), err)
		}
	}
	return nil
}

func validateAttribute(a *onnxpb.AttributeProto) error {
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
	if missing && a.GetRefAttrName() == "" {
		return fmt.Errorf("has type %v but no such value", a.GetType())
	}
	for _, s := range append(slices.Clip(a.SparseTensors), a.SparseTensor) {
		if s != nil {
			if err := validateSparse(s); err != nil {
				return err
			}
		}
	}
	return nil
}
