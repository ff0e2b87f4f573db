package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// An Inspection describes one model.
type Inspection struct {
	Model     string            `json:"model"` // path
	IRVersion int64             `json:"ir_version"`
	Opsets    map[string]int64  `json:"opsets"`   // version by domain; "" is the standard one
	Producer  string            `json:"producer"` // name and version
	Metadata  map[string]string `json:"metadata"`
	Inputs    []Value           `json:"inputs"`
	Outputs   []Value           `json:"outputs"`
	Size
	// NarrowableShare is the share of the parameters of linear operators that lie in weights with
	// at least one axis in a space that can be narrowed.
	NarrowableShare float64 `json:"narrowable_share"`
	Layers          []Layer `json:"layers"`
	Spaces          []Space `json:"spaces"`
	Blocks          []Block `json:"blocks"`
	// Data are what the layers' ranks were seen on; "" without.
	Data     string   `json:"data,omitempty"`
	Samples  int      `json:"samples,omitempty"`
	Warnings []string `json:"warnings"` // what a person has to know about the data; never nil
}

// A Block is a residual branch that could go.
type Block struct {
	Name   string `json:"name"`
	Add    string `json:"add"` // the node that joins it to the stream
	Params int64  `json:"params"`
	MACs   int64  `json:"macs"`
}

// A Value is an input or output of a model.
type Value struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Dims     []int64  `json:"dims"`      // -1 where free; null where the rank is unknown
	DimNames []string `json:"dim_names"` // names of free dims, "" for the others
}

func (v Value) String() string {
	return screen.Name(fmt.Sprintf("%s %s %s", v.Name, v.Type, shape(v.Dims, v.DimNames)))
}

// A Layer is a linear operator.
type Layer struct {
	Name      string   `json:"name"`
	Op        string   `json:"op"`
	Weight    string   `json:"weight"` // "" where two activations are multiplied
	Bias      string   `json:"bias"`   // "" where there is none
	Recurrent string   `json:"recurrent,omitempty"`
	Dims      []int64  `json:"dims"` // of the weight
	Params    int64    `json:"params"`
	MACs      int64    `json:"macs"`
	Followers []string `json:"followers"` // operators up to the next branch or layer
	// Rank99 is the number of directions in which 99 % of what the outputs vary lies; nil where that
	// was not looked at.
	Rank99 *int `json:"rank_99,omitempty"`
	// Reason says why the operator is not followed; "" if it is.
	Reason string `json:"reason,omitempty"`
}

// A Space is a set of channels that change together.
type Space struct {
	Name   string `json:"name"`
	Width  int    `json:"width"`  // channels, over all groups
	Groups int    `json:"groups"` // groups with channels of their own
	// Frozen: nothing may change. Narrowable: the width may. A space that is neither may only be
	// permuted.
	Frozen     bool   `json:"frozen"`
	Narrowable bool   `json:"narrowable"`
	Reason     string `json:"reason"` // why it is not narrowable, "" if it is
	Residual   bool   `json:"residual"`
	// Stream says how a stream can be narrowed over whose channels normalisations take statistics:
	// "rotated", or "selected: …" with what keeps it from being rotated, or from being so exactly;
	// "" for other spaces.
	Stream    string `json:"stream,omitempty"`
	Linear    bool   `json:"linear"`
	Producers []Use  `json:"producers"`
	Consumers []Use  `json:"consumers"`
}

// A Use is a weight axis along which a space runs.
type Use struct {
	Node   string `json:"node"`
	Op     string `json:"op"`
	Weight string `json:"weight"`
	Axis   int    `json:"axis"`
}

// Inspect describes a model by its analysis, which may be of the same model in ordinary operators:
// operator gives the operator that the model has itself in the place of a node. ranks are the
// directions that carry 99 % of what operators make, as far as they are known.
func Inspect(m *onnxio.Model, a *coupling.Analysis, s Size, operator func(*onnxpb.NodeProto) string, ranks map[*onnxpb.NodeProto]int) *Inspection {
	p, g := m.Proto, a.Graph
	r := &Inspection{
		Model: m.Path, IRVersion: p.GetIrVersion(), Opsets: map[string]int64{}, Metadata: map[string]string{},
		Producer: strings.TrimSpace(p.GetProducerName() + " " + p.GetProducerVersion()),
		Inputs:   values(g.Inputs()), Outputs: values(g.Outputs()),
		Size: s, NarrowableShare: a.NarrowableShare(), Layers: layers(a, operator, ranks), Spaces: []Space{}, Blocks: blocks(a), Warnings: []string{},
	}
	for _, o := range p.GetOpsetImport() {
		r.Opsets[o.GetDomain()] = o.GetVersion()
	}
	for _, kv := range p.GetMetadataProps() {
		r.Metadata[kv.GetKey()] = kv.GetValue()
	}
	for _, s := range a.Spaces {
		reason := s.Reason
		if reason == "" && !s.Slimmable() {
			reason = s.Rigid
		}
		r.Spaces = append(r.Spaces, Space{
			Name: s.Name, Width: s.Width * s.Groups, Groups: s.Groups, Frozen: s.Frozen, Narrowable: s.Slimmable(), Reason: reason, Stream: stream(s),
			Residual: s.Residual, Linear: s.Linear, Producers: uses(s.Producers()), Consumers: uses(s.Consumers()),
		})
	}
	return r
}

func values(list []*onnxpb.ValueInfoProto) []Value {
	out := make([]Value, len(list))
	for i, v := range list {
		dims, names, _ := onnxio.Dims(v)
		out[i] = Value{Name: v.GetName(), Type: strings.ToLower(onnxio.ElemType(v).String()), Dims: dims, DimNames: names}
	}
	return out
}

func stream(s *coupling.Space) string {
	if s.Stream == nil {
		return ""
	}
	return s.Stream.String()
}

func uses(list []coupling.Use) []Use {
	out := make([]Use, len(list))
	for i, u := range list {
		out[i] = Use{Node: u.Node.GetName(), Op: u.Node.GetOpType(), Weight: u.Tensor, Axis: u.Axis}
	}
	return out
}

// blocks lists the residual branches with what goes with each.
func blocks(a *coupling.Analysis) []Block {
	out := []Block{}
	for _, b := range a.Blocks() {
		row := Block{Name: b.Name, Add: nameOf(b.Add)}
		for _, op := range a.Ops {
			if slices.Contains(b.Nodes, op.Node) {
				row.MACs += op.MACs(nil)
			}
		}
		for name, w := range a.Weights {
			readers := a.Graph.Consumers(name)
			stays := func(c onnxio.Consumer) bool { return !slices.Contains(b.Nodes, c.Node) }
			if len(readers) > 0 && onnxio.IsParameter(w.Type) && !slices.ContainsFunc(readers, stays) {
				row.Params += int64(w.Len())
			}
		}
		out = append(out, row)
	}
	return out
}

// layers lists the linear operators in the graph's order: those with weights, and products of two
// activations.
func layers(a *coupling.Analysis, operator func(*onnxpb.NodeProto) string, ranks map[*onnxpb.NodeProto]int) []Layer {
	g := a.Graph
	macs := map[*onnxpb.NodeProto]int64{}
	stored := map[*onnxpb.NodeProto]string{} // behind other nodes
	for _, op := range a.Ops {
		macs[op.Node] += op.MACs(nil)
		if stored[op.Node] == "" {
			stored[op.Node] = op.Weight
		}
	}
	out := []Layer{}
	for _, n := range g.Nodes {
		row := Layer{Name: nameOf(n), Op: operator(n), Weight: stored[n], MACs: macs[n], Dims: []int64{}, Followers: []string{}}
		_, counted := macs[n]
		if l, ok := g.Linear(n); ok && l.Weight.Name != "" {
			row.Weight, row.Bias, row.Recurrent = l.Weight.Name, l.Bias.Name, l.Recurrent.Name
			for _, f := range g.Followers(n) {
				row.Followers = append(row.Followers, f.GetOpType())
			}
		} else if !counted {
			if row.Weight, row.Reason = a.Unruled(n); row.Reason == "" {
				continue
			}
		}
		for _, w := range []string{row.Weight, row.Bias, row.Recurrent} {
			row.Params += onnxio.Elements(g.Constant(w))
		}
		row.Dims = append(row.Dims, g.Constant(row.Weight).GetDims()...)
		if r, ok := ranks[n]; ok {
			row.Rank99 = &r
		}
		out = append(out, row)
	}
	return out
}

// nameOf is a node's name, or that of its output.
func nameOf(n *onnxpb.NodeProto) string {
	if n.GetName() != "" || len(n.GetOutput()) == 0 {
		return n.GetName()
	}
	return n.GetOutput()[0]
}

// Print writes the inspection for a person.
func (r *Inspection) Print(w io.Writer) {
	fmt.Fprintln(w, screen.Name(r.Model))
	fmt.Fprintf(w, "  made by   %s; IR version %d, opset %s\n", screen.Name(cmp.Or(r.Producer, "unknown")), r.IRVersion, r.opsets())
	for i, v := range r.Inputs {
		fmt.Fprintf(w, "  %-8s  %v\n", note(i == 0, "inputs"), v)
	}
	for i, v := range r.Outputs {
		fmt.Fprintf(w, "  %-8s  %v\n", note(i == 0, "outputs"), v)
	}
	narrowable := 0
	for _, s := range r.Spaces {
		if s.Narrowable {
			narrowable++
		}
	}
	atLeast := ""
	if r.OpenDims {
		atLeast = "at least "
	}
	fmt.Fprintf(w, "  costs     %s parameters, %s%s MACs per sample, %s\n", grouped(r.Params), atLeast, grouped(r.MACs), screen.Bytes(r.Bytes))
	fmt.Fprintf(w, "  can be narrowed: %d of %s, with %s of the layers' parameters\n", narrowable, plural(len(r.Spaces), "space"), percent(r.NarrowableShare))

	fmt.Fprintln(w)
	head := []string{"<layer", "<operator", "<weight", "=shape", "params", "MACs", "<followed by"}
	if r.Data != "" {
		head = slices.Insert(head, 6, "rank for 99%")
	}
	t := newTable(head...)
	for _, l := range r.Layers {
		dims := ""
		if l.Weight != "" {
			dims = shape(l.Dims, nil)
		}
		row := []string{l.Name, l.Op, cmp.Or(l.Weight, "(two activations)"), dims, screen.Count(l.Params), screen.Count(l.MACs), cmp.Or(l.Reason, strings.Join(l.Followers, ", "))}
		if r.Data != "" {
			rank := ""
			if l.Rank99 != nil {
				rank = grouped(int64(*l.Rank99))
			}
			row = slices.Insert(row, 6, rank)
		}
		t.add(row...)
	}
	t.print(w)

	fmt.Fprintln(w)
	t = newTable("<space", "width", "<narrow?", "<made by", "<read by")
	for _, s := range r.Spaces {
		state := "yes"
		switch {
		case s.Frozen:
			state = "no: " + s.Reason
		case !s.Narrowable:
			state = "permute only: " + s.Reason
		case s.Residual:
			state = "yes, residual stream"
			if s.Stream != "" {
				state += ", " + s.Stream
			}
		}
		width := fmt.Sprint(s.Width)
		if s.Groups > 1 {
			width = fmt.Sprintf("%d×%d", s.Groups, s.Width/s.Groups)
		}
		t.add(s.Name, width, state, weights(s.Producers), weights(s.Consumers))
	}
	t.print(w)
	if len(r.Blocks) > 0 {
		fmt.Fprintln(w)
		t = newTable("<block", "params", "MACs", "<joined by")
		for _, b := range r.Blocks {
			t.add(b.Name, screen.Count(b.Params), screen.Count(b.MACs), b.Add)
		}
		t.print(w)
	}
	if r.Data != "" {
		fmt.Fprintf(w, "\nrank for 99%%: of what a layer's outputs vary, on %s of %s\n", plural(r.Samples, "sample"), screen.Name(r.Data))
	}
	if r.OpenDims {
		fmt.Fprintf(w, "\n%s\n", openNote)
	}
}

func (r *Inspection) opsets() string {
	var parts []string
	for _, domain := range slices.Sorted(maps.Keys(r.Opsets)) {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %d", domain, r.Opsets[domain])))
	}
	return strings.Join(parts, ", ")
}

// weights lists the weights of some uses, each once.
func weights(list []Use) string {
	var names []string
	for _, u := range list {
		if !slices.Contains(names, u.Weight) {
			names = append(names, u.Weight)
		}
	}
	return strings.Join(names, ", ")
}
