package stats

import (
	"fmt"
	"slices"

	"github.com/monge-ml/monge/internal/rewire"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Extract returns the part of a model that computes the tensors to from the tensors from: a model
// with the inputs from, and those of m that are still needed, and the outputs to. Both name tensors
// of the main graph. Inputs and outputs have their element type where m says it, and no shape. What
// m says about tensors in between is left out, so that the part stays valid whatever becomes of
// their shapes. Nodes and constants are those of m.
func Extract(m *onnxio.Model, from, to []string) (*onnxio.Model, error) {
	l, err := layoutOf(m)
	if err != nil {
		return nil, err
	}
	inputs := make([]*onnxpb.ValueInfoProto, len(from))
	for i, name := range from {
		inputs[i] = rewire.OutputInfo(name, rewire.ElemType(l.graph, name))
	}
	return l.part(inputs, to)
}

// A layout knows where in a model's main graph everything is, so that parts of it are cut out
// without a look at the rest. It outlives new values of constants, but no other change.
type layout struct {
	model  *onnxio.Model
	graph  *onnxio.Graph
	nodes  map[*onnxpb.NodeProto]int // by what: places in the file
	dense  map[string]int
	sparse map[string]int
}

func layoutOf(m *onnxio.Model) (*layout, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	l := &layout{m, g, map[*onnxpb.NodeProto]int{}, map[string]int{}, map[string]int{}}
	for i, n := range g.Proto.Node {
		l.nodes[n] = i
	}
	for i, t := range g.Proto.Initializer {
		l.dense[t.GetName()] = i
	}
	for i, t := range g.Proto.SparseInitializer {
		l.sparse[t.GetValues().GetName()] = i
	}
	return l, nil
}

// part is Extract with declared inputs.
func (l *layout) part(from []*onnxpb.ValueInfoProto, to []string) (*onnxio.Model, error) {
	given := map[string]*onnxpb.ValueInfoProto{}
	for _, v := range from {
		name := v.GetName()
		if !l.graph.Defines(name) {
			return nil, fmt.Errorf("%s: no tensor %q in the main graph", l.model.Title(), name)
		}
		if given[name] == nil {
			given[name] = v
		}
	}
	nodes, needed := l.between(given, to)
	p := &onnxpb.GraphProto{Name: l.graph.Proto.Name, Input: l.inputs(from, given, needed)}
	done := map[string]bool{}
	for _, name := range to {
		if done[name] {
			continue
		}
		done[name] = true
		if !l.graph.Defines(name) {
			return nil, fmt.Errorf("%s: no tensor %q in the main graph", l.model.Title(), name)
		}
		p.Output = append(p.Output, rewire.OutputInfo(name, l.declared(given, name)))
	}
	for _, i := range nodes {
		p.Node = append(p.Node, l.released(l.graph.Proto.Node[i], given))
	}
	for _, i := range placesOf(l.dense, needed, given) {
		p.Initializer = append(p.Initializer, l.graph.Proto.Initializer[i])
	}
	for _, i := range placesOf(l.sparse, needed, given) {
		p.SparseInitializer = append(p.SparseInitializer, l.graph.Proto.SparseInitializer[i])
	}
	out, whole := *l.model, l.model.Proto
	out.Proto = &onnxpb.ModelProto{IrVersion: whole.IrVersion, OpsetImport: whole.OpsetImport, Functions: whole.Functions, Graph: p}
	return &out, nil
}

// between lists the nodes, by their places in order, that compute tensors from given ones, and all
// that these make and read, and the tensors themselves.
func (l *layout) between(given map[string]*onnxpb.ValueInfoProto, to []string) (nodes []int, needed map[string]bool) {
	needed = map[string]bool{}
	run := map[*onnxpb.NodeProto]bool{}
	for work := slices.Clone(to); len(work) > 0; {
		name := work[len(work)-1]
		work = work[:len(work)-1]
		if name == "" || needed[name] {
			continue
		}
		needed[name] = true
		n := l.graph.Producer(name)
		if given[name] != nil || n == nil || run[n] {
			continue
		}
		run[n] = true
		nodes = append(nodes, l.nodes[n])
		for _, out := range n.GetOutput() {
			if out != "" && given[out] == nil {
				needed[out] = true
			}
		}
		work = append(work, rewire.Reads(n)...)
	}
	slices.Sort(nodes)
	return nodes, needed
}

// placesOf are those of what is needed and not given, in order.
func placesOf(at map[string]int, needed map[string]bool, given map[string]*onnxpb.ValueInfoProto) (places []int) {
	for name := range needed {
		if i, ok := at[name]; ok && given[name] == nil {
			places = append(places, i)
		}
	}
	slices.Sort(places)
	return places
}

// inputs are those of the model that are needed, and what is given. Where there would be none, the
// model's first is kept: onnxruntime takes no model without inputs.
func (l *layout) inputs(from []*onnxpb.ValueInfoProto, given map[string]*onnxpb.ValueInfoProto, needed map[string]bool) (list []*onnxpb.ValueInfoProto) {
	for _, v := range l.graph.Proto.Input {
		if name := v.GetName(); given[name] == nil && needed[name] {
			list = append(list, v)
		}
	}
	for _, v := range from {
		if given[v.GetName()] == v {
			list = append(list, v)
		}
	}
	if all := l.graph.Proto.Input; len(list) == 0 && len(all) > 0 {
		list = all[:1]
	}
	return list
}

// declared is the element type of a tensor where a part says it: what lies in between has none.
func (l *layout) declared(given map[string]*onnxpb.ValueInfoProto, name string) onnxpb.TensorProto_DataType {
	if v := given[name]; v != nil {
		return onnxio.ElemType(v)
	}
	if l.graph.IsOutput(name) || l.graph.Producer(name) == nil || l.graph.Constant(name) != nil {
		return rewire.ElemType(l.graph, name)
	}
	return onnxpb.TensorProto_UNDEFINED
}

// released is a node that does not make what is given. It may be needed for its other outputs.
func (l *layout) released(n *onnxpb.NodeProto, given map[string]*onnxpb.ValueInfoProto) *onnxpb.NodeProto {
	makes := func(name string) bool { return name != "" && given[name] != nil }
	if !slices.ContainsFunc(n.GetOutput(), makes) {
		return n
	}
	own := &onnxpb.NodeProto{
		Name: n.Name, OpType: n.OpType, Domain: n.Domain, Overload: n.Overload, Input: n.Input, Attribute: n.Attribute,
		Output: slices.Clone(n.Output),
	}
	for i, name := range own.Output {
		if makes(name) {
			own.Output[i] = l.graph.Fresh(name + "_unused")
		}
	}
	return own
}
