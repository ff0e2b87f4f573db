package diff_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func compare(t *testing.T, a, b *onnxio.Model) *diff.Report {
	t.Helper()
	r, err := diff.Models(context.Background(), a, b, diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*onnxio.Model{a, b} {
		same, err := diff.Models(context.Background(), m, m.Clone(), diff.Options{})
		if err != nil || !same.Identical || same.Verdict != "identical" {
			t.Errorf("a model and itself: %+v, %v", same, err)
		}
	}
	return r
}

func parse(t *testing.T, text string) *onnxio.Model {
	t.Helper()
	m, err := onnxtest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	return m
}

func verdict(t *testing.T, r *diff.Report, want string) {
	t.Helper()
	if r.Verdict != want || r.Identical != (want == "identical") {
		t.Errorf("identical %v: %q, want %q", r.Identical, r.Verdict, want)
	}
}

// Every model of testdata is itself, and not another one.
func TestItself(t *testing.T) {
	for _, name := range modeltest.Names(t) {
		m := modeltest.Load(t, name)
		r := compare(t, m, modeltest.Load(t, name))
		verdict(t, r, "identical")
		if len(r.Nodes.Changed)+len(r.Nodes.Removed)+len(r.Nodes.Added) > 0 || r.Narrower+r.Wider > 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestOtherWeights(t *testing.T) {
	m := modeltest.Load(t, "cnn_a")
	r := compare(t, m, modeltest.Redrawn(t, m, 1))
	if !strings.HasPrefix(r.Verdict, "the same graph, all weights changed by up to ") {
		t.Error(r.Verdict)
	}
	// One number of one weight: the change is what the definition says.
	other := m.Clone()
	g, err := other.Graph()
	if err != nil {
		t.Fatal(err)
	}
	w, err := other.Tensor(g.Constant("fc1.weight"))
	if err != nil {
		t.Fatal(err)
	}
	norm := 0.0
	for _, x := range w.F32 {
		norm += float64(x) * float64(x)
	}
	w.F32[7] += 0.5
	if err := g.SetConstant(w); err != nil {
		t.Fatal(err)
	}
	r = compare(t, m, other)
	for _, x := range r.Weights {
		want := 0.0
		if x.Before.Name == "fc1.weight" {
			want = 0.5 / math.Sqrt(norm)
		}
		if x.Change == nil || math.Abs(*x.Change-want) > 1e-6 || x.Equal != (want == 0) {
			t.Errorf("%s: change %v, want %g", x.Before.Name, x.Change, want)
		}
	}
	if !strings.Contains(r.Verdict, "1 of ") {
		t.Error(r.Verdict)
	}
}

func TestNarrowed(t *testing.T) {
	for name, want := range map[string]string{
		"cnn_a":    "the same network, 3 BatchNormalizations folded, 4 of 5 layers narrower, 9 of 10 weights changed",
		"resnet_a": "layers narrower",
	} {
		m := modeltest.Load(t, name)
		small, report, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true}})
		if err != nil {
			t.Fatal(err)
		}
		r := compare(t, m, small)
		if !strings.Contains(r.Verdict, want) {
			t.Errorf("%s: %q", name, r.Verdict)
		}
		widths := map[string]diff.Space{}
		for _, s := range r.Spaces {
			widths[s.Name] = s
		}
		for _, s := range report.Spaces {
			if w := widths[s.Name]; w.Before != s.Before || w.After != s.After {
				t.Errorf("%s: %d → %d, and compress says %d → %d", s.Name, w.Before, w.After, s.Before, s.After)
			}
		}
		back := compare(t, small, m)
		if back.Wider != r.Narrower || back.Narrower != 0 {
			t.Errorf("%d wider, %d narrower", back.Wider, back.Narrower)
		}
	}
}

func TestFused(t *testing.T) {
	a, b := modeltest.Load(t, "mlp_a"), modeltest.Load(t, "mlp_b")
	m, _, err := fuse.Models(context.Background(), []*onnxio.Model{a, b}, fuse.Options{Onto: 1})
	if err != nil {
		t.Fatal(err)
	}
	r := compare(t, a, m)
	if !strings.HasPrefix(r.Verdict, "the same graph, all weights changed by up to ") {
		t.Error(r.Verdict)
	}
}

func TestBatchNormFolded(t *testing.T) {
	m := modeltest.Load(t, "cnn_a")
	folded, names, err := edit.FoldBatchNorm(m, nil)
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	want := fmt.Sprintf("the same network, %d BatchNormalizations folded, ", len(names))
	for _, r := range []*diff.Report{compare(t, m, folded), compare(t, folded, m)} {
		if !strings.HasPrefix(r.Verdict, want) || strings.Contains(r.Verdict, "changed") {
			t.Error(r.Verdict)
		}
		if r.Folded != len(names) || len(r.Nodes.Changed) > 0 {
			t.Errorf("%d folded, %v changed", r.Folded, r.Nodes.Changed)
		}
	}
}

// quantised stores the weights of the linear operators as integers of eight bits, one scale each.
func quantised(t *testing.T, m *onnxio.Model) *onnxio.Model {
	t.Helper()
	m = m.Clone()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range g.Linears() {
		w, err := m.Tensor(g.Constant(l.Weight.Name))
		if err != nil {
			t.Fatal(err)
		}
		most := 0.0
		for _, x := range w.Float64() {
			most = max(most, math.Abs(x))
		}
		v := w.Float64()
		for i := range v {
			v[i] = math.RoundToEven(v[i] / most * 127)
		}
		q, scale := w.Name+"_quantized", w.Name+"_scale"
		for _, t := range []*onnxio.Tensor{onnxio.NewTensor(q, onnxpb.TensorProto_INT8, w.Dims, v), onnxio.NewTensor(scale, onnxio.Float, nil, []float64{most / 127})} {
			m.Proto.Graph.Initializer = append(m.Proto.Graph.Initializer, t.Proto())
		}
		m.Proto.Graph.Initializer = slices.DeleteFunc(m.Proto.Graph.Initializer, func(t *onnxpb.TensorProto) bool { return t.GetName() == w.Name })
		dq := &onnxpb.NodeProto{OpType: proto.String("DequantizeLinear"), Name: proto.String("dq_" + w.Name), Input: []string{q, scale}, Output: []string{w.Name}}
		m.Proto.Graph.Node = append([]*onnxpb.NodeProto{dq}, m.Proto.Graph.Node...)
	}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	return m
}

// Integers are compared by the numbers that they stand for.
func TestQuantised(t *testing.T) {
	m := modeltest.Load(t, "mlp_a")
	q := quantised(t, m)
	r := compare(t, m, q)
	if !strings.HasPrefix(r.Verdict, "the same network, quantised, 3 of 6 weights changed by up to ") || r.Quantized != 3 {
		t.Errorf("%q, %d quantised", r.Verdict, r.Quantized)
	}
	for _, w := range r.Weights {
		if w.Linear && (w.Before.Type != "float" || w.After.Type != "int8" || w.Change == nil || *w.Change == 0 || *w.Change > 0.05) {
			t.Errorf("%+v %+v %v", w.Before, w.After, w.Change)
		}
	}
	if back := compare(t, q, m); !strings.HasPrefix(back.Verdict, "the same network, no longer quantised, ") {
		t.Error(back.Verdict)
	}
	half := compare(t, m, modeltest.AsType(t, m, onnxio.Float16))
	for _, w := range half.Weights {
		if w.Equal || w.After.Type != "float16" || w.Change == nil || *w.Change > 1e-3 {
			t.Errorf("%+v %+v %v", w.Before, w.After, w.Change)
		}
	}
}

// Operators of quantised models are compared by what they compute.
func TestQuantisedOperators(t *testing.T) {
	for _, f := range onnxtest.Quantized() {
		m, err := f.Model()
		if err != nil {
			t.Fatal(err)
		}
		if r := compare(t, m, m.Clone()); r.Layers == 0 {
			t.Errorf("%s: no layers", f.Name)
		}
		small, _, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true}})
		if err != nil {
			t.Fatal(err)
		}
		if r := compare(t, m, small); r.Narrower == 0 || strings.Contains(r.Verdict, "node") {
			t.Errorf("%s: %q %+v", f.Name, r.Verdict, r.Nodes)
		}
	}
}

// renamed gives nodes and tensors other names; numbers are the only names that are left.
func renamed(t *testing.T, m *onnxio.Model) *onnxio.Model {
	t.Helper()
	p := proto.Clone(m.Proto).(*onnxpb.ModelProto)
	g := p.GetGraph()
	ends := map[string]bool{"": true}
	for _, v := range slices.Concat(g.GetInput(), g.GetOutput()) {
		ends[v.GetName()] = true
	}
	names := map[string]string{}
	name := func(s string) string {
		if ends[s] {
			return s
		}
		if names[s] == "" {
			names[s] = fmt.Sprint(1000 - len(names))
		}
		return names[s]
	}
	for i, n := range g.GetNode() {
		n.Name = proto.String(fmt.Sprint(n.GetOpType(), "_", 100+i))
		for _, list := range [][]string{n.Input, n.Output} {
			for i := range list {
				list[i] = name(list[i])
			}
		}
	}
	for _, w := range g.GetInitializer() {
		w.Name = proto.String(name(w.GetName()))
	}
	g.ValueInfo = nil
	out := &onnxio.Model{Proto: p}
	if err := out.Validate(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRenamed(t *testing.T) {
	for _, name := range []string{"mlp_a", "cnn_a", "resnet_a"} {
		m := modeltest.Load(t, name)
		m.Proto.Graph.ValueInfo = nil
		verdict(t, compare(t, m, renamed(t, m)), "the same graph, the same weights, other names")
		small, _, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: job.Options{NoData: true, Lossless: job.Off}})
		if err != nil {
			t.Fatal(err)
		}
		a, b := compare(t, m, small), compare(t, m, renamed(t, small))
		if a.Narrower == 0 || a.Narrower != b.Narrower || len(b.Nodes.Removed)+len(b.Nodes.Added) != len(a.Nodes.Removed)+len(a.Nodes.Added) {
			t.Errorf("%s: %q, with other names %q", name, a.Verdict, b.Verdict)
		}
	}
}

const branches = `
	x: N 3 6 6
	a = Conv(x, wa[8 3 3 3], ba[8]) pads=1,1,1,1
	b = Conv(x, wb[8 3 3 3], bb[8]) pads=1,1,1,1
	c = Relu(a)
	d = Sigmoid(b)
	y = Add(c, d)`

// Where a model has several nodes of a kind side by side, those correspond that hold the same.
func TestReordered(t *testing.T) {
	m := parse(t, branches)
	other := m.Clone()
	nodes := other.Proto.Graph.Node
	nodes[0], nodes[1], nodes[2], nodes[3] = nodes[1], nodes[0], nodes[3], nodes[2]
	verdict(t, compare(t, m, other), "the same graph, the same weights, nodes in another order")
	verdict(t, compare(t, m, renamed(t, other)), "the same graph, the same weights, other names, nodes in another order")
}

func TestChangedGraph(t *testing.T) {
	m := parse(t, branches)
	for _, c := range []struct{ old, new, want string }{
		{"ba[8]) pads=1,1,1,1", "ba[8]) pads=1,1,1,1 dilations=1,1", "the same network, 1 node changed, the same weights"},
		{"y = Add(c, d)", "y = Add(c, c)", "the same network, 1 node changed, the same weights"},
		{"y = Add(c, d)", "z = Add(c, d)\n\ty = Tanh(z)", "the same network, 1 node added, the same weights"},
		{"y = Add(c, d)", "y = Add(c, d)\n\t-> y c", "the same network, other inputs or outputs, the same weights"},
		{"x: N 3 6 6", "x: N 3 8 8", "the same network, other inputs or outputs, the same weights"},
		{"bb[8])", "_)", "the same network, 1 node changed, the same weights"},
	} {
		other := parse(t, strings.Replace(branches, c.old, c.new, 1))
		same(t, m, other)
		r := compare(t, m, other)
		if !strings.HasPrefix(r.Verdict, c.want) {
			t.Errorf("%s: %q, want %q; %+v", c.new, r.Verdict, c.want, r.Nodes)
		}
		if r.Identical {
			t.Errorf("%s: identical", c.new)
		}
	}
}

// same gives b the weights of a.
func same(t *testing.T, a, b *onnxio.Model) {
	t.Helper()
	for _, w := range b.Proto.Graph.Initializer {
		for _, v := range a.Proto.Graph.Initializer {
			if v.GetName() == w.GetName() {
				w.RawData = v.RawData
			}
		}
	}
}

func TestChangesAreNamed(t *testing.T) {
	m := parse(t, "x: N 3 6 6\na = Conv(x, w[4 3 3 3]) pads=1,1,1,1\ny = Reshape(a, s{0 144})")
	other := m.Clone()
	onnxio.SetAttrInts(other.Proto.Graph.Node[0], "pads", []int64{0, 0, 0, 0})
	other.Proto.Graph.Initializer[1] = onnxio.NewInts("s", []int{2}, []int64{0, 64}).Proto()
	r := compare(t, m, other)
	got := fmt.Sprint(r.Nodes.Changed)
	want := "[{Conv_a Conv [{pads [1,1,1,1] [0,0,0,0] false}] false} {Reshape_y Reshape [{shape [0,144] [0,64] true}] false}]"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The file's head, and whatever else it holds, is compared too.
func TestFileDiffers(t *testing.T) {
	m := modeltest.Load(t, "mlp_a")
	other := m.Clone()
	other.SetMetadata("author", "somebody")
	other.Proto.OpsetImport[0].Version = proto.Int64(14)
	r := compare(t, m, other)
	if got := fmt.Sprint(r.File); got != "[{opset 13 14 false} {metadata author  somebody false}]" {
		t.Error(got)
	}
	verdict(t, r, "the same graph, the same weights, other metadata")
	for what, change := range map[string]func(p *onnxpb.ModelProto){
		"doc_string": func(p *onnxpb.ModelProto) { p.DocString = proto.String("x") },
		"graph name": func(p *onnxpb.ModelProto) { p.Graph.Name = proto.String("x") },
		"graph value_info": func(p *onnxpb.ModelProto) {
			p.Graph.ValueInfo = []*onnxpb.ValueInfoProto{onnxtest.Value("/fc1/Gemm_output_0", 1, 64)}
		},
		"node doc_string": func(p *onnxpb.ModelProto) { p.Graph.Node[0].DocString = proto.String("x") },
	} {
		other := &onnxio.Model{Proto: proto.Clone(m.Proto).(*onnxpb.ModelProto)}
		change(other.Proto)
		if r := compare(t, m, other); !slices.Contains(r.Other, what) || r.Identical {
			t.Errorf("%s: %v, identical %v", what, r.Other, r.Identical)
		}
	}
}

// Weights may lie wherever they like.
func TestStoredElsewhere(t *testing.T) {
	m := modeltest.Load(t, "cnn_a")
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := onnxio.Save(context.Background(), path, m, onnxio.SaveOptions{External: onnxio.Always}); err != nil {
		t.Fatal(err)
	}
	moved, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	verdict(t, compare(t, m, moved), "identical")
}

func TestDifferentNetworks(t *testing.T) {
	r := compare(t, modeltest.Load(t, "mlp_a"), modeltest.Load(t, "resnet_a"))
	if !strings.HasPrefix(r.Verdict, "different networks: ") || r.Related {
		t.Error(r.Verdict)
	}
}

// Whatever becomes of a model, it can be compared with what it was, both ways.
func FuzzModels(f *testing.F) {
	var bases []*onnxio.Model
	for _, form := range slices.Concat(onnxtest.Forms(), onnxtest.Quantized()) {
		m, err := form.Model()
		if err != nil {
			f.Fatal(err)
		}
		bases = append(bases, m)
	}
	f.Add(uint8(0), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(uint8(30), []byte{9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 11, 12})
	f.Fuzz(func(t *testing.T, base uint8, program []byte) {
		m := bases[int(base)%len(bases)]
		other := &onnxio.Model{Proto: proto.Clone(m.Proto).(*onnxpb.ModelProto)}
		onnxtest.Mutate(other.Proto, program)
		if other.Validate() != nil {
			return
		}
		for _, pair := range [][2]*onnxio.Model{{m, other}, {other, m}, {other, other}} {
			r, err := diff.Models(context.Background(), pair[0], pair[1], diff.Options{})
			if err != nil {
				if strings.Contains(err.Error(), "internal error") {
					t.Fatal(err)
				}
				continue
			}
			if pair[0] == pair[1] && !r.Identical {
				t.Errorf("a model differs from itself: %q %+v", r.Verdict, r)
			}
		}
	})
}

// A block that is gone is not taken for what came in its place elsewhere: an operator that became two.
func TestBlockGoneAndRank(t *testing.T) {
	parse := func(text string) *onnxio.Model {
		t.Helper()
		m, err := onnxtest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a := parse(`
		x: N 3 6 6
		stem = Conv(x, w0[8 3 1 1])
		one = Conv(stem, w1[8 8 1 1])
		sum = Add(one, stem)
		two = Conv(sum, w2[8 8 1 1])
		y = Relu(two)`)
	b := parse(`
		x: N 3 6 6
		stem = Conv(x, w0[8 3 1 1])
		low = Conv(stem, w2low[2 8 1 1])
		two = Conv(low, w2[8 2 1 1])
		y = Relu(two)`)
	d, err := diff.Models(t.Context(), a, b, diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range d.Flow {
		gone, rank := s.Name == "Conv_one" || s.Name == "Add_sum", 0
		if s.Name == "Conv_two" {
			rank = 2
		}
		if s.Gone != gone || s.Rank != rank {
			t.Errorf("%+v", s)
		}
	}
	if len(d.Nodes.Removed) != 2 || len(d.Nodes.Added) != 1 {
		t.Errorf("%d removed, %d added", len(d.Nodes.Removed), len(d.Nodes.Added))
	}
}
