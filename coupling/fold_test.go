package coupling

import (
	"math"
	"testing"
)

// Integers of shapes are computed as onnxruntime does, and a size that nothing changes stays the
// size of its axis.
func TestEvalInts(t *testing.T) {
	s := &system{}
	axis := s.atom(-1)
	n := func(v int64) elem { return elem{known: true, v: v} }
	size := elem{size: axis, tied: true}
	for _, c := range []struct {
		op   string
		args []elem
		want elem
		ok   bool
	}{
		{"Add", []elem{n(2), n(3)}, n(5), true},
		{"Sum", []elem{n(2), n(3), n(4)}, n(9), true},
		{"Sub", []elem{n(2), n(3)}, n(-1), true},
		{"Mul", []elem{n(0), n(3)}, n(0), true},
		{"Mul", []elem{n(1 << 40), n(1 << 40)}, elem{}, false},
		{"Div", []elem{n(-7), n(2)}, n(-3), true},
		{"Div", []elem{n(7), n(0)}, elem{}, false},
		{"Div", []elem{n(math.MinInt64), n(-1)}, elem{}, false},
		{"Mod", []elem{n(-7), n(3)}, n(2), true},
		{"Max", []elem{n(2), n(5), n(3)}, n(5), true},
		{"Min", []elem{n(2), n(5)}, n(2), true},
		{"Equal", []elem{n(2), n(2)}, n(1), true},
		{"Less", []elem{n(2), n(2)}, n(0), true},
		{"LessOrEqual", []elem{n(2), n(2)}, n(1), true},
		{"Greater", []elem{n(3), n(2)}, n(1), true},
		{"GreaterOrEqual", []elem{n(1), n(2)}, n(0), true},
		{"And", []elem{n(1), n(0)}, n(0), true},
		{"Or", []elem{n(1), n(0)}, n(1), true},
		{"Where", []elem{n(1), n(2), n(3)}, n(2), true},
		{"Where", []elem{n(0), n(2), n(3)}, n(3), true},
		{"Where", []elem{{}, n(2), n(3)}, elem{}, true},
		{"Pow", []elem{n(2), n(3)}, elem{}, false},
		{"Add", []elem{size, n(0)}, size, true},
		{"Add", []elem{n(0), size}, size, true},
		{"Sub", []elem{size, n(0)}, size, true},
		{"Sub", []elem{n(0), size}, elem{}, true},
		{"Mul", []elem{n(1), size}, size, true},
		{"Mul", []elem{size, n(1)}, size, true},
		{"Div", []elem{size, n(1)}, size, true},
		{"Div", []elem{n(1), size}, elem{}, true},
		{"Equal", []elem{size, n(-1)}, n(0), true},
		{"Equal", []elem{n(-1), size}, n(0), true},
		{"Equal", []elem{size, n(4)}, elem{}, true},
	} {
		if got, ok := s.evalInts(c.op, c.args); got != c.want || ok != c.ok {
			t.Errorf("%s of %v: %v, %v, want %v, %v", c.op, c.args, got, ok, c.want, c.ok)
		}
	}
	got, ok := s.evalInts("Mul", []elem{size, n(8)})
	if !ok || got.known || got.tied || got.size == nil || len(got.size.Factors()) != 2 || !got.size.Factors()[0].is(axis) {
		t.Errorf("eight times a size is %v", got)
	}
}
