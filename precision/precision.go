package precision

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Type is what numbers are stored as.
type Type string

const (
	FP16 Type = "fp16"
	BF16 Type = "bf16"
	INT8 Type = "int8"
)

// Types lists all types.
func Types() []Type { return []Type{FP16, BF16, INT8} }

// Stored is the type of the elements that most numbers are stored as.
func (t Type) Stored() onnxpb.TensorProto_DataType {
	switch t {
	case FP16:
		return onnxio.Float16
	case BF16:
		return onnxio.BFloat16
	case INT8:
		return onnxpb.TensorProto_INT8
	}
	return 0
}

// A Report says what was written with fewer bits.
type Report struct {
	Type Type `json:"type"`
	// Weights is the number of weights that are stored with fewer bits.
	Weights int `json:"weights"`
	// Operators is the number of operators that work on integers or with numbers of 16 bits,
	// Activations of the activations that are rounded to integers; zero where only weights are stored
	// with fewer bits.
	Operators   int `json:"operators,omitempty"`
	Activations int `json:"activations,omitempty"`
	// Opset is what the operator set was raised to, 0 if it was not.
	Opset int64 `json:"opset,omitempty"`
	// Samples is the number of inputs that scales were chosen on.
	Samples int `json:"samples,omitempty"`
	// Candidates are the ways to choose scales that were compared.
	Candidates []Candidate `json:"candidates,omitempty"`
	// Stay lists weights of linear operators that stay as they are.
	Stay []Stay `json:"stay,omitempty"`
	// Kept lists operators that compute with float32 beside those of 16 bits.
	Kept []Kept `json:"kept,omitempty"`
}

// A Candidate is a way to choose scales.
type Candidate struct {
	Name string `json:"name"`
	// Divergence from the original's predictions; see teach.Judge.
	Divergence float64 `json:"divergence"`
	Taken      bool    `json:"taken"`
}

// Stay is a weight that is not stored with fewer bits.
type Stay struct {
	Weight string `json:"weight"`
	Reason string `json:"reason"`
}

// least is the number of elements below which a tensor is left as it is: a Cast costs more than it
// saves.
const least = 256

// Half returns a model whose weights are stored as FP16 or BF16. Weights that reach beyond the
// type's largest number stay.
func Half(ctx context.Context, m *onnxio.Model, typ Type) (_ *onnxio.Model, _ *Report, err error) {
	defer guard.Recover(&err)
	to, largest := onnxio.Float16, 65504.0
	opset := int64(6)
	switch typ {
	case FP16:
	case BF16:
		to, largest, opset = onnxio.BFloat16, 3.3895313892515355e38, 13
	default:
		return nil, nil, fmt.Errorf("%q is no floating-point type of 16 bits", typ)
	}
	r := &Report{Type: typ}
	out, err := r.raise(m, opset)
	if err != nil {
		return nil, nil, err
	}
	g, err := out.Graph()
	if err != nil {
		return nil, nil, err
	}
	var casts []*onnxpb.NodeProto
	for _, name := range stored(g) {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		t, err := out.Tensor(g.Constant(name))
		if err != nil {
			return nil, nil, out.InFile(err)
		}
		if reaches(t, largest) {
			r.Stay = append(r.Stay, Stay{name, fmt.Sprintf("it reaches beyond ±%.6g", largest)})
			continue
		}
		short := g.Fresh(name + "_" + string(typ))
		if err := g.AddInitializer(onnxio.NewTensor(short, to, t.Dims, t.Float64())); err != nil {
			return nil, nil, out.InFile(err)
		}
		casts = append(casts, &onnxpb.NodeProto{
			OpType: proto.String("Cast"), Input: []string{short}, Output: []string{name},
			Attribute: []*onnxpb.AttributeProto{onnxio.NewAttrInt("to", int(onnxio.Float))},
		})
		r.Weights++
	}
	replace(g, casts, nil)
	return out, r, g.Refresh()
}
