package coupling_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/modeltest"
)

// The identities hold for every space of every trained model.
func TestTrainedModels(t *testing.T) {
	for _, name := range modeltest.Names(t) {
		t.Run(name, func(t *testing.T) { identities(t, modeltest.Load(t, name)) })
	}
}

// The shortcut of an option-A network is a Pad of the channels whose amounts PyTorch computes by a
// chain of ten operators: folded, it gives the two zero-padded sides, which make one space, and the
// channels between.
func TestOptionA(t *testing.T) {
	a, err := coupling.Analyze(modeltest.Load(t, "resnet_optiona"), coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var wide []string
	for _, s := range a.Spaces {
		if s.Frozen && !strings.Contains(s.Reason, "graph ") {
			t.Errorf("space %q is frozen: %s", s.Name, s.Reason)
		}
		if s.Residual {
			wide = append(wide, fmt.Sprint(s.Width, " in ", len(s.Pieces)))
		}
	}
	if d := cmp.Diff([]string{"16 in 1", "16 in 2"}, wide); d != "" {
		t.Errorf("residual streams (-want +got):\n%s", d)
	}
	if share := a.NarrowableShare(); share < 0.99 {
		t.Errorf("only %.3f of the parameters can be narrowed", share)
	}
}

// A DenseNet of 121 layers: Concats of up to 25 parts that later blocks read whole,
// BatchNormalization on each.
func TestDenseNetIsQuick(t *testing.T) {
	var b strings.Builder
	b.WriteString("x: N 3 8 8\n")
	convs, in := 0, 3
	conv := func(from string, to, kernel int) string {
		convs++
		fmt.Fprintf(&b, "n%d = BatchNormalization(%s, scale%d[%d], shift%d[%d], mean%d[%d], var%d[%d])\n", convs, from, convs, in, convs, in, convs, in, convs, in)
		fmt.Fprintf(&b, "r%d = Relu(n%d)\n", convs, convs)
		fmt.Fprintf(&b, "c%d = Conv(r%d, w%d[%d %d %d %d]) pads=%d,%d,%d,%d\n", convs, convs, convs, to, in, kernel, kernel, kernel/2, kernel/2, kernel/2, kernel/2)
		in = to
		return fmt.Sprintf("c%d", convs)
	}
	x := conv("x", 8, 3)
	const growth = 4
	for block, layers := range []int{6, 12, 24, 16} {
		parts, width := []string{x}, in
		for range layers {
			cat := parts[0]
			if len(parts) > 1 {
				cat = fmt.Sprintf("cat%d", convs)
				fmt.Fprintf(&b, "%s = Concat(%s) axis=1\n", cat, strings.Join(parts, ", "))
			}
			in = width
			conv(cat, 4*growth, 1)
			parts = append(parts, conv(fmt.Sprintf("c%d", convs), growth, 3))
			width += growth
		}
		fmt.Fprintf(&b, "block%d = Concat(%s) axis=1\n", block, strings.Join(parts, ", "))
		in = width
		x = conv(fmt.Sprintf("block%d", block), width/2, 1)
	}
	fmt.Fprintf(&b, "p = GlobalAveragePool(%s)\nf = Flatten(p)\ny = Gemm(f, head[%d 10])", x, in)
	m := graph(t, b.String())
	start := time.Now()
	a, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("took %v", d)
	}
	if want := convs + 2; len(a.Spaces) != want { // one for each Conv, the input and the output
		t.Errorf("%d spaces, want %d", len(a.Spaces), want)
	}
	frozen := slices.DeleteFunc(a.Spaces, func(s *coupling.Space) bool { return !s.Frozen })
	if len(frozen) != 2 {
		t.Errorf("%d spaces are frozen, want input and output: %v", len(frozen), frozen)
	}
}

// A residual chain of two thousand nodes, and one of Concats, neither recurse too deep nor take
// long.
func TestDeepGraphs(t *testing.T) {
	for name, step := range map[string]string{
		"residual": "c%[1]d = Add(c%[2]d, c%[2]d)\n",
		"concat":   "d%[1]d = Concat(c%[2]d, c0) axis=1\nc%[1]d = Slice(d%[1]d, s%[1]d{%[2]d}, e%[1]d{9999999}, a%[1]d{1})\n",
		"reshape":  "c%[1]d = Reshape(c%[2]d, s%[1]d{0 -1 2 2})\n",
		"dense":    "c%[1]d = Concat(c%[2]d, c0) axis=1\n",
		"double":   "c%[1]d = Concat(c%[2]d, c%[2]d) axis=1\n",
		"shape":    "s%[1]d = Shape(c%[2]d)\nc%[1]d = Reshape(c%[2]d, s%[1]d)\n",
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			b.WriteString("x: N 3 2 2\nc0 = Conv(x, w[8 3 1 1])\n")
			for i := 1; i <= 2000; i++ {
				fmt.Fprintf(&b, step, i, i-1)
			}
			b.WriteString("y = GlobalAveragePool(c2000)")
			m := graph(t, b.String())
			start := time.Now()
			if _, err := coupling.Analyze(m, coupling.Options{}); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d > time.Minute {
				t.Errorf("took %v", d)
			}
		})
	}
}

// Sizes in a model are whatever its maker wrote: none may be allocated.
func TestAbsurdSizes(t *testing.T) {
	for name, text := range map[string]string{
		"input":           "x: 1099511627776 3 4611686018427387904 7\ny = Relu(x)",
		"flatten":         "x: 4611686018427387904 4611686018427387904\na = Flatten(x)\nb = Transpose(a)\ny = Flatten(b) axis=2",
		"reshape":         "x: N 8\na = Gemm(x, w[8 8])\ny = Reshape(a, s{4611686018427387904 -1})",
		"pads":            "x: N 8\na = Gemm(x, w[8 8])\ny = Pad(a, p{0 4611686018427387904 0 4611686018427387904})",
		"expand":          "x: N 8\na = Gemm(x, w[8 8])\ny = Expand(a, s{1099511627776 1 8})",
		"tile":            "x: N 8\na = Gemm(x, w[8 8])\ny = Tile(a, s{4611686018427387904 4611686018427387904})",
		"constant":        "x: N 8\na = Gemm(x, w[8 8])\nc = ConstantOfShape(s{4096 4503599627370496})\ny = Add(a, c)",
		"range":           "x: N 8\nr = Range(a{=0}, b{=4611686018427387904}, c{=1})\ny = Gather(x, r)",
		"slice":           "x: N 8\na = Gemm(x, w[8 8])\ny = Slice(a, s{-9223372036854775808}, e{9223372036854775807}, ax{1}, st{-9223372036854775808})",
		"kernel":          "x: N 3 8 8\na = Conv(x, w[8 3 1 1])\ny = MaxPool(a) kernel_shape=4611686018427387904,1 strides=4611686018427387904,1 dilations=4611686018427387904,4611686018427387904",
		"blocks":          "x: N 8 2 2\na = Conv(x, w[8 8 1 1])\nb = DepthToSpace(a) blocksize=4611686018427387904\ny = SpaceToDepth(b) blocksize=4294967296",
		"resize":          "x: N 8 2 2\na = Conv(x, w[8 8 1 1])\ny = Upsample(a) scales=1.0,1e30,-1e30,2.0",
		"zero dimensions": "x: 0 8 0 0\na = Conv(x, w[8 8 1 1])\nb = Flatten(a)\nc = Concat(b, b) axis=1\ny = Reshape(c, s{0 -1})",
	} {
		t.Run(name, func(t *testing.T) {
			m := graph(t, text)
			n := testing.AllocsPerRun(1, func() {
				a, err := coupling.Analyze(m, coupling.Options{})
				if err == nil {
					a.MACs(nil)
					a.Params(nil)
					describe(a)
				}
			})
			if n > 20000 {
				t.Errorf("%.0f allocations", n)
			}
		})
	}
}
