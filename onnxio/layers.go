package onnxio

import "github.com/monge-ml/monge/onnxio/onnxpb"

// Layer is a linear operator with constant weights, and what follows it.
type Layer struct {
	Node *onnxpb.NodeProto
	// Weight and Bias name the constant tensors that hold the parameters,
	// found through Reshape, Transpose and the like. For an RNN, GRU or LSTM
	// Weight is that of the inputs and Recurrent that of the hidden state; for
	// a MatMul, Bias is what the Add after it adds. "" where there is none.
	Weight, Bias, Recurrent string
	// Followers is the chain after Node, each the only reader of the one
	// before: normalization, bias, activation, pooling.
	Followers []*onnxpb.NodeProto
}

// Layers returns the graph's linear layers (Conv, ConvTranspose, Gemm, MatMul
// with one constant side, RNN, GRU, LSTM) in topological order.
func (g *Graph) Layers() []Layer {
	var layers []Layer
	for _, n := range g.Nodes {
		if l, ok := g.layer(n); ok {
			layers = append(layers, l)
		}
	}
	return layers
}

func (g *Graph) layer(n *onnxpb.NodeProto) (Layer, bool) {
	if standardDomain(n.GetDomain()) != "" {
		return Layer{}, false
	}
	l := Layer{Node: n}
	switch n.GetOpType() {
	case "Conv", "ConvTranspose":
		l.Weight, l.Bias = g.parameter(n, 1), g.parameter(n, 2)
	case "Gemm":
		l.Weight, l.Bias = g.parameter(n, 1), g.parameter(n, 2)
		if l.Weight == "" {
			l.Weight = g.parameter(n, 0) // W·X, as some exporters write it
		}
	case "MatMul":
		l.Weight = g.parameter(n, 1)
		if l.Weight == "" {
			l.Weight = g.parameter(n, 0)
		}
	case "RNN", "GRU", "LSTM":
		l.Weight, l.Recurrent, l.Bias = g.parameter(n, 1), g.parameter(n, 2), g.parameter(n, 3)
	}
	if l.Weight == "" {
		return Layer{}, false
	}
	l.Followers = g.followers(n)
	if n.GetOpType() == "MatMul" && len(l.Followers) > 0 && l.Followers[0].GetOpType() == "Add" {
		l.Bias = g.addedBias(l.Followers[0])
	}
	return l, true
}

// addedBias returns the constant side of an Add, if it is a vector along the
// last axis.
func (g *Graph) addedBias(add *onnxpb.NodeProto) string {
	for i := range add.Input {
		name := g.parameter(add, i)
		if name == "" {
			continue
		}
		dims := g.Constant(name).GetDims()
		for _, d := range dims[:max(len(dims)-1, 0)] {
			if d != 1 {
				return ""
			}
		}
		return name
	}
	return ""
}

// parameter returns the name of the constant behind an input of a node; "" if
// the input is absent or computed.
func (g *Graph) parameter(n *onnxpb.NodeProto, input int) string {
	if input >= len(n.Input) {
		return ""
	}
	name := n.Input[input]
	for name != "" {
		home := g.scope(name)
		if home == nil {
			return ""
		}
		if home.Constant(name) != nil {
			return name
		}
		g, n = home, home.producers[name]
		if n == nil || !relays[n.GetOpType()] || standardDomain(n.GetDomain()) != "" || len(n.Input) == 0 {
			return ""
		}
		name = n.Input[0]
	}
	return ""
}

// relays are the operators that pass on the elements of their first input.
var relays = map[string]bool{
	"Reshape": true, "Transpose": true, "Identity": true, "Cast": true,
	"Squeeze": true, "Unsqueeze": true, "Flatten": true,
}

// followers returns the chain of nodes after n that treat channels one by one,
// or normalize them, while each result has a single reader.
func (g *Graph) followers(n *onnxpb.NodeProto) []*onnxpb.NodeProto {
	var chain []*onnxpb.NodeProto
	for {
		next, input, ok := g.onlyReader(n)
		if !ok || standardDomain(next.GetDomain()) != "" {
			return chain
		}
		switch op := next.GetOpType(); {
		case follow[op]:
			if input != 0 {
				return chain
			}
		case followWithConstant[op]:
			for i := range next.Input {
				if i != input && g.parameter(next, i) == "" {
					return chain
				}
			}
		default:
			return chain
		}
		chain = append(chain, next)
		n = next
	}
}

// onlyReader returns the node that reads a result of n, where there is exactly
// one reading of all its results and none is a graph output.
func (g *Graph) onlyReader(n *onnxpb.NodeProto) (reader *onnxpb.NodeProto, input int, ok bool) {
	for _, out := range n.Output {
		if out == "" {
			continue
		}
		if g.IsOutput(out) {
			return nil, 0, false
		}
		for _, c := range g.consumers[out] {
			if reader != nil || c.Input < 0 {
				return nil, 0, false
			}
			reader, input = c.Node, c.Input
		}
	}
	return reader, input, reader != nil
}

// follow are operators of one data input, the first.
var follow = map[string]bool{
	"BatchNormalization": true, "InstanceNormalization": true, "LayerNormalization": true,
	"GroupNormalization": true, "RMSNormalization": true, "LpNormalization": true, "LRN": true,
	"Relu": true, "LeakyRelu": true, "PRelu": true, "Clip": true, "Elu": true, "Selu": true, "Celu": true,
	"Gelu": true, "Mish": true, "Swish": true, "HardSigmoid": true, "HardSwish": true, "Sigmoid": true, "Tanh": true,
	"Softplus": true, "Softsign": true, "ThresholdedRelu": true, "Erf": true, "Softmax": true, "LogSoftmax": true,
	"Dropout": true, "Identity": true, "Cast": true, "Pad": true,
	"MaxPool": true, "AveragePool": true, "LpPool": true,
	"GlobalAveragePool": true, "GlobalMaxPool": true, "GlobalLpPool": true, "ReduceMean": true,
	"Flatten": true, "Squeeze": true,
}

// followWithConstant are element-wise operators of which the other side must
// be constant: a bias or a scale.
var followWithConstant = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true}
