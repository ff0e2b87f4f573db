package diff

import (
	"cmp"
	"slices"

	"github.com/monge-ml/monge/onnxio"
)

// A Stage is a place in the first model that a drawing of it shows: an input or output, a linear
// operator, or an operator in which the results of several meet. What lies between two stages acts
// on one stream of activations, and is left out.
type Stage struct {
	Name string
	Op   string // of the node; "" of inputs and outputs
	Kind StageKind
	// From lists the stages whose results come in, by index, in rising order. They come first.
	From []int
	// Weight is the name of a linear operator's weight, "" where it is not known, or there is none;
	// Dims are its sizes in the two models, nil then.
	Weight string
	Dims   [2][]int
	// Widths are the numbers of output channels of a linear operator in the two models, 0 where that
	// is not known.
	Widths [2]int
	// Gone: the second model has no such node.
	Gone bool
	// Rank is the number of channels between the two operators that the second model has in the place
	// of this one, 0 where it has one. First are the sizes of the first one's weight.
	Rank  int
	First []int
	// Space is the name of the space of the channels, "" where it is not known; Whole says why its
	// width cannot change, "" if it can.
	Space string
	Whole string
}

// StageKind says what a stage is.
type StageKind int

const (
	InputStage StageKind = iota
	LayerStage
	JoinStage // of several streams
	OutputStage
)

// A flower finds the stages of a model.
type flower struct {
	*layers
	from   map[string]int // by tensor: the stage that it comes of
	stages []Stage
}

// flow lists the stages of the first model in topological order. weights are what linear operators
// read.
func (l *layers) flow(weights []Weight) []Stage {
	f := &flower{layers: l, from: map[string]int{}}
	for _, in := range l.a.graph.Inputs() {
		f.from[in.GetName()] = f.add(Stage{Name: in.GetName()})
	}
	of := map[string]*Weight{}
	for i := range weights {
		if w := &weights[i]; w.Linear {
			of[w.Node] = w
		}
	}
	for _, n := range l.p.nodesA {
		f.node(n, of[nameOf(n)])
	}
	for _, out := range l.a.graph.Outputs() {
		s := Stage{Name: out.GetName(), Kind: OutputStage}
		if at, ok := f.from[out.GetName()]; ok {
			s.From = []int{at}
		}
		f.add(s)
	}
	return f.stages
}

func (f *flower) add(s Stage) int {
	f.stages = append(f.stages, s)
	return len(f.stages) - 1
}

// node follows what comes into a node; w is the weight that it reads if it is linear.
func (f *flower) node(n *node, w *Weight) {
	if op := onnxio.StandardOp(n); op == "Shape" || op == "Size" {
		return // of activations nothing but sizes
	}
	var from []int
	for _, in := range n.GetInput() {
		if at, ok := f.from[in]; ok && !slices.Contains(from, at) {
			from = append(from, at)
		}
	}
	slices.Sort(from)
	l, linear := f.a.graph.Linear(n)
	linear = linear && l.Weight.Name != ""
	at := -1
	switch {
	case linear:
		at = f.add(f.layer(n, w, from))
	case len(from) > 1:
		at = f.add(Stage{Name: nameOf(n), Op: f.a.form.Operator(n), Kind: JoinStage, From: from, Gone: f.p.to[n] == nil})
	case len(from) == 1:
		at = from[0]
	default:
		return // made of constants
	}
	for _, out := range n.GetOutput() {
		if out != "" {
			f.from[out] = at
		}
	}
}

// layer is the stage of a linear operator.
func (f *flower) layer(n *node, w *Weight, from []int) Stage {
	s := Stage{Name: nameOf(n), Op: f.a.form.Operator(n), Kind: LayerStage, From: from, Gone: f.p.to[n] == nil}
	s.Widths[0] = f.a.width(n)
	if t := f.a.weightOf(n); t != nil {
		s.Weight, s.Dims[0] = t.Name, t.Dims
	}
	if w != nil {
		s.Widths = w.Widths
		if w.Before != nil && w.After != nil {
			s.Dims = [2][]int{w.Before.Dims, w.After.Dims}
		}
	}
	if first := f.first(n); first != nil {
		s.Rank = f.b.width(first)
		if t := f.b.weightOf(first); t != nil {
			s.First = t.Dims
		}
	}
	if f.a.analysis == nil {
		return s
	}
	axis := f.a.outputs(n)
	if axis == nil {
		return s
	}
	for _, atom := range axis.Atoms() {
		if sp := f.a.analysis.SpaceOf(atom); sp != nil {
			s.Space, s.Whole = sp.Name, cmp.Or(sp.Reason, sp.Rigid)
			break
		}
	}
	return s
}

// first is an operator that the second model has before the counterpart of a node, of the same kind
// and with fewer channels, where the first model has none; nil if there is none.
func (f *flower) first(n *node) *node {
	y := f.p.to[n]
	if y == nil || len(y.GetInput()) == 0 {
		return nil
	}
	first := f.b.graph.Producer(y.GetInput()[0])
	if first == nil || f.p.from[first] != nil || operator(first) != operator(y) {
		return nil
	}
	if l, ok := f.b.graph.Linear(first); !ok || l.Weight.Name == "" || f.b.width(first) >= f.b.width(y) {
		return nil
	}
	return first
}

// weightOf describes the weight of a linear operator.
func (s *side) weightOf(n *node) *Tensor {
	l, _ := s.graph.Linear(n)
	return s.describe(s.weight(n.GetInput()[l.Weight.Input]))
}
