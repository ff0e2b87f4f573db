package compress_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// multipliers is a chain of depthwise convolutions that multiply channels.
func multipliers(rng *rand.Rand) string {
	n := 2 + rng.IntN(9)
	text := fmt.Sprintf("x: N 3 5 5\nh0 = Conv(x, w[%d 3 3 3], b[%d])\na0 = Relu(h0)\n", n, n)
	depth := 1 + rng.IntN(3)
	for i := range depth {
		m := n * (1 + rng.IntN(3))
		text += fmt.Sprintf("h%d = Conv(a%d, d%d[%d 1 1 1]) group=%d\na%d = Relu(h%d)\n", i+1, i, i, m, n, i+1, i+1)
		n = m
	}
	return text + fmt.Sprintf("y = Conv(a%d, v[4 %d 1 1])", depth, n)
}

// groupedQueries is attention in which several heads of queries share one of keys and values.
func groupedQueries(rng *rand.Rand) string {
	h, r, d := 1+rng.IntN(6), 1+rng.IntN(4), 2+rng.IntN(6)
	return strings.NewReplacer("HRD", fmt.Sprint(h*r*d), "HR", fmt.Sprint(h*r), "HD", fmt.Sprint(h*d), "H", fmt.Sprint(h), "D", fmt.Sprint(d)).Replace(`
		opset 23
		x: N 5 12
		e = MatMul(x, we[12 9])
		q = MatMul(e, wq[9 HRD])
		k = MatMul(e, wk[9 HD])
		v = MatMul(e, wv[9 HD])
		o = Attention(q, k, v) q_num_heads=HR kv_num_heads=H
		y = MatMul(o, wo[HRD 7])`)
}

// shuffled is a product of factors in one order, then in another.
func shuffled(rng *rand.Rand) string {
	a, b, c := 2+rng.IntN(4), 2+rng.IntN(6), 2+rng.IntN(8)
	return fmt.Sprintf(`
		x: N 3 4 4
		p = Conv(x, w[%[4]d 3 1 1])
		q = Reshape(p, s{0 %[1]d %[2]d %[3]d 4 4})
		r = Transpose(q) perm=0,3,1,2,4,5
		t = Reshape(r, u{0 %[4]d 4 4})
		y = Conv(t, v[5 %[4]d 1 1])`, a, b, c, a*b*c)
}

// grouped is a convolution in groups between two others.
func grouped(rng *rand.Rand) string {
	g, i, o := 2+rng.IntN(6), 2+rng.IntN(5), 2+rng.IntN(5)
	return fmt.Sprintf(`
		x: N 3 4 4
		p = Conv(x, w[%[1]d 3 1 1])
		q = Conv(p, u[%[2]d %[3]d 1 1]) group=%[4]d
		r = Relu(q)
		y = Conv(r, v[5 %[2]d 1 1])`, g*i, g*o, i, g)
}

// A product of spaces loses what was asked of the product, not of every factor: of each axis that
// something narrows the share stays that was asked for, within the rounding of one factor.
func TestAProductLosesItsShareOnce(t *testing.T) {
	for name, text := range map[string]func(*rand.Rand) string{"depthwise multipliers": multipliers, "grouped queries": groupedQueries, "shuffled": shuffled, "groups": grouped} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(12) {
				rng := rand.New(rand.NewPCG(seed, 5))
				graph := text(rng)
				m, err := onnxtest.Parse(graph)
				if err != nil {
					t.Fatal(err)
				}
				keep := 0.25 + 0.5*rng.Float64()
				out, _, err := compress.Model(context.Background(), m, compress.Options{Keep: keep, Options: job.Options{NoData: true, Lossless: job.Off}})
				if err != nil {
					t.Fatalf("%s\n%v", graph, err)
				}
				shares(t, m, out, keep, graph)
			}
		})
	}
}

// shares compares the sizes of the axes of all weights of two models, of which the second was
// narrowed.
func shares(t *testing.T, m, narrow *onnxio.Model, keep float64, graph string) {
	t.Helper()
	a, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := coupling.Analyze(narrow, coupling.Options{})
	if err != nil {
		t.Fatalf("%s\n%v", graph, err)
	}
	free := 0
	for name, w := range a.Weights {
		for k, axis := range w.Axes {
			var one *coupling.Space // that is narrowed
			for _, x := range axis.Atoms() {
				s := a.SpaceOf(x)
				if s == nil || !s.Narrowable() {
					continue
				}
				if one != nil && one != s {
					t.Errorf("%s\n%s, axis %d: both %q and %q are narrowed", graph, name, k, one.Name, s.Name)
				}
				one = s
			}
			before, after := axis.Size(), b.Weights[name].Axes[k].Size()
			share, rounding := float64(after)/float64(before), 0.0
			if one == nil {
				if before != after {
					t.Errorf("%s\n%s, axis %d: %d → %d, and nothing may change", graph, name, k, before, after)
				}
				continue
			}
			free++
			if rounding = 0.5 / float64(one.Width); keep < rounding {
				rounding = 1/float64(one.Width) - keep // a channel stays
			}
			if share < keep-rounding-1e-9 || share > keep+rounding+1e-9 {
				t.Errorf("%s\nkeep %.3f: %s, axis %d: %d → %d", graph, keep, name, k, before, after)
			}
		}
	}
	if free == 0 {
		t.Logf("nothing to narrow in %s", graph)
	}
}

// Heads are counted one by one, whatever widths shall be multiples of, and a Conv's channels are
// counted over all its groups.
func TestMultipleIsOfWhatAKernelSees(t *testing.T) {
	for _, heads := range []int{2, 4, 6, 12} {
		m, err := onnxtest.Parse(strings.NewReplacer("HD", fmt.Sprint(8*heads), "H", fmt.Sprint(heads)).Replace(`
			opset 23
			x: N 5 12
			q = MatMul(x, wq[12 HD])
			k = MatMul(x, wk[12 HD])
			v = MatMul(x, wv[12 HD])
			o = Attention(q, k, v) q_num_heads=H kv_num_heads=H
			y = MatMul(o, wo[HD 7])`))
		if err != nil {
			t.Fatal(err)
		}
		after(t, m, compress.Options{Keep: 0.5, Multiple: 8, Options: job.Options{NoData: true}}, "wo", 0, 4*heads)
	}
	for _, c := range []struct{ groups, width, multiple, want int }{{32, 4, 8, 2}, {2, 12, 8, 8}, {4, 8, 8, 4}, {1, 20, 8, 8}} {
		g := &strings.Builder{}
		fmt.Fprintf(g, "x: N 3 4 4\np = Conv(x, w[%d 3 1 1])\n", c.groups*c.width)
		fmt.Fprintf(g, "q = Conv(p, u[%d %d 1 1]) group=%d\n", c.groups*c.width, c.width, c.groups)
		fmt.Fprintf(g, "y = Conv(q, v[5 %d 1 1])", c.groups*c.width)
		m, err := onnxtest.Parse(g.String())
		if err != nil {
			t.Fatal(err)
		}
		after(t, m, compress.Options{Keep: 0.5, Multiple: c.multiple, Options: job.Options{NoData: true}}, "v", 1, c.groups*c.want)
	}
}

// Where a depthwise convolution carries a space, whole blocks of channels stay together, if there
// were whole ones; others are not bound, and what is asked for is done.
func TestDepthwiseKeepsBlocks(t *testing.T) {
	for _, c := range []struct {
		channels, multiple int
		keep               float64
		want               int
	}{{96, 0, 0.4, 32}, {96, 1, 0.4, 38}, {32, 0, 0.6, 16}, {24, 0, 0.7, 16}, {40, 0, 0.7, 32}, {30, 0, 0.7, 21}, {8, 0, 0.5, 4}, {96, 4, 0.4, 40}} {
		m, err := onnxtest.Parse(strings.ReplaceAll(`
			x: N 3 6 6
			a = Conv(x, u[WIDTH 3 1 1])
			b = Conv(a, d[WIDTH 1 3 3]) group=WIDTH
			c = Conv(b, v[40 WIDTH 1 1])
			y = Conv(c, w[5 40 1 1])`, "WIDTH", fmt.Sprint(c.channels)))
		if err != nil {
			t.Fatal(err)
		}
		o := compress.Options{Keep: c.keep, Multiple: c.multiple}
		after(t, m, o, "v", 1, c.want)
		if c.multiple == 0 {
			after(t, m, o, "w", 1, int(math.Round(40*c.keep)))
		}
	}
}

// after checks the size of a weight's axis in the narrowed model.
func after(t *testing.T, m *onnxio.Model, o compress.Options, weight string, axis, want int) {
	t.Helper()
	o.Lossless, o.NoData = job.Off, true
	out, _, err := compress.Model(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	g, err := out.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if n := g.Constant(weight).Dims[axis]; n != int64(want) {
		t.Errorf("%s: %d channels, want %d", weight, n, want)
	}
}
