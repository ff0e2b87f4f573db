package diff

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Options are the settings of a comparison. The zero value is useful.
type Options struct {
	// InputShapes gives sizes to free dimensions of inputs, by name.
	InputShapes map[string][]int
}

// A Report says what differs between two models.
type Report struct {
	// Verdict says it in one line.
	Verdict string `json:"verdict"`
	// Identical: nothing differs but where and how weights are stored.
	Identical bool `json:"identical"`
	// Related: at least half of the nodes have a counterpart.
	Related bool `json:"related"`
	// File lists what differs of the file's head: format, operator sets, producer, metadata.
	File []Change `json:"file"`
	// Other names the fields of the file that differ beside all that is compared here.
	Other []string `json:"other"`
	// Inputs and Outputs are those of the graphs, in pairs.
	Inputs  []End `json:"-"`
	Outputs []End `json:"-"`
	Nodes   Nodes `json:"nodes"`
	// Layers counts the linear operators that both models have, Narrower and Wider those with fewer
	// or more output channels in the second.
	Layers   int `json:"layers"`
	Narrower int `json:"narrower"`
	Wider    int `json:"wider"`
	// Spaces are the rows of channels that both models have, in topological order.
	Spaces []Space `json:"spaces"`
	// Folded counts BatchNormalizations that one model alone has, and that were folded into the
	// operators before them in order to compare weights.
	Folded int `json:"folded_batchnorms"`
	// Quantized counts weights that are integers in the second model and were none, Dequantized the
	// other way round.
	Quantized   int      `json:"quantized_weights"`
	Dequantized int      `json:"dequantized_weights"`
	Weights     []Weight `json:"weights"`
	// Flow is the first model as a drawing shows it, with what became of its layers.
	Flow  []Stage  `json:"-"`
	Notes []string `json:"notes"` // what was not compared, and why
}

// Models compares two models. Weights are read one at a time.
func Models(ctx context.Context, a, b *onnxio.Model, o Options) (_ *Report, err error) {
	defer guard.Recover(&err)
	ga, err := a.FlatGraph()
	if err != nil {
		return nil, err
	}
	gb, err := b.FlatGraph()
	if err != nil {
		return nil, err
	}
	l, err := compareForm(a, b, o)
	if err != nil {
		return nil, err
	}
	p := pair(ga, gb)
	r := &Report{
		File: files(a.Proto, b.Proto), Inputs: matchEnds(ga.Inputs(), gb.Inputs()), Outputs: matchEnds(ga.Outputs(), gb.Outputs()),
		Folded: len(l.folded), Notes: slices.Clip(append([]string{}, l.notes...)),
	}
	r.Nodes = p.nodes(followers(l.a.analysis, ga), l.folded)
	r.Other = others(a.Proto, b.Proto, p)
	if r.Weights, err = l.weights(ctx); err != nil {
		return nil, err
	}
	r.Spaces, r.Flow = l.spaces(r.Weights), l.flow(r.Weights)
	r.count()
	ends := p.ends(r.Outputs)
	if !ends {
		r.Notes = append(r.Notes, "an output is made by another node")
		r.Nodes.regrown = false
	}
	r.Identical = ends && r.identical()
	r.Related = float64(r.Nodes.paired) >= leastCommon*float64(r.Nodes.most) || r.Quantized+r.Dequantized+r.Folded > 0
	r.Verdict = r.verdict()
	return r, nil
}

// followers lists the settings of a graph's nodes that follow widths: the analysis may be of a form
// of the model in which nodes were replaced, and knows those that were not by their outputs.
func followers(a *coupling.Analysis, g *onnxio.Graph) map[*node][]coupling.ShapeRef {
	out := map[*node][]coupling.ShapeRef{}
	if a == nil {
		return out
	}
	for _, ref := range a.Refs {
		if n := g.Producer(firstOutput(ref.Node)); n != nil {
			out[n] = append(out[n], ref)
		}
	}
	return out
}

// count fills in what is counted over the weights.
func (r *Report) count() {
	for _, w := range r.Weights {
		if w.Linear {
			r.Layers++
		}
		switch {
		case w.narrower() > 0:
			r.Narrower++
		case w.narrower() < 0:
			r.Wider++
		}
		if w.Before == nil || w.After == nil {
			continue
		}
		switch {
		case w.After.Quantized && !w.Before.Quantized:
			r.Quantized++
		case w.Before.Quantized && !w.After.Quantized:
			r.Dequantized++
		}
	}
}

// identical reports whether nothing that is listed differs.
func (r *Report) identical() bool {
	differs := func(e End) bool { return !e.Same() }
	n := &r.Nodes
	return len(r.File)+len(r.Other)+len(n.Operators)+len(n.Removed)+len(n.Added)+len(n.Changed)+n.Renamed+n.Tensors == 0 && !n.Reordered &&
		!slices.ContainsFunc(r.Inputs, differs) && !slices.ContainsFunc(r.Outputs, differs) &&
		!slices.ContainsFunc(r.Weights, func(w Weight) bool { return !w.Equal || w.renamed() })
}

func (w *Weight) renamed() bool {
	return w.Before != nil && w.After != nil && w.Before.Name != w.After.Name
}

// files compares the heads of two files.
func files(a, b *onnxpb.ModelProto) []Change {
	out := []Change{}
	add := func(what, before, after string) {
		if before != after {
			out = append(out, Change{What: what, Before: before, After: after})
		}
	}
	producer := func(p *onnxpb.ModelProto) string {
		return strings.TrimSpace(p.GetProducerName() + " " + p.GetProducerVersion())
	}
	add("IR version", fmt.Sprint(a.GetIrVersion()), fmt.Sprint(b.GetIrVersion()))
	sets := func(p *onnxpb.ModelProto) map[string]string {
		out := map[string]string{}
		for _, o := range p.GetOpsetImport() {
			out[o.GetDomain()] = fmt.Sprint(o.GetVersion())
		}
		return out
	}
	metadata := func(p *onnxpb.ModelProto) map[string]string {
		out := map[string]string{}
		for _, kv := range p.GetMetadataProps() {
			out[kv.GetKey()] = kv.GetValue()
		}
		return out
	}
	each := func(what string, x, y map[string]string) {
		for _, k := range sortedKeys(x, y) {
			add(strings.TrimSpace(what+" "+k), x[k], y[k])
		}
	}
	each("opset", sets(a), sets(b))
	add("producer", producer(a), producer(b))
	each("metadata", metadata(a), metadata(b))
	return out
}

func sortedKeys(x, y map[string]string) []string {
	all := maps.Clone(x)
	maps.Copy(all, y)
	return slices.Sorted(maps.Keys(all))
}

// compared are the fields that have a place of their own in a report.
var compared = []protoreflect.Name{
	"ir_version", "opset_import", "producer_name", "producer_version", "metadata_props", "graph", "node", "initializer", "input", "output",
	"attribute", "op_type", "domain",
}

// others names what differs beside.
func others(a, b *onnxpb.ModelProto, p *pairing) []string {
	out := []string{}
	add := func(names []string) {
		for _, n := range names {
			if !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	add(fields("", a, b))
	add(fields("graph ", a.GetGraph(), b.GetGraph()))
	if len(a.GetGraph().GetInput())-len(p.a.Inputs()) != len(b.GetGraph().GetInput())-len(p.b.Inputs()) {
		add([]string{"graph weights that are inputs"})
	}
	for _, n := range p.nodesA {
		if m := p.to[n]; m != nil {
			x, y := &node{DocString: n.DocString, MetadataProps: n.MetadataProps, Overload: n.Overload}, &node{DocString: m.DocString, MetadataProps: m.MetadataProps, Overload: m.Overload}
			if len(n.GetMetadataProps())+len(m.GetMetadataProps()) > 0 && !proto.Equal(&node{MetadataProps: n.MetadataProps}, &node{MetadataProps: m.MetadataProps}) {
				add([]string{"node metadata_props"})
			}
			add(fields("node ", x, y))
		}
	}
	return out
}

// fields names the fields of two messages of one type that differ, but those that are compared
// elsewhere.
func fields(where string, a, b proto.Message) []string {
	var out []string
	x, y := a.ProtoReflect(), b.ProtoReflect()
	for i := range x.Descriptor().Fields().Len() {
		f := x.Descriptor().Fields().Get(i)
		if slices.Contains(compared, f.Name()) || !x.Has(f) && !y.Has(f) {
			continue
		}
		if x.Has(f) != y.Has(f) || !x.Get(f).Equal(y.Get(f)) {
			out = append(out, where+string(f.Name()))
		}
	}
	if string(x.GetUnknown()) != string(y.GetUnknown()) {
		out = append(out, where+"unknown fields")
	}
	return out
}
