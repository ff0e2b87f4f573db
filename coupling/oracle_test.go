package coupling

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A tracked tensor carries an id in every element, so that where elements go can be computed
// without any algebra. Id 0 is padding.
type tracked struct {
	name string
	dims []int
	ids  []int
}

// at returns the id at a position.
func (x *tracked) at(pos []int) int {
	i := 0
	for k, p := range pos {
		i = i*x.dims[k] + p
	}
	return x.ids[i]
}

// filled makes a tensor of the given shape whose elements f computes.
func filled(name string, dims []int, f func(pos []int) int) *tracked {
	x := &tracked{name: name, dims: dims}
	pos := make([]int, len(dims))
	n := 1
	for _, d := range dims {
		n *= d
	}
	for range n {
		x.ids = append(x.ids, f(pos))
		for k := len(pos) - 1; k >= 0; k-- {
			if pos[k]++; pos[k] < dims[k] {
				break
			}
			pos[k] = 0
		}
	}
	return x
}

// A mover draws random graphs of operators that only move elements, and moves the ids as the
// operators' definitions say.
type mover struct {
	t     *rapid.T
	parts []onnxtest.Part
	pool  []*tracked
	next  int
	ids   int
}

func (m *mover) name(prefix string) string {
	m.next++
	return fmt.Sprintf("%s%d", prefix, m.next)
}

func (m *mover) ints(v ...int) string {
	name := m.name("shape")
	w := make([]int64, len(v))
	for i, x := range v {
		w[i] = int64(x)
	}
	m.parts = append(m.parts, onnxtest.Ints(name, w...))
	return name
}

func (m *mover) source(dims []int) *tracked {
	name := m.name("w")
	m.parts = append(m.parts, onnxtest.Weights(name, dims, rand.New(rand.NewPCG(1, 1))))
	x := filled(name, dims, func([]int) int { m.ids++; return m.ids })
	m.pool = append(m.pool, x)
	return x
}

func (m *mover) node(op, ins string, outs ...*tracked) {
	names := ""
	for _, o := range outs {
		names += o.name + " "
	}
	m.parts = append(m.parts, onnxtest.Node(op, ins, names))
	m.pool = append(m.pool, outs...)
}

func (m *mover) attr(name string, v ...any) {
	last := m.parts[len(m.parts)-1]
	a := onnxtest.Attr(name, v...)
	m.parts[len(m.parts)-1] = func(p *onnxpb.ModelProto) {
		last(p)
		n := p.Graph.Node[len(p.Graph.Node)-1]
		n.Attribute = append(n.Attribute, a)
	}
}

// step adds one random operator.
func (m *mover) step() {
	t := m.t
	x := rapid.SampledFrom(m.pool).Draw(t, "x")
	if len(x.ids) > 500 || len(x.dims) == 0 {
		return
	}
	axis := rapid.IntRange(0, len(x.dims)-1).Draw(t, "axis")
	n := x.dims[axis]
	moved := func(prefix string, dims []int, from func(pos []int) []int) *tracked {
		return filled(m.name(prefix), dims, func(pos []int) int {
			if p := from(pos); p != nil {
				return x.at(p)
			}
			return 0
		})
	}
	with := func(d int) []int {
		out := slices.Clone(x.dims)
		out[axis] = d
		return out
	}
	shifted := func(by int) func([]int) []int {
		return func(pos []int) []int {
			p := slices.Clone(pos)
			if p[axis] += by; p[axis] < 0 || p[axis] >= n {
				return nil
			}
			return p
		}
	}
	switch rapid.IntRange(0, 10).Draw(t, "operator") {
	case 0: // Reshape: split an axis, or merge it with the next one
		dims := slices.Clone(x.dims)
		if axis+1 < len(dims) && rapid.Bool().Draw(t, "merge") {
			dims = slices.Replace(dims, axis, axis+2, dims[axis]*dims[axis+1])
		} else {
			var divisors []int
			for d := 1; d <= n; d++ {
				if n%d == 0 {
					divisors = append(divisors, d)
				}
			}
			d := rapid.SampledFrom(divisors).Draw(t, "outer")
			dims = slices.Replace(dims, axis, axis+1, d, n/d)
		}
		o := &tracked{m.name("r"), dims, x.ids}
		shape := slices.Clone(dims)
		if rapid.Bool().Draw(t, "infer") {
			shape[rapid.IntRange(0, len(shape)-1).Draw(t, "inferred")] = -1
		}
		m.node("Reshape", x.name+" "+m.ints(shape...), o)
	case 1:
		perm := rapid.Permutation(seq(len(x.dims))).Draw(t, "perm")
		dims := make([]int, len(perm))
		at := make([]any, len(perm))
		for i, p := range perm {
			dims[i], at[i] = x.dims[p], p
		}
		m.node("Transpose", x.name, moved("t", dims, func(pos []int) []int {
			from := make([]int, len(pos))
			for i, p := range perm {
				from[p] = pos[i]
			}
			return from
		}))
		if len(perm) == 1 {
			return
		}
		m.attr("perm", at...)
	case 2: // Concat with itself, another tensor of the same sizes, or a new one
		var other *tracked
		if same := slices.DeleteFunc(slices.Clone(m.pool), func(y *tracked) bool {
			return len(y.dims) != len(x.dims) || !slices.Equal(y.dims[:axis], x.dims[:axis]) || !slices.Equal(y.dims[axis+1:], x.dims[axis+1:])
		}); rapid.Bool().Draw(t, "known") {
			other = rapid.SampledFrom(same).Draw(t, "other")
		} else {
			other = m.source(with(rapid.IntRange(1, 4).Draw(t, "size")))
		}
		o := filled(m.name("c"), with(n+other.dims[axis]), func(pos []int) int {
			if pos[axis] < n {
				return x.at(pos)
			}
			p := slices.Clone(pos)
			p[axis] -= n
			return other.at(p)
		})
		m.node("Concat", x.name+" "+other.name, o)
		m.attr("axis", axis)
	case 3:
		lo := rapid.IntRange(0, n-1).Draw(t, "lo")
		hi := rapid.IntRange(lo+1, n).Draw(t, "hi")
		start, end := lo, hi
		if rapid.Bool().Draw(t, "from the end") {
			start = lo - n
		}
		m.node("Slice", fmt.Sprint(x.name, " ", m.ints(start), " ", m.ints(end), " ", m.ints(axis)), moved("s", with(hi-lo), shifted(lo)))
	case 4:
		step := rapid.SampledFrom([]int{-1, 2, -2}).Draw(t, "step")
		var pick []int
		for p := rapid.IntRange(0, n-1).Draw(t, "start"); p >= 0 && p < n; p += step {
			pick = append(pick, p)
		}
		end := n
		if step < 0 {
			end = -n - 1
		}
		m.node("Slice", fmt.Sprint(x.name, " ", m.ints(pick[0]), " ", m.ints(end), " ", m.ints(axis), " ", m.ints(step)), moved("s", with(len(pick)), func(pos []int) []int {
			p := slices.Clone(pos)
			p[axis] = pick[pos[axis]]
			return p
		}))
	case 5:
		before, after := rapid.IntRange(0, 2).Draw(t, "before"), rapid.IntRange(0, 2).Draw(t, "after")
		pads := make([]int, 2*len(x.dims))
		pads[axis], pads[len(x.dims)+axis] = before, after
		m.node("Pad", x.name+" "+m.ints(pads...), moved("p", with(n+before+after), shifted(-before)))
	case 6:
		if n < 2 {
			return
		}
		a := rapid.IntRange(1, n-1).Draw(t, "first")
		m.node("Split", x.name+" "+m.ints(a, n-a), moved("l", with(a), shifted(0)), moved("r", with(n-a), shifted(a)))
		m.attr("axis", axis)
	case 7:
		outer, inner := 1, 1
		for k, d := range x.dims {
			if k < axis {
				outer *= d
			} else {
				inner *= d
			}
		}
		m.node("Flatten", x.name, &tracked{m.name("f"), []int{outer, inner}, x.ids})
		m.attr("axis", axis)
	case 8:
		if n != 1 || len(x.dims) == 1 {
			return
		}
		m.node("Squeeze", x.name+" "+m.ints(axis), &tracked{m.name("q"), slices.Delete(slices.Clone(x.dims), axis, axis+1), x.ids})
	case 9:
		m.node("Unsqueeze", x.name+" "+m.ints(axis), &tracked{m.name("u"), slices.Insert(slices.Clone(x.dims), axis, 1), x.ids})
	case 10:
		pick := rapid.SliceOfN(rapid.IntRange(0, n-1), 1, 3).Draw(t, "indices")
		m.node("Gather", x.name+" "+m.ints(pick...), moved("g", with(len(pick)), func(pos []int) []int {
			p := slices.Clone(pos)
			p[axis] = pick[pos[axis]]
			return p
		}))
		m.attr("axis", axis)
	}
}

func seq(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// The oracle of the design: wherever an element goes, the analysis must say that it lies at the
// channels from which it came. Channels that may not change are left out: of them nothing is
// claimed.
func TestIntegerIDs(t *testing.T) {
	checked := 0
	rapid.Check(t, func(t *rapid.T) {
		m := &mover{t: t}
		m.source(rapid.SampledFrom([][]int{{6}, {4, 6}, {2, 3, 4}, {2, 6, 2, 2}}).Draw(t, "source"))
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			m.step()
		}
		an, err := newAnalyzer(onnxtest.Model(nil, nil, m.parts...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := an.run(); err != nil {
			t.Fatal(err)
		}
		home := map[int][]string{}
		for _, x := range m.pool {
			v := an.values[x.name]
			if v == nil || !slices.Equal(v.sizes(), x.dims) {
				t.Fatalf("%s: shape %v, want %v", x.name, v.sizes(), x.dims)
			}
			axes := make([][][]Coord, len(v.axes))
			for k, a := range v.axes {
				axes[k] = Widths(nil).Coordinates(a)
			}
			filled("", x.dims, func(pos []int) int {
				id := x.at(pos)
				if id == 0 {
					return 0
				}
				var at []string
				for k, p := range pos {
					for _, c := range axes[k][p] {
						if c.Atom != nil && c.Atom.size > 1 && c.Atom.atom.frozen == "" {
							at = append(at, fmt.Sprintf("%d:%d", c.Atom.id, c.Index))
							checked++
						}
					}
				}
				slices.SortFunc(at, cmp.Compare[string])
				if want, ok := home[id]; !ok {
					home[id] = at
				} else if d := gocmp.Diff(want, at); d != "" {
					t.Fatalf("%s at %v (-where it came from +where it is):\n%s", x.name, pos, d)
				}
				return 0
			})
		}
	})
	if checked < 1000 {
		t.Errorf("only %d coordinates were checked", checked)
	}
}
