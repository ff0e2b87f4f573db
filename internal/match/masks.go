package match

import (
	"fmt"
	"maps"
	"slices"

	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// orders finds the tensors that tell apart what stands before and behind a position, as the masks of
// causal attention do. Masks are spelled in too many ways to be compared; but a network that sees what
// follows computes something else than one that does not.
type orders struct {
	s *edit.Subject
	// positions hold the places of positions, distances differences of them, hides what is made by
	// comparing these.
	positions, distances, hides map[string]bool
}

func newOrders(s *edit.Subject) *orders {
	return &orders{s: s, positions: map[string]bool{}, distances: map[string]bool{}, hides: map[string]bool{}}
}

// node takes in a node that reads no channels.
func (o *orders) node(n *onnxpb.NodeProto) {
	op := onnxio.StandardOp(n)
	if op == "Shape" || op == "Size" {
		return
	}
	positions, distance, hides := 0, false, op == "Trilu"
	for _, in := range n.GetInput() {
		if in == "" {
			continue
		}
		o.stored(in)
		if o.positions[in] {
			positions++
		}
		distance, hides = distance || o.distances[in], hides || o.hides[in]
	}
	for _, out := range n.GetOutput() {
		switch op {
		case "Less", "LessOrEqual", "Greater", "GreaterOrEqual":
			hides = hides || positions > 1 || distance
		case "Sub":
			o.distances[out] = distance || positions > 1
			o.positions[out] = positions == 1
		case "Range", "CumSum":
			o.positions[out] = true
		case "Equal", "Gather", "GatherND", "GatherElements":
		default:
			o.positions[out], o.distances[out] = positions > 0, distance
		}
		o.hides[out] = hides
	}
}

// stored looks at a stored tensor: numbers that count positions, and tables of zeros and ones, or of
// zeros and minus infinity, that differ from row to row and from column to column.
func (o *orders) stored(name string) {
	if _, known := o.hides[name]; known {
		return
	}
	o.hides[name] = false
	tp := o.s.Graph.Constant(name)
	if tp == nil || onnxio.Elements(tp) < 2 || onnxio.Elements(tp) > maxMask {
		return
	}
	t, err := o.s.Model.Tensor(tp)
	if err != nil {
		return
	}
	v, cols := t.Float64(), t.Dims[len(t.Dims)-1]
	o.positions[name] = !onnxio.IsFloat(t.Type) && len(v) == slices.Max(t.Dims) && counts(v)
	if len(t.Dims) < 2 || cols < 2 || t.Dims[len(t.Dims)-2] < 2 || slices.ContainsFunc(v, func(x float64) bool { return x != 0 && x != 1 && x > masked }) {
		return
	}
	v = v[:cols*t.Dims[len(t.Dims)-2]]
	rows, columns := false, false
	for i := range v {
		columns = columns || v[i] != v[i-i%cols]
		rows = rows || v[i] != v[i%cols]
	}
	o.hides[name] = rows && columns
}

// maxMask bounds the tables that are looked at.
const maxMask = 1 << 22

// counts reports whether numbers are each one more than the one before.
func counts(v []float64) bool {
	for i := range v[1:] {
		if v[i+1] != v[i]+1 {
			return false
		}
	}
	return true
}

// hidden reports whether a node masks by an order: some input of it that holds no channels does.
func (o *orders) hidden(n *onnxpb.NodeProto) bool {
	return slices.ContainsFunc(n.GetInput(), func(in string) bool {
		if in != "" {
			o.stored(in)
		}
		return o.hides[in]
	})
}

// masked lists the activations of a subject from which a mask hides what follows a position.
func (o *orders) masked() map[string]bool {
	channels, out := map[string]bool{}, map[string]bool{}
	for _, in := range o.s.Graph.Inputs() {
		channels[in.GetName()] = onnxio.IsFloat(onnxpb.TensorProto_DataType(in.GetType().GetTensorType().GetElemType()))
	}
	for _, n := range o.s.Graph.Nodes {
		op, formed := onnxio.StandardOp(n), 0
		for _, in := range o.s.Live(n) {
			if channels[in] {
				formed++
			}
		}
		table := op == "Gather" && weightOf(o.s, n.GetInput()[0]) != nil && len(o.s.Live(n)) > 0
		if formed == 0 && !table || op == "Shape" || op == "Size" {
			o.node(n)
			continue
		}
		for _, t := range n.GetOutput() {
			channels[t] = true
			out[t] = formed == 1 && onnxio.FactsOf(n).Has(onnxio.Broadcasts) && o.hidden(n)
		}
	}
	return out
}

// masks compares what is hidden from activations that were paired.
func (p *Pairing) masks() error {
	x, y := newOrders(p.a).masked(), newOrders(p.b).masked()
	for _, a := range slices.Sorted(maps.Keys(p.Tensors)) {
		if b := p.Tensors[a]; x[a] != y[b] {
			return oneHides(a, b, x[a])
		}
	}
	return nil
}

// oneHides is the error of a mask in one of two models, the first or the second.
func oneHides(a, b string, first bool) error {
	if !first {
		a, b = b, a
	}
	return fmt.Errorf("a mask hides what follows a position from %q, and none does from %q", a, b)
}
