package coupling

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawAxis draws a term of the given size over fresh atoms; some atoms are used again, so that axes
// share channels.
func drawAxis(t *rapid.T, s *system, size, depth int, pool map[int][]*Axis) *Axis {
	var cuts, divisors []int
	for i := 1; i < size; i++ {
		cuts = append(cuts, i)
		if i > 1 && size%i == 0 {
			divisors = append(divisors, i)
		}
	}
	kind := rapid.IntRange(0, 3).Draw(t, "kind")
	switch {
	case depth > 0 && kind == 1 && len(divisors) > 0:
		d := rapid.SampledFrom(divisors).Draw(t, "outer")
		return s.prod(drawAxis(t, s, d, depth-1, pool), drawAxis(t, s, size/d, depth-1, pool))
	case depth > 0 && kind == 2 && len(cuts) > 0:
		c := rapid.SampledFrom(cuts).Draw(t, "cut")
		return s.sum(drawAxis(t, s, c, depth-1, pool), drawAxis(t, s, size-c, depth-1, pool))
	case kind == 3 && len(pool[size]) > 0:
		return rapid.SampledFrom(pool[size]).Draw(t, "again")
	}
	a := s.atom(size)
	pool[size] = append(pool[size], a)
	return a
}

// Joining two axes makes them enumerate the same channels position by position, whatever they were
// made of, and keeps all sizes.
func TestJoinMakesEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &system{}
		size := rapid.SampledFrom([]int{1, 2, 6, 8, 12, 24, 36}).Draw(t, "size")
		pool := map[int][]*Axis{}
		a, b := drawAxis(t, s, size, 3, pool), drawAxis(t, s, size, 3, pool)
		text := fmt.Sprint(a, " = ", b)
		err := s.join(a, b)
		for _, x := range []*Axis{a, b} {
			if x.Size() != size {
				t.Fatalf("%s: size is %d, want %d", text, x.Size(), size)
			}
			if n := len(Widths(nil).Coordinates(x)); n != size {
				t.Fatalf("%s: %d positions, want %d", text, n, size)
			}
		}
		if err != nil {
			return
		}
		ca, cb := Widths(nil).Coordinates(a), Widths(nil).Coordinates(b)
		if d := cmp.Diff(describe(ca), describe(cb)); d != "" {
			t.Fatalf("%s: became %v and %v: %s", text, a, b, d)
		}
		for _, term := range a.Terms() { // no two positions of a product look the same
			seen := map[string]bool{}
			for _, c := range (Widths(nil)).Coordinates(term) {
				at := fmt.Sprint(c)
				if seen[at] {
					t.Fatalf("%s: %v names two positions alike", text, a)
				}
				seen[at] = true
			}
		}
		if err := s.join(a, b); err != nil {
			t.Fatalf("%s: joined once, not twice: %v", text, err)
		}
	})
}

// Concatenations of any sizes have a common refinement, and so have products whose strides come
// from one chain of divisors.
func TestJoinFindsRefinement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &system{}
		size := rapid.IntRange(1, 40).Draw(t, "size")
		draw := func() *Axis {
			var parts []*Axis
			for left := size; left > 0; {
				n := rapid.IntRange(1, left).Draw(t, "part")
				parts = append(parts, s.atom(n))
				left -= n
			}
			return s.sum(parts...)
		}
		a, b := draw(), draw()
		if err := s.join(a, b); err != nil {
			t.Fatalf("sums %v and %v: %v", a, b, err)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		s := &system{}
		var factors []int
		for range rapid.IntRange(1, 6).Draw(t, "factors") {
			factors = append(factors, rapid.IntRange(1, 4).Draw(t, "factor"))
		}
		draw := func() *Axis { // multiply neighbours together
			var parts []*Axis
			n := 1
			for i, f := range factors {
				if n *= f; i == len(factors)-1 || rapid.Bool().Draw(t, "end") {
					parts = append(parts, s.atom(n))
					n = 1
				}
			}
			return s.prod(parts...)
		}
		a, b := draw(), draw()
		if err := s.join(a, b); err != nil {
			t.Fatalf("products %v and %v: %v", a, b, err)
		}
	})
}

func describe(c [][]Coord) []string {
	out := make([]string, len(c))
	for i, x := range c {
		for _, y := range x {
			if y.Atom == nil || y.Atom.size == 1 { // parts, and factors of size one, say nothing
				continue
			}
			out[i] += fmt.Sprintf("%d:%d ", y.Atom.find().id, y.Index)
		}
	}
	return out
}

// cut and divide split an axis into parts that together are the old one.
func TestCutAndDivide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &system{}
		size := rapid.SampledFrom([]int{2, 6, 8, 12, 24}).Draw(t, "size")
		a := drawAxis(t, s, size, 3, map[int][]*Axis{})
		var whole *Axis
		if at := rapid.IntRange(1, size-1).Draw(t, "at"); rapid.Bool().Draw(t, "cut") {
			l, r, err := s.cutAt(a, at)
			if err != nil {
				return
			}
			if l.Size() != at || r.Size() != size-at {
				t.Fatalf("cut at %d of %d: %v and %v", at, size, l, r)
			}
			whole = s.sum(l, r)
		} else {
			s.fuel = joinFuel
			o, i, err := s.divide(a, at)
			if err != nil {
				return
			}
			if i.Size() != at || o.Size()*at != size {
				t.Fatalf("%d in blocks of %d: %v and %v", size, at, o, i)
			}
			whole = s.prod(o, i)
		}
		if d := cmp.Diff(describe(Widths(nil).Coordinates(a)), describe(Widths(nil).Coordinates(whole))); d != "" {
			t.Fatalf("%v is not %v: %s", a, whole, d)
		}
	})
}

func TestJoinRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(s *system) (a, b *Axis)
		want  string
	}{
		{"sizes", func(s *system) (a, b *Axis) { return s.atom(4), s.atom(5) }, "4 channels against 5"},
		{"strides", func(s *system) (a, b *Axis) {
			return s.prod(s.atom(2), s.atom(3)), s.prod(s.atom(3), s.atom(2))
		}, "3 does not divide into blocks of 2"},
		{"itself", func(s *system) (a, b *Axis) {
			x := s.atom(-1)
			return x, s.prod(x, s.atom(2))
		}, "#1:? would contain itself"},
		{"unknown", func(s *system) (a, b *Axis) {
			return s.sum(s.atom(-1), s.atom(2)), s.sum(s.atom(2), s.atom(-1))
		}, "sizes are not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &system{}
			a, b := c.build(s)
			err := s.join(a, b)
			if err == nil || err.Error() != c.want {
				t.Errorf("%v = %v: error %v, want %s", a, b, err, c.want)
			}
		})
	}
}

// Small descriptions of huge axes cost little: work is bounded, whatever the answer.
func TestJoinIsBounded(t *testing.T) {
	double := func(s *system, a *Axis, join func(...*Axis) *Axis, times int) *Axis {
		for range times {
			a = join(a, a)
		}
		return a
	}
	t.Run("shared sums", func(t *testing.T) {
		s := &system{}
		a, b := double(s, s.atom(3), s.sum, 30), double(s, s.sum(s.atom(1), s.atom(2)), s.sum, 30)
		if err := s.join(a, b); err != errParts {
			t.Errorf("error %v, want %v", err, errParts)
		}
		if n := len(a.Atoms()); n > 4 {
			t.Errorf("%d atoms", n)
		}
		if text := a.String(); len(text) > 100 {
			t.Errorf("prints %d bytes", len(text))
		}
	})
	t.Run("shared products of unknown size", func(t *testing.T) {
		s := &system{}
		a, b := double(s, s.atom(-1), s.prod, 60), double(s, s.atom(-1), s.prod, 60)
		if err := s.join(a, b); err != errParts {
			t.Errorf("error %v, want %v", err, errParts)
		}
	})
	t.Run("overflow", func(t *testing.T) {
		s := &system{}
		if a := double(s, s.atom(1<<30), s.prod, 3); a.Size() != -1 {
			t.Errorf("size %d", a.Size())
		}
	})
	t.Run("many terms", func(t *testing.T) {
		s := &system{}
		const n = 20000
		var as, bs []*Axis
		for range n {
			as = append(as, s.atom(3))
			bs = append(bs, s.atom(2), s.atom(1))
		}
		a, b := s.sum(as...), s.sum(bs...)
		if err := s.join(a, b); err != nil {
			t.Fatal(err)
		}
		if k := len(a.Terms()); k != 2*n {
			t.Errorf("%d terms, want %d", k, 2*n)
		}
	})
}

// Marks survive refinement: what was frozen or flagged before stays so after.
func TestMarksFollowRefinement(t *testing.T) {
	s := &system{}
	x := s.atom(6)
	x.freeze("first")
	x.freeze("second")
	x.flag(joined)
	g := s.atom(4)
	x.index(g)
	if err := s.join(x, s.sum(s.atom(2), s.atom(4))); err != nil {
		t.Fatal(err)
	}
	for _, a := range x.Atoms() {
		if a.atom.frozen != "first" || a.atom.flags != joined || len(a.atom.indexed) != 1 || a.atom.indexed[0] != g {
			t.Errorf("%v: %+v", a, a.atom)
		}
	}
}

func TestChannels(t *testing.T) {
	s := &system{}
	a, b, h := s.atom(2), s.atom(3), s.atom(2)
	for _, c := range []struct {
		axis *Axis
		w    Widths
		of   []*Axis
		want []int
		once bool
	}{
		{s.sum(a, b), nil, []*Axis{a, b}, []int{0, 1, 2, 3, 4}, true},
		{s.sum(b, a), nil, []*Axis{a, b}, []int{2, 3, 4, 0, 1}, true},
		{s.sum(a, b), nil, []*Axis{b}, []int{-1, -1, 0, 1, 2}, true},
		{s.sum(a, b), Widths{b: 1}, []*Axis{a, b}, []int{0, 1, 2}, true},
		{s.prod(a, h), nil, []*Axis{a}, []int{0, 0, 1, 1}, true},
		{s.prod(a, h), nil, []*Axis{h}, []int{0, 1, 0, 1}, true},
		{s.prod(a, a), nil, []*Axis{a}, []int{0, 1, 0, 1}, false},
	} {
		got, once := c.w.Channels(c.axis, c.of...)
		if diff := cmp.Diff(c.want, got); diff != "" || once != c.once {
			t.Errorf("%v: once is %v, want %v\n%s", c.axis, once, c.once, diff)
		}
	}
}

// A boundary inside a block leaves the channel whose block it is by itself.
func TestJoinInsideABlock(t *testing.T) {
	s := &system{}
	outer, inner := s.atom(5), s.atom(2)
	a, b := s.sum(s.atom(5), s.atom(5)), s.prod(outer, inner)
	if err := s.join(a, b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int{2, 1, 2}, sizesOf(outer.Terms())); d != "" {
		t.Errorf("parts of the outer factor (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]int{1, 1}, sizesOf(inner.Terms())); d != "" {
		t.Errorf("parts of the inner factor (-want +got):\n%s", d)
	}
}
