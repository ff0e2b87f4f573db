package dataset

import (
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A tokens is a column of made-up integers: evenly drawn from those below a limit, or all ones
// where there is none (0).
type tokens struct {
	made
	limit int64
}

func (c *tokens) bind(in engine.IOInfo, _ Preprocess) (binding, error) {
	return binding{read: func(samples []int) (*engine.Value, error) {
		v, size := c.empty(samples, in.Type)
		for _, s := range samples {
			rng := c.rng(s)
			for range size {
				x := int64(1)
				if c.limit > 0 {
					x = rng.Int64N(c.limit)
				}
				v.I64 = append(v.I64, x)
			}
		}
		return v, nil
	}}, nil
}

// meaning tells what the integers of an input are for: indices below a limit, where they pick rows
// of a table, or (limit 0) marks of what counts, where they become real numbers or conditions.
// known is false where they are neither. whole: parts of the input do not count.
func meaning(g *onnxio.Graph, input string, whole bool) (limit int64, known bool) {
	marks := false
	follow(g, input, func(c onnxio.Consumer) bool {
		switch c.Node.GetOpType() {
		case "Gather":
			if c.Input == 1 {
				rows := rowsPicked(g, c.Node)
				if rows > 0 && (limit == 0 || rows < limit) {
					limit = rows
				}
				return false
			}
		case "Slice":
			if whole {
				return false
			}
		case "Cast":
			to := onnxpb.TensorProto_DataType(onnxio.AttrInt(c.Node, "to", 0))
			if onnxio.IsFloat(to) || to == onnxpb.TensorProto_BOOL {
				marks = true
				return false
			}
		case "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual":
			marks = true
			return false
		case "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile":
		default:
			return false
		}
		return c.Input == 0
	})
	return limit, limit > 0 || marks
}

// rowsPicked is the number of rows of the constant table from which a Gather picks; 0 if it is not
// known.
func rowsPicked(g *onnxio.Graph, gather *onnxpb.NodeProto) int64 {
	dims := g.Constant(gather.GetInput()[0]).GetDims()
	if axis := int(onnxio.AttrInt(gather, "axis", 0)); axis >= 0 && axis < len(dims) {
		return dims[axis]
	}
	return 0
}
