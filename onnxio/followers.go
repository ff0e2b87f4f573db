package onnxio

import (
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// param describes an input of a node.
func (g *Graph) param(n *onnxpb.NodeProto, input int) Param {
	p := Param{Node: n, Input: input}
	for name := p.Tensor(); name != ""; name = n.Input[0] {
		home := g.scope(name)
		if home == nil {
			return p
		}
		if home.Constant(name) != nil {
			p.Name = name
			return p
		}
		g, n = home, home.Producer(name)
		if n == nil || !relays(n) || len(n.Input) == 0 {
			return p
		}
		p.moved = p.moved || n.GetOpType() != "Identity" && n.GetOpType() != "Cast"
	}
	return p
}

// relays reports whether a node passes on the elements of its first input, if perhaps in another
// type.
func relays(n *onnxpb.NodeProto) bool {
	return FactsOf(n).Has(Rearranges) || StandardOp(n) == "Cast"
}

// Followers returns the chain of nodes after n that treat channels one by one, pool or normalize
// them, each the only reader of the one before.
func (g *Graph) Followers(n *onnxpb.NodeProto) []*onnxpb.NodeProto {
	var chain []*onnxpb.NodeProto
	for {
		c, ok := g.onlyReader(n)
		if !ok || !g.follows(c) {
			return chain
		}
		n = c.Node
		chain = append(chain, n)
	}
}

func (g *Graph) follows(c Consumer) bool {
	switch op := StandardOp(c.Node); {
	case slices.Contains(following, op) || FactsOf(c.Node).Has(Pointwise):
		return c.Input == 0
	case op == "Add", op == "Sub", op == "Mul", op == "Div": // with a bias or a scale
		for i := range c.Node.Input {
			if i != c.Input && g.param(c.Node, i).Name == "" {
				return false
			}
		}
		return true
	}
	return false
}

// onlyReader returns the only reading of all results of n together.
func (g *Graph) onlyReader(n *onnxpb.NodeProto) (reader Consumer, ok bool) {
	for _, out := range n.Output {
		if out == "" || len(g.consumers[out]) == 0 && !g.IsOutput(out) {
			continue
		}
		c, alone := g.OnlyReader(out)
		if !alone || ok {
			return Consumer{}, false
		}
		reader, ok = c, true
	}
	return reader, ok
}

// following are operators of one data input, the first, beside those that see its elements one by
// one.
var following = strings.Fields(`
	BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization LpNormalization
	LRN PRelu Softmax LogSoftmax Dropout Identity Cast Pad MaxPool AveragePool LpPool
	GlobalAveragePool GlobalMaxPool GlobalLpPool ReduceMean Flatten Squeeze`)
