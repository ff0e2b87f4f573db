package lossless

import (
	"context"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// computing lists the operators after which weights are no longer those that the
// file keeps: a scale by their norm, for one (weight normalisation, Salimans &
// Kingma 2016). Channels of what is computed so cannot be edited where it is
// stored.
var computing = []string{"Abs", "Add", "Div", "Exp", "Mul", "Neg", "Pow", "Reciprocal", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare", "Sqrt", "Sub"}

// recurrent operators read weights that exporters put together gate by gate.
var recurrent = []string{"GRU", "LSTM", "RNN"}

// compute has onnxruntime compute what depends on weights alone, once, where the
// weights cannot be edited otherwise and the result takes no more of the file.
// Nothing is done without onnxruntime.
func compute(ctx context.Context, m *onnxio.Model, o Options) error {
	g, err := m.Graph()
	if err != nil {
		return err
	}
	names, roots := computable(g)
	if len(names) == 0 {
		return nil
	}
	cut, err := stats.Extract(m, roots, names) // a model without inputs cannot be run
	if err != nil {
		return err
	}
	s, err := engine.Open(cut, engine.Options{Threads: o.Threads})
	if err != nil { // there is no onnxruntime, or it does not take the model
		return nil
	}
	defer s.Close()
	in := map[string]*engine.Value{}
	for _, name := range roots {
		if in[name], err = m.Tensor(g.Constant(name)); err != nil {
			return err
		}
	}
	values, err := s.Run(ctx, in)
	if err != nil {
		return ctx.Err()
	}
	for _, name := range names {
		made, v := g.Producer(name), values[name]
		if onnxio.StoredBytes(v.Type, int64(v.Len())) > freed(g, name) {
			continue // integers that are scaled take a quarter of what they stand for
		}
		g.Proto.Node = slices.DeleteFunc(g.Proto.Node, func(n *onnxpb.NodeProto) bool { return n == made })
		g.Proto.ValueInfo = slices.DeleteFunc(g.Proto.ValueInfo, func(v *onnxpb.ValueInfoProto) bool { return v.GetName() == name })
		g.Proto.Initializer = append(g.Proto.Initializer, onnxio.NewTensor(name, v.Type, v.Dims, v.Float64()).Proto())
	}
	return g.Refresh()
}

// freed is what the constants occupy that only a tensor is computed from.
func freed(g *onnxio.Graph, tensor string) int64 {
	makers := map[*onnxpb.NodeProto]bool{}
	constants := map[string]bool{}
	for todo := []string{tensor}; len(todo) > 0; {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n := g.Producer(name)
		switch {
		case g.Constant(name) != nil:
			constants[name] = true
		case n != nil && !makers[n]:
			makers[n] = true
			todo = append(todo, n.GetInput()...)
		}
	}
	total := int64(0)
	for name := range constants {
		if g.IsOutput(name) || slices.ContainsFunc(g.Consumers(name), func(c onnxio.Consumer) bool { return c.Input < 0 || !makers[c.Node] }) {
			continue
		}
		t := g.Constant(name)
		n := int64(1)
		for _, d := range t.GetDims() {
			n *= d
		}
		total += onnxio.StoredBytes(onnxpb.TensorProto_DataType(t.GetDataType()), n)
	}
	return total
}

// computable lists the tensors that are made of constants by arithmetic, or put
// together for a recurrent operator, and are read as weights; roots are stored
// constants that they are made of, one for each at least.
func computable(g *onnxio.Graph) (names, roots []string) {
	type origin struct {
		root     string // the largest constant
		size     int    // its elements
		computed bool
		joined   bool
	}
	constant := map[string]*origin{}
	stored := func(name string) *origin {
		t := g.Constant(name)
		if t == nil {
			return nil
		}
		o := &origin{root: name, size: 1}
		for _, d := range t.GetDims() {
			o.size *= int(d)
		}
		return o
	}
	known := func(name string) *origin {
		if o := constant[name]; o != nil {
			return o
		}
		return stored(name)
	}
	for _, n := range g.Nodes {
		if d := n.GetDomain(); d != "" && d != "ai.onnx" || len(n.GetOutput()) != 1 || n.GetOpType() == "Constant" || len(n.GetInput()) == 0 || len(g.Subgraphs(n)) > 0 {
			continue
		}
		all := &origin{computed: slices.Contains(computing, n.GetOpType()), joined: n.GetOpType() == "Concat"}
		for _, in := range n.GetInput() {
			if in == "" {
				continue
			}
			o := known(in)
			if o == nil {
				all = nil
				break
			}
			if o.size > all.size {
				all.root, all.size = o.root, o.size
			}
			all.computed, all.joined = all.computed || o.computed, all.joined || o.joined
		}
		if all != nil && !slices.Contains([]string{"RandomNormal", "RandomUniform", "Multinomial", "ConstantOfShape", "Expand", "Tile"}, n.GetOpType()) {
			constant[n.GetOutput()[0]] = all
		}
	}
	for _, n := range g.Nodes {
		if len(n.GetOutput()) == 0 || constant[n.GetOutput()[0]] != nil {
			continue
		}
		for i, in := range n.GetInput() {
			o := constant[in]
			if o == nil || i == 0 || o.size < 2 || slices.Contains(names, in) || g.IsOutput(in) {
				continue
			}
			linear := slices.Contains([]string{"Conv", "ConvTranspose", "Gemm", "MatMul"}, n.GetOpType())
			if o.computed && linear || (o.computed || o.joined) && slices.Contains(recurrent, n.GetOpType()) {
				names = append(names, in)
				if !slices.Contains(roots, o.root) {
					roots = append(roots, o.root)
				}
			}
		}
	}
	return names, roots
}
