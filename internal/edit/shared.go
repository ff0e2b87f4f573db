package edit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// unshared returns a model in which no layers have a constant in common that do
// not belong together: a bias or an initial state of zeros, a scale of ones,
// stored once and read by many, would make one space of all their channels.
// Layers belong together that share a true weight, or stand behind or before the
// same one; what these have in common stays one (the branches of a siamese
// network). Where nothing has to be done the result is the model itself. copies
// names the new constants, and those whose values they have.
func unshared(m *onnxio.Model) (_ *onnxio.Model, copies map[string]string, err error) {
	g, err := m.Graph()
	if err != nil {
		return nil, nil, err
	}
	u, err := newSharing(g)
	if err != nil || !u.any() {
		return m, nil, err
	}
	m = m.Clone()
	if g, err = m.Graph(); err != nil {
		return nil, nil, err
	}
	if u, err = newSharing(g); err != nil {
		return nil, nil, err
	}
	return m, u.stored, u.separate()
}

// maxUniform is the number of elements up to which a constant is looked at for
// whether all are alike.
const maxUniform = 1 << 20

// A sharing says which layers read which constants.
type sharing struct {
	g *onnxio.Graph
	// constant marks the tensors that no input flows into, but its shape perhaps;
	// ties those of them that tie the axes of whatever reads them.
	constant, ties map[string]bool
	// weights are the true weights a constant is made of.
	weights map[string][]string
	classes relation
	// readers are the classes of layers that a constant reaches, first the one that
	// keeps it.
	readers map[string][]string
	copies  map[string]string // by tensor and class
	stored  map[string]string // copies of stored constants, and of which
	used    map[string]bool   // names
}

func newSharing(g *onnxio.Graph) (*sharing, error) {
	u := &sharing{g: g, constant: map[string]bool{}, ties: map[string]bool{}, weights: map[string][]string{}, readers: map[string][]string{}, copies: map[string]string{}, stored: map[string]string{}}
	for _, tp := range g.Proto.GetInitializer() {
		if err := u.value(tp.GetName(), tp); err != nil {
			return nil, err
		}
	}
	for _, n := range g.Nodes {
		if err := u.node(n); err != nil {
			return nil, err
		}
	}
	u.classes = relate(u)
	u.reach()
	return u, nil
}

// value enters an initializer, or what a Constant node holds.
func (u *sharing) value(name string, tp *onnxpb.TensorProto) error {
	u.constant[name] = true
	n, longest := int64(1), int64(1)
	for _, d := range tp.GetDims() {
		n *= d
		longest = max(longest, d)
	}
	if n < 2 {
		return nil
	}
	vector := n == longest
	if !vector && n <= maxUniform && onnxio.IsFloat(onnxpb.TensorProto_DataType(tp.GetDataType())) {
		t, err := u.g.Model.Tensor(tp)
		if err != nil {
			return err
		}
		v := t.Float64()
		vector = !slices.ContainsFunc(v, func(x float64) bool { return x != v[0] })
	}
	if !vector {
		u.weights[name] = []string{name}
		return nil
	}
	u.ties[name] = onnxio.IsFloat(onnxpb.TensorProto_DataType(tp.GetDataType()))
	return nil
}

// node enters what a node makes of constants.
func (u *sharing) node(n *onnxpb.NodeProto) error {
	if len(n.GetOutput()) == 1 {
		if tp := u.g.Constant(n.GetOutput()[0]); tp != nil {
			return u.value(n.GetOutput()[0], tp)
		}
	}
	shape := n.GetOpType() == "Shape" || n.GetOpType() == "Size"
	var weights []string
	ties := n.GetOpType() == "Concat" || n.GetOpType() == "ConstantOfShape"
	for _, in := range n.GetInput() {
		if in != "" && !shape && !u.constant[in] {
			return nil
		}
		ties = ties || u.ties[in]
		weights = append(weights, u.weights[in]...)
	}
	if len(u.g.Subgraphs(n)) > 0 || random(n) {
		return nil
	}
	for _, out := range n.GetOutput() {
		u.constant[out] = true
		if !shape {
			u.ties[out], u.weights[out] = ties, slices.Compact(slices.Sorted(slices.Values(weights)))
		}
	}
	return nil
}

// random reports whether a node gives something else every time.
func random(n *onnxpb.NodeProto) bool {
	op := n.GetOpType()
	return strings.HasPrefix(op, "Random") || op == "Multinomial" || op == "Bernoulli" || op == "Dropout"
}

// reach finds which classes of layers every constant reaches.
func (u *sharing) reach() {
	add := func(name string, classes ...string) {
		for _, c := range classes {
			if u.ties[name] && !slices.Contains(u.readers[name], c) {
				u.readers[name] = append(u.readers[name], c)
			}
		}
	}
	for name, ties := range u.ties {
		if !ties {
			continue
		}
		if u.g.IsOutput(name) || slices.ContainsFunc(u.g.Consumers(name), func(c onnxio.Consumer) bool { return c.Input < 0 }) {
			u.readers[name] = []string{""} // has to keep its name
		}
	}
	for _, n := range u.g.Nodes {
		if u.makesConstant(n) {
			continue
		}
		for _, in := range n.GetInput() {
			add(in, u.classes.of(n))
		}
	}
	for _, n := range slices.Backward(u.g.Nodes) {
		if !u.makesConstant(n) {
			continue
		}
		var all []string // one node makes all its outputs
		for _, out := range n.GetOutput() {
			all = append(all, u.readers[out]...)
		}
		for _, out := range n.GetOutput() {
			add(out, all...)
		}
		for _, in := range n.GetInput() {
			add(in, all...)
		}
	}
}

func (u *sharing) makesConstant(n *onnxpb.NodeProto) bool {
	return len(n.GetOutput()) > 0 && u.constant[n.GetOutput()[0]]
}

// shared reports whether a constant has to be stored several times.
func (u *sharing) shared(name string) bool { return u.ties[name] && len(u.readers[name]) > 1 }

func (u *sharing) any() bool {
	for name := range u.ties {
		if u.shared(name) {
			return true
		}
	}
	return false
}

// separate makes the copies, and lets every layer read its own.
func (u *sharing) separate() error {
	u.used = u.g.Names()
	var nodes []*onnxpb.NodeProto
	for _, tp := range slices.Clone(u.g.Proto.GetInitializer()) {
		if err := u.store(tp.GetName(), tp); err != nil {
			return err
		}
	}
	for _, n := range u.g.Nodes {
		nodes = append(nodes, n)
		if !u.makesConstant(n) {
			u.read(n, n, u.classes.of(n))
			continue
		}
		first := n.GetOutput()[0]
		if tp := u.g.Constant(first); tp != nil {
			if err := u.store(first, tp); err != nil {
				return err
			}
			continue
		}
		for i, class := range u.readers[first] {
			c := n
			if i > 0 && u.shared(first) {
				c = proto.Clone(n).(*onnxpb.NodeProto)
				if n.GetName() != "" {
					name := u.fresh(n.GetName())
					c.Name = &name
				}
				for k, out := range n.GetOutput() {
					if out != "" {
						c.Output[k] = u.fresh(out)
						u.copies[copyKey(out, class)] = c.Output[k]
					}
				}
				nodes = append(nodes, c)
			}
			if i == 0 || c != n {
				u.read(c, n, class)
			}
		}
	}
	u.g.Proto.Node = nodes
	return u.g.Refresh()
}

// store makes the copies of a stored constant.
func (u *sharing) store(name string, tp *onnxpb.TensorProto) error {
	if !u.shared(name) {
		return nil
	}
	for _, class := range u.readers[name][1:] {
		t, err := u.g.Model.Tensor(tp)
		if err != nil {
			return err
		}
		t.Name = u.fresh(name)
		u.copies[copyKey(name, class)], u.stored[t.Name] = t.Name, name
		if err := u.g.AddInitializer(t); err != nil {
			return err
		}
	}
	return nil
}

// read lets a node read what its class has of every constant.
func (u *sharing) read(c, n *onnxpb.NodeProto, class string) {
	for i, in := range n.GetInput() {
		if own := u.copies[copyKey(in, class)]; own != "" {
			c.Input[i] = own
		}
	}
}

func copyKey(tensor, class string) string { return tensor + "\x00" + class }

func (u *sharing) fresh(prefix string) string {
	for i := 1; ; i++ {
		if name := fmt.Sprintf("%s_%d", prefix, i); !u.used[name] {
			u.used[name] = true
			return name
		}
	}
}

// A relation sorts layers into classes that belong together.
type relation struct {
	parent map[*onnxpb.NodeProto]*onnxpb.NodeProto
	key    map[*onnxpb.NodeProto]string
}

func (r relation) of(n *onnxpb.NodeProto) string { return r.key[r.find(n)] }

func (r relation) find(n *onnxpb.NodeProto) *onnxpb.NodeProto {
	for r.parent[n] != nil {
		n = r.parent[n]
	}
	return n
}

// maxNear bounds the weights that a tensor is near to.
const maxNear = 64

// relate finds the classes of all nodes that read activations.
func relate(u *sharing) relation {
	r := relation{parent: map[*onnxpb.NodeProto]*onnxpb.NodeProto{}, key: map[*onnxpb.NodeProto]string{}}
	behind, before := map[string][]string{}, map[string][]string{} // the nearest weights, by activation
	own := func(n *onnxpb.NodeProto) (out []string) {
		for _, in := range n.GetInput() {
			out = append(out, u.weights[in]...)
		}
		return slices.Compact(slices.Sorted(slices.Values(out)))
	}
	near := func(n *onnxpb.NodeProto, tensors []string, of map[string][]string) (out []string) {
		if out = own(n); len(out) > 0 {
			return out
		}
		for _, t := range tensors {
			out = append(out, of[t]...)
		}
		if out = slices.Compact(slices.Sorted(slices.Values(out))); len(out) > maxNear {
			return []string{"behind much: " + tensors[0]}
		}
		return out
	}
	seen := map[string]*onnxpb.NodeProto{}
	meet := func(n *onnxpb.NodeProto, how string, weights []string) {
		if len(weights) == 0 {
			return
		}
		key := how + strings.Join(weights, "\x00")
		switch first := seen[key]; {
		case first == nil:
			seen[key] = n
		case r.find(first) != r.find(n):
			r.parent[r.find(n)] = r.find(first)
		}
	}
	for i, n := range u.g.Nodes {
		r.key[n] = fmt.Sprint(i)
		if u.makesConstant(n) {
			continue
		}
		up := near(n, n.GetInput(), behind)
		for _, out := range n.GetOutput() {
			behind[out] = up
		}
		how := "behind "
		if len(own(n)) > 0 {
			how = "own "
		}
		meet(n, how, up)
	}
	for _, n := range slices.Backward(u.g.Nodes) {
		if u.makesConstant(n) {
			continue
		}
		down := near(n, n.GetOutput(), before)
		for _, in := range n.GetInput() {
			before[in] = slices.Compact(slices.Sorted(slices.Values(slices.Concat(before[in], down))))
		}
		if len(own(n)) == 0 {
			meet(n, "before ", down)
		}
	}
	return r
}

// Reshare stores once what an edit of the subject's model has left equal: of the
// constants that were stored once in the model as it was given. m is changed.
func (s *Subject) Reshare(m *onnxio.Model) error {
	given, err := s.given.Graph()
	if err != nil {
		return err
	}
	g, err := m.Graph()
	if err != nil {
		return err
	}
	old := given.Names()
	alias := map[string]string{}
	pinned := func(name string) bool {
		return g.IsOutput(name) || slices.ContainsFunc(g.Consumers(name), func(c onnxio.Consumer) bool { return c.Input < 0 })
	}
	if err := sameInitializers(g, old, pinned, alias); err != nil {
		return err
	}
	seen := map[string]*onnxpb.NodeProto{}
	gone := map[*onnxpb.NodeProto]bool{}
	for _, n := range g.Nodes {
		for i, in := range n.GetInput() {
			if to, ok := alias[in]; ok {
				n.Input[i] = to
			}
		}
		if len(n.GetOutput()) == 0 || n.GetOpType() == "Constant" || len(g.Subgraphs(n)) > 0 || random(n) {
			continue
		}
		key, err := formula(n)
		if err != nil {
			return err
		}
		first := seen[key]
		if first == nil {
			seen[key] = n
			continue
		}
		if slices.ContainsFunc(n.GetOutput(), func(out string) bool { return old[out] || pinned(out) }) || len(first.GetOutput()) != len(n.GetOutput()) {
			continue
		}
		for i, out := range n.GetOutput() {
			alias[out] = first.GetOutput()[i]
		}
		gone[n] = true
	}
	if len(alias) == 0 {
		return nil
	}
	g.Proto.Node = slices.DeleteFunc(g.Proto.Node, func(n *onnxpb.NodeProto) bool { return gone[n] })
	g.Proto.Initializer = slices.DeleteFunc(g.Proto.Initializer, func(t *onnxpb.TensorProto) bool { return alias[t.GetName()] != "" })
	g.Proto.Input = slices.DeleteFunc(g.Proto.Input, func(v *onnxpb.ValueInfoProto) bool { return alias[v.GetName()] != "" })
	g.Proto.ValueInfo = slices.DeleteFunc(g.Proto.ValueInfo, func(v *onnxpb.ValueInfoProto) bool { return alias[v.GetName()] != "" })
	return g.Refresh()
}

// sameInitializers finds for new initializers others that hold the same.
func sameInitializers(g *onnxio.Graph, old map[string]bool, pinned func(string) bool, alias map[string]string) error {
	shape := func(t *onnxpb.TensorProto) string { return fmt.Sprint(t.GetDataType(), t.GetDims()) }
	kept := map[string][]*onnxpb.TensorProto{}
	var fresh []*onnxpb.TensorProto
	for _, t := range g.Proto.GetInitializer() {
		if old[t.GetName()] || pinned(t.GetName()) {
			kept[shape(t)] = append(kept[shape(t)], t)
		} else {
			fresh = append(fresh, t)
		}
	}
	for _, n := range g.Nodes {
		for _, out := range n.GetOutput() {
			if t := g.Constant(out); t != nil {
				kept[shape(t)] = append(kept[shape(t)], t)
			}
		}
	}
	for _, t := range fresh {
		v, err := g.Model.Tensor(t)
		if err != nil {
			return err
		}
		if v.Len() > maxUniform {
			continue
		}
		mine := v.Proto().GetRawData()
		for _, o := range kept[shape(t)] {
			w, err := g.Model.Tensor(o)
			if err != nil {
				return err
			}
			if bytes.Equal(mine, w.Proto().GetRawData()) {
				alias[t.GetName()] = o.GetName()
				break
			}
		}
		if alias[t.GetName()] == "" {
			kept[shape(t)] = append(kept[shape(t)], t)
		}
	}
	return nil
}

// formula is what a node computes: all of it but its names.
func formula(n *onnxpb.NodeProto) (string, error) {
	c := &onnxpb.NodeProto{OpType: n.OpType, Domain: n.Domain, Input: n.Input, Attribute: n.Attribute}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	return fmt.Sprint(len(n.GetOutput()), string(b)), err
}
