package match_test

import (
	"testing"

	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
)

// sharing are networks whose layers have constants in common that are not true weights.
var sharing = map[string]string{
	"a bias": `
		x: N 3 6 6
		a = Conv(x, w1[8 3 3 3], b[8])
		b1 = Relu(a)
		c = Conv(b1, w2[8 8 3 3], b)
		d = Relu(c)
		y = Conv(d, w3[4 8 1 1])`,
	"a bias, and another name of it": `
		x: N 3 6 6
		i = Identity(b[8])
		a = Conv(x, w1[8 3 3 3], b)
		b1 = Relu(a)
		c = Conv(b1, w2[8 8 3 3], i)
		d = Relu(c)
		e = Conv(d, w3[8 8 3 3], i)
		f = Relu(e)
		y = Conv(f, w4[4 8 1 1])`,
	"the scale and shift of norms": `
		x: N 3 6 6
		a = Conv(x, w1[8 3 3 3])
		b = InstanceNormalization(a, s[8], t[8])
		c = Relu(b)
		d = Conv(c, w2[8 8 3 3])
		e = InstanceNormalization(d, s, t)
		f = Relu(e)
		y = Conv(f, w3[4 8 1 1])`,
	"norms, one before an output": `
		x: N 3 6 6
		a = Conv(x, w1[8 3 3 3])
		b = InstanceNormalization(a, s[8], t[8])
		c = Relu(b)
		d = Conv(c, w2[8 8 3 3])
		y = InstanceNormalization(d, s, t)`,
	"an initial state": `
		x: 7 N 5
		sh = Shape(x)
		n = Gather(sh, at{1})
		z0 = Concat(two{2}, n, hh{8}) axis=0
		z = ConstantOfShape(z0)
		za = Slice(z, i0{0}, i1{1})
		zb = Slice(z, i1, i2{2})
		a h1 c1 = LSTM(x, w1[1 32 5], r1[1 32 8], b1[1 64], _, za, za) hidden_size=8
		b = Squeeze(a, i1)
		c h2 c2 = LSTM(b, w2[1 32 8], r2[1 32 8], b2[1 64], _, zb, zb) hidden_size=8
		d = Squeeze(c, i1)
		y = MatMul(d, w3[8 3])`,
	"a shape": `
		x: N 5 6
		a = MatMul(x, w1[6 8])
		sh = Shape(a)
		n = Slice(sh, i0{0}, i2{2})
		to = Concat(n, two{2}, four{4}) axis=0
		b = Reshape(a, to)
		c = Transpose(b) perm=0,1,3,2
		d = Flatten(c) axis=2
		e = Reshape(d, rs{-1 5 8})
		f = MatMul(e, w2[8 8])
		g = Reshape(f, to)
		h = Relu(g)
		i = Flatten(h) axis=2
		j = Reshape(i, rs)
		y = MatMul(j, w3[8 3])`,
}

// Layers that read the same constant have channels of their own all the same: each layer's are
// found in another order. What is left equal is stored once.
func TestConstantsOfUnrelatedLayers(t *testing.T) {
	for name, text := range sharing {
		t.Run(name, func(t *testing.T) {
			m := parsed(t, text)
			s := Subject(t, m)
			free := 0
			for _, sp := range s.Analysis.Spaces {
				if sp.Frozen {
					continue
				}
				free++
				if len(sp.Producers()) != 1 {
					t.Errorf("%d layers make space %q", len(sp.Producers()), sp.Name)
				}
			}
			if free == 0 {
				t.Fatal("no space may change")
			}
			p := permute(t, s)
			back := moved(t, p, m, match.Options{})
			sameWeights(t, s.Model, back)
			if err := s.Reshare(back); err != nil {
				t.Fatal(err)
			}
			if want, have := initializers(t, m), initializers(t, back); have != want {
				t.Errorf("%d constants and nodes, %d at first", have, want)
			}
		})
	}
}

// initializers counts what a model stores.
func initializers(t *testing.T, m *onnxio.Model) int {
	t.Helper()
	return len(m.Proto.Graph.Initializer) + len(m.Proto.Graph.Node)
}

// What the branches of a siamese network have in common stays one.
func TestSiameseNetworksStayShared(t *testing.T) {
	m := parsed(t, `
		x: N 3 6 6
		z: N 3 6 6
		a = Conv(x, w1[8 3 3 3], b1[8])
		b = BatchNormalization(a, s[8], t[8], m[8], var[8])
		c = Relu(b)
		d = Conv(c, w2[6 8 1 1], b2[6])
		e = InstanceNormalization(d, u[6], v[6])
		f = Conv(z, w1, b1)
		g = BatchNormalization(f, s, t, m, var)
		h = Relu(g)
		i = Conv(h, w2, b2)
		j = InstanceNormalization(i, u, v)
		k = Sub(e, j)
		y = Conv(k, w3[4 6 1 1])`)
	if s := Subject(t, m); s.Model != m {
		t.Error("constants of the two branches were separated")
	}
	folded, names, err := edit.FoldBatchNorm(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 2 || initializers(t, folded) >= initializers(t, m) {
		t.Errorf("%d normalisations were folded, into a model with %d constants and nodes of %d", len(names), initializers(t, folded), initializers(t, m))
	}
	back := moved(t, permute(t, Subject(t, folded)), folded, match.Options{})
	sameWeights(t, folded, back)

	// With normalisations of their own the branches cannot take them in together.
	other := onnxio.NewTensor("s2", onnxio.Float, []int{8}, modeltest.Floats(t, m)["t"])
	m.Proto.Graph.Initializer = append(m.Proto.Graph.Initializer, other.Proto())
	m.Proto.Graph.Node[6].Input[1] = "s2"
	if _, names, err := edit.FoldBatchNorm(m, nil); err != nil || len(names) != 0 {
		t.Errorf("folded %v, error %v", names, err)
	}
}

// A copy of a node takes no name that another node has.
func TestCopiedNodesHaveNamesOfTheirOwn(t *testing.T) {
	m := parsed(t, `
		x: N 4 8
		s = Unsqueeze(k[6], ax{0})
		s_1 = Unsqueeze(j[6], ax)
		a = MatMul(x, w1[8 6])
		b = Mul(a, s)
		c = Relu(b)
		d = MatMul(c, w2[6 6])
		e = Mul(d, s)
		f = Relu(e)
		g = MatMul(f, w3[6 6])
		h = Mul(g, s_1)
		y = MatMul(h, w4[6 3])`)
	seen := map[string]bool{}
	for _, n := range Subject(t, m).Model.Proto.GetGraph().GetNode() {
		if seen[n.GetName()] {
			t.Errorf("two nodes are called %q", n.GetName())
		}
		seen[n.GetName()] = true
	}
	if len(seen) != len(m.Proto.GetGraph().GetNode())+1 {
		t.Errorf("%d nodes, want one more than %d", len(seen), len(m.Proto.GetGraph().GetNode()))
	}
}
