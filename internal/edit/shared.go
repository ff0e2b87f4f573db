package edit

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// unshared returns a model in which no layers have a constant in common that do not belong
// together: a bias or an initial state of zeros, a scale of ones, stored once and read by many,
// would make one space of all their channels. Layers belong together that share a true weight, or
// stand behind or before the same one; what these have in common stays one (the branches of a
// siamese network). Where nothing has to be done the result is the model itself. copies names the
// new constants, and those whose values they have.
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

// maxUniform is the number of elements up to which a constant is looked at for whether all are
// alike.
const maxUniform = 1 << 20

// A sharing says which layers read which constants.
type sharing struct {
	g *onnxio.Graph
	// constant marks the tensors that no input flows into, but its shape perhaps; ties those of
	// them that tie the axes of whatever reads them.
	constant, ties map[string]bool
	// weights are the true weights a constant is made of.
	weights map[string][]string
	classes relation
	// readers are the classes that a constant reaches, first the one that keeps it.
	readers map[string][]string
	copies  map[[2]string]string // by tensor and class
	stored  map[string]string    // copies of stored constants, and of which
	used    map[string]bool      // names
}

func newSharing(g *onnxio.Graph) (*sharing, error) {
	u := &sharing{g: g, constant: map[string]bool{}, ties: map[string]bool{}, weights: map[string][]string{}, readers: map[string][]string{}, copies: map[[2]string]string{}, stored: map[string]string{}}
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
	if n < 2 && len(tp.GetDims()) != 1 { // one number may be the bias of a single channel
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
	u.ties[name] = onnxio.IsFloat(onnxpb.TensorProto_DataType(tp.GetDataType())) || dequantized(u.g, name)
	return nil
}

// dequantized reports whether a constant is integers that stand for real numbers, and nothing else.
func dequantized(g *onnxio.Graph, name string) bool {
	readers := g.Consumers(name)
	return len(readers) > 0 && !slices.ContainsFunc(readers, func(c onnxio.Consumer) bool {
		return c.Input != 0 || c.Node.GetOpType() != "DequantizeLinear"
	})
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
			u.ties[out], u.weights[out] = ties, distinct(weights)
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
	for name, ties := range u.ties {
		if ties && pinned(u.g, name) {
			u.readers[name] = []string{""} // has to keep its name
		}
	}
	for _, n := range u.g.Nodes {
		if !u.makesConstant(n) {
			u.addReaders(n.GetInput(), []string{u.classes.of(n)})
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
		u.addReaders(n.GetOutput(), all)
		u.addReaders(n.GetInput(), all)
	}
}

func (u *sharing) addReaders(tensors, classes []string) {
	for _, name := range tensors {
		for _, c := range classes {
			if u.ties[name] && !slices.Contains(u.readers[name], c) {
				u.readers[name] = append(u.readers[name], c)
			}
		}
	}
}

// pinned reports whether a tensor has to keep its name: it is an output, of the graph or of a
// branch.
func pinned(g *onnxio.Graph, name string) bool {
	return g.IsOutput(name) || slices.ContainsFunc(g.Consumers(name), func(c onnxio.Consumer) bool { return c.Input < 0 })
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
	for _, n := range u.g.Nodes { // copies of nodes have names too
		u.used[n.GetName()] = true
	}
	for _, tp := range slices.Clone(u.g.Proto.GetInitializer()) {
		if err := u.store(tp.GetName(), tp); err != nil {
			return err
		}
	}
	var nodes []*onnxpb.NodeProto
	for _, n := range u.g.Nodes {
		own, err := u.nodes(n)
		if err != nil {
			return err
		}
		nodes = append(nodes, own...)
	}
	u.g.Proto.Node = nodes
	return u.g.Refresh()
}

// nodes returns a node and, where several classes read what it makes of constants, a copy for each
// further one.
func (u *sharing) nodes(n *onnxpb.NodeProto) ([]*onnxpb.NodeProto, error) {
	out := []*onnxpb.NodeProto{n}
	if !u.makesConstant(n) {
		u.read(n, n.GetInput(), u.classes.of(n))
		return out, nil
	}
	inputs := slices.Clone(n.GetInput())
	first := n.GetOutput()[0]
	if tp := u.g.Constant(first); tp != nil {
		return out, u.store(first, tp)
	}
	for i, class := range u.readers[first] {
		c := n
		if i > 0 {
			if !u.shared(first) {
				break
			}
			c = u.copied(n, class)
			out = append(out, c)
		}
		u.read(c, inputs, class)
	}
	return out, nil
}

// copied returns a copy of a node with names of its own, which a class reads.
func (u *sharing) copied(n *onnxpb.NodeProto, class string) *onnxpb.NodeProto {
	c := proto.Clone(n).(*onnxpb.NodeProto)
	if n.GetName() != "" {
		name := u.fresh(n.GetName())
		c.Name = &name
	}
	for k, out := range n.GetOutput() {
		if out != "" {
			c.Output[k] = u.fresh(out)
			u.copies[[2]string{out, class}] = c.Output[k]
		}
	}
	return c
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
		u.copies[[2]string{name, class}], u.stored[t.Name] = t.Name, name
		if err := u.g.AddInitializer(t); err != nil {
			return err
		}
	}
	return nil
}

// read lets a node, whose inputs were named so before, read what a class has of every constant.
func (u *sharing) read(n *onnxpb.NodeProto, inputs []string, class string) {
	for i, in := range inputs {
		n.Input[i] = cmp.Or(u.copies[[2]string{in, class}], in)
	}
}

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
	first  map[string]*onnxpb.NodeProto // by what layers have in common
}

func (r relation) of(n *onnxpb.NodeProto) string { return r.key[r.find(n)] }

func (r relation) find(n *onnxpb.NodeProto) *onnxpb.NodeProto {
	for r.parent[n] != nil {
		n = r.parent[n]
	}
	return n
}

// meet joins a layer with those that stand to the same weights as it does.
func (r relation) meet(n *onnxpb.NodeProto, how string, weights []string) {
	if len(weights) == 0 {
		return
	}
	key := how + strings.Join(weights, "\x00")
	switch first := r.first[key]; {
	case first == nil:
		r.first[key] = n
	case r.find(first) != r.find(n):
		r.parent[r.find(n)] = r.find(first)
	}
}

// relate finds the classes of all nodes that read activations.
func relate(u *sharing) relation {
	r := relation{parent: map[*onnxpb.NodeProto]*onnxpb.NodeProto{}, key: map[*onnxpb.NodeProto]string{}, first: map[string]*onnxpb.NodeProto{}}
	for i, n := range u.g.Nodes {
		r.key[n] = fmt.Sprint(i)
	}
	behind, before := map[string][]string{}, map[string][]string{} // the nearest weights, by activation
	for _, n := range u.g.Nodes {
		if u.makesConstant(n) {
			continue
		}
		own := u.weightsOf(n)
		up := near(n, own, n.GetInput(), behind)
		for _, out := range n.GetOutput() {
			behind[out] = up
		}
		if len(own) > 0 {
			r.meet(n, "own ", up)
		} else {
			r.meet(n, "behind ", up)
		}
	}
	for _, n := range slices.Backward(u.g.Nodes) {
		if u.makesConstant(n) {
			continue
		}
		own := u.weightsOf(n)
		down := near(n, own, n.GetOutput(), before)
		for _, in := range n.GetInput() {
			before[in] = distinct(slices.Concat(before[in], down))
		}
		if len(own) == 0 && len(down) > 0 { // queries and keys, both before what their product reaches, are not one
			up := near(n, nil, n.GetInput(), behind)
			r.meet(n, "between ", slices.Concat(down, []string{""}, up))
		}
	}
	return r
}

// weightsOf lists the true weights that a node reads.
func (u *sharing) weightsOf(n *onnxpb.NodeProto) (out []string) {
	for _, in := range n.GetInput() {
		out = append(out, u.weights[in]...)
	}
	return distinct(out)
}

// maxNear bounds the weights that a tensor is near to.
const maxNear = 64

// near is a node's own weights or, if none, those that its tensors are near. What is multiplied or
// added element by element, as a table of positions that all layers read, is not all that counts.
func near(n *onnxpb.NodeProto, own, tensors []string, of map[string][]string) []string {
	if len(own) > 0 && !onnxio.FactsOf(n).Has(onnxio.Broadcasts) {
		return own
	}
	out := slices.Clone(own)
	for _, t := range tensors {
		out = append(out, of[t]...)
	}
	if out = distinct(out); len(out) > maxNear {
		return []string{"behind much: " + tensors[0]}
	}
	return out
}

// distinct returns the names, sorted, each once.
func distinct(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// Reshare stores once what an edit of the subject's model has left equal: of the constants that
// were stored once in the model as it was given. Sums and means of all channels still are written
// as they were. m is changed.
func (s *Subject) Reshare(m *onnxio.Model) error {
	given, err := s.given.Graph()
	if err != nil {
		return err
	}
	g, err := m.Graph()
	if err != nil {
		return err
	}
	if err := unweigh(g, s.reductions); err != nil {
		return err
	}
	r := reshared{g, given.Names(), map[string]string{}}
	for _, red := range s.reductions {
		r.old[red.row] = true // each is a weight of its own
	}
	if err := r.initializers(); err != nil {
		return err
	}
	if err := r.nodes(); err != nil {
		return err
	}
	if len(r.alias) == 0 {
		return nil
	}
	gone := map[string]bool{}
	for name := range r.alias {
		gone[name] = true
	}
	dropConstants(g, gone)
	g.Proto.ValueInfo = slices.DeleteFunc(g.Proto.ValueInfo, func(v *onnxpb.ValueInfoProto) bool { return gone[v.GetName()] })
	r.advance()
	return g.Refresh()
}

// advance moves the Constant nodes that are read in place of others to the front, since the nodes
// that read them now may have stood before them.
func (r *reshared) advance() {
	read := map[string]bool{}
	for _, name := range r.alias {
		read[name] = true
	}
	first := func(n *onnxpb.NodeProto) int {
		if n.GetOpType() == "Constant" && slices.ContainsFunc(n.GetOutput(), func(out string) bool { return read[out] }) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(r.g.Proto.Node, func(a, b *onnxpb.NodeProto) int { return first(a) - first(b) })
}

// reshared finds tensors of a graph that are equal to others.
type reshared struct {
	g     *onnxio.Graph
	old   map[string]bool   // names that were there before, and stay
	alias map[string]string // tensors that go, and what is read instead
}

// stays reports whether a tensor has to keep its name.
func (r *reshared) stays(name string) bool { return r.old[name] || pinned(r.g, name) }

// nodes finds nodes that compute what another one does, and removes them.
func (r *reshared) nodes() error {
	first := map[string]*onnxpb.NodeProto{} // by formula
	gone := map[*onnxpb.NodeProto]bool{}
	for _, n := range r.g.Nodes {
		for i, in := range n.GetInput() {
			if to, ok := r.alias[in]; ok {
				n.Input[i] = to
			}
		}
		if len(n.GetOutput()) == 0 || n.GetOpType() == "Constant" || len(r.g.Subgraphs(n)) > 0 || random(n) {
			continue
		}
		key, err := formula(n)
		if err != nil {
			return err
		}
		same := first[key]
		if same == nil {
			first[key] = n
			continue
		}
		if slices.ContainsFunc(n.GetOutput(), r.stays) {
			continue
		}
		for i, out := range n.GetOutput() {
			r.alias[out] = same.GetOutput()[i]
		}
		gone[n] = true
	}
	r.g.Proto.Node = slices.DeleteFunc(r.g.Proto.Node, func(n *onnxpb.NodeProto) bool { return gone[n] })
	return nil
}

// initializers finds for new initializers other constants that hold the same.
func (r *reshared) initializers() error {
	form := func(t *onnxpb.TensorProto) string { return fmt.Sprint(t.GetDataType(), t.GetDims()) }
	kept := map[string][]*onnxpb.TensorProto{}
	keep := func(t *onnxpb.TensorProto) { kept[form(t)] = append(kept[form(t)], t) }
	var fresh []*onnxpb.TensorProto
	for _, t := range r.g.Proto.GetInitializer() {
		if r.stays(t.GetName()) {
			keep(t)
		} else {
			fresh = append(fresh, t)
		}
	}
	for _, n := range r.g.Nodes {
		for _, out := range n.GetOutput() {
			if t := r.g.Constant(out); t != nil {
				keep(t)
			}
		}
	}
	for _, t := range fresh {
		same, err := r.equal(t, kept[form(t)])
		if err != nil {
			return err
		}
		if same != "" {
			r.alias[t.GetName()] = same
		} else {
			keep(t)
		}
	}
	return nil
}

// equal is the name of one of several constants that holds what t does, or "".
func (r *reshared) equal(t *onnxpb.TensorProto, others []*onnxpb.TensorProto) (string, error) {
	mine, err := r.g.Model.Tensor(t)
	if err != nil || mine.Len() > maxUniform {
		return "", err
	}
	data := mine.Proto().GetRawData()
	for _, o := range others {
		other, err := r.g.Model.Tensor(o)
		if err != nil {
			return "", err
		}
		if bytes.Equal(data, other.Proto().GetRawData()) {
			return o.GetName(), nil
		}
	}
	return "", nil
}

// formula is what a node computes: all of it but its names.
func formula(n *onnxpb.NodeProto) (string, error) {
	c := &onnxpb.NodeProto{OpType: n.OpType, Domain: n.Domain, Input: n.Input, Attribute: n.Attribute}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	return fmt.Sprint(len(n.GetOutput()), string(b)), err
}
