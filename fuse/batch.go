package fuse

import (
	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// together returns models that can be run on the same batches, and the number of samples in one (the
// given number where any will do). Where a model takes batches of one size only, the others follow
// it: those whose inputs are open, and those that were exported with another size, whose inputs are
// opened. Onto's size stays if it has one.
func together(models []*onnxio.Model, onto, batch int) ([]*onnxio.Model, int) {
	sizes := make([]int, len(models))
	common, several := 0, false
	for i, m := range models {
		sizes[i] = fixedBatch(m)
		several = several || common != 0 && sizes[i] != 0 && sizes[i] != common
		common = max(common, sizes[i])
	}
	if several {
		common = sizes[onto]
	}
	out := make([]*onnxio.Model, len(models))
	for i, m := range models {
		if out[i] = m; sizes[i] != 0 && sizes[i] != common {
			out[i] = opened(m, sizes[i])
		}
	}
	if common != 0 {
		batch = common
	}
	return out, batch
}

// fixedBatch is the number of samples that all inputs of a model are made for; 0 where it is open,
// or where inputs differ in it.
func fixedBatch(m *onnxio.Model) int {
	g, err := m.Graph()
	if err != nil {
		return 0
	}
	size := 0
	for i, in := range g.Inputs() {
		dims, _, ok := onnxio.Dims(in)
		if !ok || len(dims) == 0 || dims[0] <= 0 || i > 0 && int(dims[0]) != size {
			return 0
		}
		size = int(dims[0])
	}
	return size
}

// opened is a copy of a model whose inputs and outputs take batches of any size, as far as they are
// declared.
func opened(m *onnxio.Model, size int) *onnxio.Model {
	out := m.Clone()
	g := out.Proto.Graph
	g.ValueInfo = nil
	weights := map[string]bool{}
	for _, t := range g.Initializer {
		weights[t.GetName()] = true
	}
	for _, list := range [][]*onnxpb.ValueInfoProto{g.Input, g.Output} {
		for i, v := range list {
			if dims, _, ok := onnxio.Dims(v); !ok || len(dims) == 0 || dims[0] != int64(size) || weights[v.GetName()] {
				continue
			}
			v = proto.Clone(v).(*onnxpb.ValueInfoProto)
			v.GetType().GetTensorType().GetShape().Dim[0].Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "batch"}
			list[i] = v
		}
	}
	return out
}
