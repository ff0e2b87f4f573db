package edit

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// simple analyses a model in which numbers that are computed from sizes are stored, and Gathers
// that copy are Reshapes; own and an as given where there is nothing of the kind. own is not
// changed.
func simple(own *onnxio.Model, an *coupling.Analysis, o coupling.Options) (*onnxio.Model, *coupling.Analysis, error) {
	if len(an.Computed) == 0 && len(an.Copied) == 0 {
		return own, an, nil
	}
	m := own.Clone()
	g, err := m.Graph()
	if err != nil {
		return nil, nil, err
	}
	left := map[string]bool{} // tensors that are read in fewer places
	for _, x := range an.Computed {
		n := g.Producer(x.Node.GetOutput()[0])
		if n == nil { // it is in a branch
			continue
		}
		t := *x.Value
		t.Name = g.Fresh("monge_number")
		if err := g.AddInitializer(&t); err != nil {
			return nil, nil, err
		}
		left[n.Input[x.Input]] = true
		n.Input[x.Input] = t.Name
	}
	for _, x := range an.Copied {
		n := g.Producer(x.Node.GetOutput()[0])
		if n == nil {
			continue
		}
		shape := onnxio.NewInts(g.Fresh("monge_shape"), []int{len(x.Shape)}, x.Shape)
		if err := g.AddInitializer(shape); err != nil {
			return nil, nil, err
		}
		left[n.Input[1]] = true
		n.OpType, n.Attribute = proto.String("Reshape"), nil
		n.Input[1] = shape.Name
	}
	if err := g.Refresh(); err != nil {
		return nil, nil, err
	}
	if err := DropUnread(g, left); err != nil {
		return nil, nil, err
	}
	again, err := coupling.Analyze(m, o)
	return m, again, err
}

// DropUnread removes nodes and constants of which nothing is read any more, from some tensors on
// backwards.
func DropUnread(g *onnxio.Graph, tensors map[string]bool) error {
	for len(tensors) > 0 {
		maps.DeleteFunc(tensors, func(name string, _ bool) bool {
			return name == "" || len(g.Consumers(name)) > 0 || g.IsOutput(name)
		})
		before := map[string]bool{}
		g.Proto.Node = slices.DeleteFunc(g.Proto.Node, func(n *onnxpb.NodeProto) bool {
			read := func(out string) bool { return !tensors[out] && out != "" }
			if !slices.ContainsFunc(n.GetOutput(), func(out string) bool { return tensors[out] }) || slices.ContainsFunc(n.GetOutput(), read) {
				return false
			}
			for _, in := range n.GetInput() {
				before[in] = true
			}
			return true
		})
		dropConstants(g, tensors)
		g.Proto.ValueInfo = slices.DeleteFunc(g.Proto.ValueInfo, func(v *onnxpb.ValueInfoProto) bool { return tensors[v.GetName()] })
		if err := g.Refresh(); err != nil {
			return err
		}
		tensors = before
	}
	return nil
}
