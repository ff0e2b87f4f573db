package admit

import "github.com/monge-ml/monge/onnxio/onnxpb"

// mostNodes is how many nodes a model may have once its functions are written out, as onnxruntime
// does with them: some hundred times what networks have.
const mostNodes = 1 << 20

// A unit counts the nodes of functions, each once.
type unit struct {
	functions map[[3]string]*onnxpb.FunctionProto
	nodes     map[*onnxpb.FunctionProto]float64
}

// writtenOut is the number of nodes of a model whose functions are written out. Those of functions
// that call themselves, which onnxruntime refuses, are not counted again.
func writtenOut(m *onnxpb.ModelProto) float64 {
	u := unit{map[[3]string]*onnxpb.FunctionProto{}, map[*onnxpb.FunctionProto]float64{}}
	for _, f := range m.GetFunctions() {
		u.functions[[3]string{f.GetDomain(), f.GetName(), f.GetOverload()}] = f
	}
	return u.count(m.GetGraph().GetNode())
}

func (u unit) count(nodes []*onnxpb.NodeProto) float64 {
	n := float64(len(nodes))
	for _, node := range nodes {
		for _, a := range node.GetAttribute() {
			n += u.count(a.GetG().GetNode())
			for _, g := range a.GetGraphs() {
				n += u.count(g.GetNode())
			}
		}
		f := u.functions[[3]string{node.GetDomain(), node.GetOpType(), node.GetOverload()}]
		if f == nil {
			continue
		}
		if _, known := u.nodes[f]; !known {
			u.nodes[f] = 0 // while it is counted
			u.nodes[f] = u.count(f.GetNode())
		}
		n += u.nodes[f]
	}
	return n
}
