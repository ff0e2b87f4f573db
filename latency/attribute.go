package latency

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A profiled model has numbers for names of nodes, by which the operators of onnxruntime's optimised
// graph are told.
type profiled struct {
	model *onnxio.Model
	graph *onnxio.Graph // of the model as it was
}

// numbered returns a copy of a model whose nodes are named by their numbers.
func numbered(m *onnxio.Model) (*profiled, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	out := m.Clone()
	own, err := out.Graph()
	if err != nil {
		return nil, err
	}
	for i, n := range own.Nodes {
		n.Name = proto.String(fmt.Sprintf("monge_%d_", i))
	}
	return &profiled{out, g}, nil
}

var number = regexp.MustCompile(`monge_(\d+)_`)

// names gives, for each operator that was run, the node that it mostly is: -1 where that cannot be
// told.
//
// onnxruntime names what it fuses after one of the nodes, or, where it lays channels out in blocks,
// after the output, which is that of the last of the nodes: then the node with the operator is looked
// for before it.
func (p *profiled) nodesOf(kernels []engine.Kernel) []int {
	index := map[*onnxpb.NodeProto]int{}
	for i, n := range p.graph.Nodes {
		index[n] = i
	}
	out := make([]int, len(kernels))
	taken := map[int]bool{}
	last := map[int]int{} // kernels that are named after the last of several nodes
	for k, kernel := range kernels {
		out[k] = -1
		at := -1
		if m := number.FindStringSubmatch(kernel.Name); m != nil {
			if i, err := strconv.Atoi(m[1]); err == nil && i < len(p.graph.Nodes) {
				at = i
			}
		} else if n := p.graph.Producer(strings.TrimSuffix(kernel.Name, "_nchwc")); n != nil {
			at = index[n]
		}
		switch {
		case at < 0:
		case same(kernel.Op, p.graph.Nodes[at].GetOpType()):
			out[k], taken[at] = at, true
		default:
			last[k] = at
		}
	}
	for k := range kernels {
		if at, ok := last[k]; ok {
			out[k] = p.before(at, kernels[k].Op, index, taken)
			taken[out[k]] = true
		}
	}
	return out
}

// fusedBefore is how many nodes are looked at before the last one that was fused.
const fusedBefore = 12

// before is the nearest node before one, and not further than a few nodes, with an operator; or the
// node itself.
func (p *profiled) before(at int, op string, index map[*onnxpb.NodeProto]int, taken map[int]bool) int {
	queue := []int{at}
	for i := 0; i < len(queue) && i < fusedBefore; i++ {
		for _, in := range p.graph.Nodes[queue[i]].GetInput() {
			n := p.graph.Producer(in)
			if n == nil || slices.Contains(queue, index[n]) || taken[index[n]] {
				continue
			}
			if same(op, n.GetOpType()) {
				return index[n]
			}
			queue = append(queue, index[n])
		}
	}
	return at
}

// same reports whether an operator of onnxruntime's optimised graph is one of the model.
func same(kernel, op string) bool {
	return kernel == op || strings.TrimPrefix(kernel, "Fused") == op || kernel == "Upsample" && op == "Resize"
}

// spread adds up what nodes take: what cannot be told to be a node's is that of the one before it, or,
// of what is laid out anew to be read, of the one behind it.
func (p *profiled) spread(kernels []engine.Kernel, ms []float64) map[*onnxpb.NodeProto]float64 {
	of := p.nodesOf(kernels)
	for k := range of { // from the front: the one before is known
		if of[k] < 0 && k > 0 && kernels[k].Op != "ReorderInput" {
			of[k] = of[k-1]
		}
	}
	for k := len(of) - 2; k >= 0; k-- {
		if of[k] < 0 {
			of[k] = of[k+1]
		}
	}
	out := map[*onnxpb.NodeProto]float64{}
	for k, i := range of {
		if i >= 0 {
			out[p.graph.Nodes[i]] += ms[k]
		}
	}
	return out
}
