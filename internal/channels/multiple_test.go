package channels_test

import (
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Widths suit the kernels of convolutions over images if they did before; those of other operators
// are free.
func TestMultiple(t *testing.T) {
	m, err := onnxtest.Parse(`
		x: N 3 8 8
		a = Conv(x, w1[64 3 3 3])
		b = Conv(a, w2[24 64 3 3]) kernel_shape=3,3
		c = Conv(b, w3[36 24 1 1])
		d = Conv(c, w4[12 36 1 1])
		e = Conv(d, w5[32 12 1 1])
		f = Conv(e, w6[32 1 3 3]) group=32
		g = Conv(f, w7[24 32 1 1])
		h = Conv(g, w8[24 1 1 1]) group=24
		i = Conv(h, w9[64 24 1 1])
		j = Conv(i, w10[64 32 1 1]) group=2
		k = Flatten(j)
		l = MatMul(k, w11[256 64])
		y = MatMul(l, w12[64 10])`)
	if err != nil {
		t.Fatal(err)
	}
	a, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	of := map[string][2]int{}
	for _, s := range a.Spaces {
		for _, u := range s.Producers() {
			of[u.Tensor] = [2]int{channels.Multiple(s, 0), channels.MultipleOfShare(s, 0)}
			if got := channels.Multiple(s, 3); s.Groups == 1 && got != 3 {
				t.Errorf("%s: a multiple of %d where 3 was given", u.Tensor, got)
			}
		}
	}
	for weight, want := range map[string][2]int{
		"w1": {8, 1}, "w2": {4, 1}, "w3": {4, 1}, "w4": {1, 1}, "w5": {16, 16}, "w7": {8, 8}, "w11": {1, 1},
	} {
		if of[weight] != want {
			t.Errorf("%s: multiples of %v, want %v", weight, of[weight], want)
		}
	}
}

func TestMultipleOfRank(t *testing.T) {
	m, err := onnxtest.Parse(`
		x: N 64 8 8
		a = Conv(x, w1[64 64 3 3])
		b = Conv(a, w2[64 32 3 3]) group=2
		c = Flatten(b)
		y = MatMul(c, w3[1024 10])`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{8, 1, 1, 1} {
		if got := channels.MultipleOfRank(m.Proto.Graph.Node[i], 64, 0); got != want {
			t.Errorf("node %d: a multiple of %d, want %d", i, got, want)
		}
	}
	if got := channels.MultipleOfRank(m.Proto.Graph.Node[0], 64, 5); got != 5 {
		t.Errorf("a multiple of %d where 5 was given", got)
	}
}
