package stats

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"pgregory.net/rapid"
)

// evaluate runs a plan in Go, for one channel of x and of y.
func evaluate(p *plan, x, y []int) (xx, xy []int) {
	at := func(op *operand, row, shift int) int {
		i := op.places[row*op.shifts+shift]
		switch {
		case i < 0:
			return 0
		case op.y:
			return y[i]
		}
		return x[i]
	}
	sum := func(terms []term) int {
		s := 0.0
		for _, t := range terms {
			q := p.products[t.product]
			for r := range q.left.rows {
				s += t.sign * float64(at(q.left, r, t.left)*at(q.right, r, t.right))
			}
		}
		return int(s)
	}
	for t := range p.taps {
		for u := t; u < p.taps; u++ {
			xx = append(xx, sum(p.xx[t*p.taps+u]))
		}
		xy = append(xy, sum([]term{p.xy[t]}))
	}
	return xx, xy
}

// Whatever the window, sliding products give what unfolding gives.
func TestSlidingIsDirect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rank := rapid.IntRange(1, 2).Draw(t, "rank")
		w := &onnxio.Window{}
		var in []int
		begins, ends := []int{}, []int{}
		for range rank {
			w.Kernel = append(w.Kernel, rapid.IntRange(1, 4).Draw(t, "kernel"))
			w.Dilations = append(w.Dilations, rapid.IntRange(1, 3).Draw(t, "dilation"))
			begins = append(begins, rapid.IntRange(0, 5).Draw(t, "begin"))
			ends = append(ends, rapid.IntRange(0, 5).Draw(t, "end"))
			in = append(in, rapid.IntRange(1, 9).Draw(t, "in"))
		}
		w.Pads = append(begins, ends...)
		w.AutoPad = rapid.SampledFrom([]string{"", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"}).Draw(t, "auto_pad")
		dims, err := placed(w, in)
		if err != nil {
			t.Skip(err)
		}
		slide, plain := sliding(dims), direct(dims, nil)
		if slide == nil {
			if plain.taps > 1 {
				t.Fatal("no sliding plan for stride 1")
			}
			return
		}
		rng := rand.New(rand.NewPCG(1, 1))
		random := func(n int) []int {
			v := make([]int, n)
			for i := range v {
				v[i] = rng.IntN(100) - 30
			}
			return v
		}
		x := random(engine.Count(in))
		y := random(engine.Count(sizes(dims, func(d onnxio.WindowAxis) int { return d.Out })))
		xx1, xy1 := evaluate(slide, x, y)
		xx2, xy2 := evaluate(plain, x, y)
		if diff := cmp.Diff(xx2, xx1); diff != "" {
			t.Errorf("xx: %s", diff)
		}
		if diff := cmp.Diff(xy2, xy1); diff != "" {
			t.Errorf("xy: %s", diff)
		}
	})
}

// A common convolution takes far fewer multiplications than its patches would.
func TestSlidingCost(t *testing.T) {
	dims, err := placed(&onnxio.Window{Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}}, []int{32, 32})
	if err != nil {
		t.Fatal(err)
	}
	slide, plain := sliding(dims), direct(dims, nil)
	if plain.macs != 81*1024 || slide.macs > 17*1024 || len(slide.products) != 10 {
		t.Errorf("%d multiplications in %d products, %d by unfolding", slide.macs, len(slide.products), plain.macs)
	}
}
