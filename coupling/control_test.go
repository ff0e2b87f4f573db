package coupling_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// branching puts graphs into the If that a model's text holds as
//
//	y = Either(condition)
//
// Each branch is a text whose inputs are tensors of the model that it captures.
func branching(t *testing.T, text, then, otherwise string) *onnxio.Model {
	t.Helper()
	m := graph(t, text)
	for _, n := range m.Proto.Graph.Node {
		if n.GetOpType() != "Either" {
			continue
		}
		op := "If"
		n.OpType = &op
		for name, text := range map[string]string{"then_branch": then, "else_branch": otherwise} {
			g := graph(t, text).Proto.Graph
			g.Input = nil
			g.Name = &name
			typ := onnxpb.AttributeProto_GRAPH
			n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: &name, Type: &typ, G: g})
		}
	}
	return m
}

// Branches read channels that are made before them and make channels that are read behind them,
// with weights of their own.
func TestBranches(t *testing.T) {
	const before = `
		x: 2 3 4 4
		a = Conv(x, w1[6 3 1 1])
		m = ReduceMax(x) keepdims=0
		g = Greater(m, zero<%s>)
		y1 = Either(g)
		y = Conv(y1, w9[2 5 1 1])
		z = Conv(a, w8[2 6 1 1])
		-> y z`
	const then = `
		a: 2 6 4 4
		b = Conv(a, w2[7 6 1 1])
		r = Relu(b)
		c = Conv(r, w3[5 7 1 1])`
	const otherwise = `
		a: 2 6 4 4
		k = Constant() value_floats=1.0,2.0,3.0,4.0,5.0
		d = Conv(a, w4[5 6 1 1], k)`
	want := []string{
		`Conv_a (in): 3, frozen: graph input "x"`,
		"Conv_a: 6, linear",
		"Conv_b: 7",
		"Conv_c: 5, linear",
		`Conv_y: 2, frozen: graph output "y"`,
		`Conv_z: 2, frozen: graph output "z"`,
	}
	for name, bound := range map[string]string{"then": "-100", "else": "100"} {
		t.Run(name, func(t *testing.T) {
			m := branching(t, fmt.Sprintf(before, bound), then, otherwise)
			a, err := coupling.Analyze(m, coupling.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, describe(a)); d != "" {
				t.Errorf("spaces (-want +got):\n%s", d)
			}
			identities(t, m)
			opaque, err := coupling.Analyze(m, coupling.Options{Opaque: true})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(`Conv_a: 6, frozen: If "Either_y1" reads it in a subgraph`, describe(opaque)[1]); d != "" {
				t.Errorf("without the branches (-want +got):\n%s", d)
			}
		})
	}
}

// Of an If whose condition follows from sizes only one branch counts, even where the other does not
// fit; branches that put out tensors of different form, and a name that two graphs use, leave
// everything whole.
func TestBranchesThatDiffer(t *testing.T) {
	const text = `
		x: %s 3 4 4
		a = Conv(x, w1[6 3 1 1])
		s = Shape(a)
		n = Gather(s, i0{=0})
		g = Equal(n, one{=1})
		y1 = Either(g)
		y = Relu(y1)`
	const drop = `
		a: N 6 4 4
		p = GlobalAveragePool(a)
		q = Squeeze(p, ax{2 3})
		b = Gemm(q, w2[6 5])`
	const keep = `
		a: N 6 4 4
		d = Conv(a, w3[5 6 1 1])`
	for _, c := range []struct{ name, size, then, otherwise, want string }{
		{"known", "2", drop, keep, "Conv_a: 6, linear"},
		{"not known", "N", drop, keep, "Conv_a: 6, linear"},
		{"one name", "2", keep, keep, `Conv_a: 6, frozen: If "Either_y1" reads it in a subgraph`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := branching(t, fmt.Sprintf(text, c.size), c.then, c.otherwise)
			a, err := coupling.Analyze(m, coupling.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, describe(a)[1]); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			identities(t, m)
		})
	}
}

// Fusing a model with a copy whose channels are permuted, those of branches and of a recurrent
// layer whose weights are put together there too, returns the model.
func TestFuseBranches(t *testing.T) {
	m := branching(t, `
		x: 3 2 4
		a = MatMul(x, w1[4 6])
		m = ReduceMax(x) keepdims=0
		g = Greater(m, zero<-100>)
		y1 = Either(g)
		y = MatMul(y1, w9[5 2])`, `
		a: 3 2 6
		p q = Split(w2[20 6]) axis=0
		w = Concat(q, p) axis=0
		wu = Unsqueeze(w, ax0{0})
		s = Slice(w3[20 5], s0{0}, e0{20}, ax1{0})
		su = Unsqueeze(s, ax2{0})
		l = LSTM(a, wu, su) hidden_size=5
		b = Squeeze(l, ax3{1})`, `
		a: 3 2 6
		r = Relu(a)
		d = MatMul(r, w4[6 5])`)
	s := subject(t, m)
	all := edit.Maps{}
	for _, sp := range s.Analysis.Spaces {
		if !sp.Frozen {
			all[sp] = permutation(sp)
		}
	}
	if len(all) != 2 {
		t.Fatalf("%d spaces may change, want 2", len(all))
	}
	permuted := edited(t, s, all)
	fused, _, err := fuse.Models(context.Background(), []*onnxio.Model{permuted, m}, fuse.Options{})
	if err != nil {
		t.Fatal(err)
	}
	feeds := randomFeeds(t, m)
	if d := distance(t, run(t, m, feeds), run(t, fused, feeds)); !(d <= tolerance) {
		t.Errorf("fused with itself, outputs change by %.2g", d)
	}
	// Weights that no pair holds would be the target's, and the outputs right.
	pair, err := match.Pair(subject(t, permuted), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"w1", "w2", "w3", "w4", "w9"} {
		if pair.Sources[name].Name != name {
			t.Errorf("%s is paired with %q", name, pair.Sources[name].Name)
		}
	}
}
