package coupling_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/match"
	"github.com/monge-ml/monge/onnxio"
)

// tolerance is how far outputs may be apart, relative to their largest value: float32 sums taken in
// another order.
const tolerance = 1e-5

// identities checks, for every space of a model, what must hold exactly if the analysis is right:
//
//	permuting its channels changes no output;
//	dropping channels is zeroing, in the original, what consumers read of them;
//	splitting each channel in two and merging the copies returns the original;
//	folding scales, and then turning a normalised stream into more coordinates, changes no output;
//
// and every edited model loads in onnxruntime with full checking and has the outputs' shapes of the
// original.
func identities(t *testing.T, m *onnxio.Model) {
	t.Helper()
	enginetest.Require(t)
	s := subject(t, m)
	feeds := randomFeeds(t, m)
	want := run(t, m, feeds)
	all := edit.Maps{}
	for _, sp := range s.Analysis.Spaces {
		if sp.Frozen {
			continue
		}
		all[sp] = permutation(sp)
		allowed := tolerance
		check := func(what string, m *onnxio.Model, want map[string]*engine.Value) {
			t.Helper()
			if d := distance(t, want, run(t, m, feeds)); !(d <= allowed) {
				t.Errorf("space %q: %s changes outputs by %.2g", sp.Name, what, d)
			}
		}
		check("permuting", edited(t, s, edit.Maps{sp: all[sp]}), want)
		if !sp.Narrowable() || sp.Width < 2 {
			continue
		}
		keep := subset(sp)
		check("dropping channels, compared with zeroing them,", edited(t, s, edit.Maps{sp: selection(sp, keep)}), run(t, zeroed(t, s, sp, keep), feeds))
		if slices.ContainsFunc(sp.Uses, func(u coupling.Use) bool { return s.Analysis.Weights[u.Tensor].Quant != nil }) {
			allowed = 0.02 // halves of integers are rounded
		}
		wide := edited(t, s, edit.Maps{sp: duplication(sp)})
		check("duplicating", wide, want)
		check("duplicating and merging", merged(t, wide, sp), want)
	}
	turned(t, s, feeds, want)
	if d := distance(t, want, run(t, edited(t, s, all), feeds)); !(d <= tolerance) {
		t.Errorf("permuting all spaces changes outputs by %.2g", d)
	}
}

// turned checks that columns that are orthonormal may act on every stream that can be rotated, once
// its scales are folded.
func turned(t *testing.T, s *edit.Subject, feeds, want map[string]*engine.Value) {
	t.Helper()
	m, _, err := edit.FoldScales(s, s.Analysis.Spaces)
	if err != nil {
		t.Fatal(err)
	}
	if d := distance(t, want, run(t, m, feeds)); !(d <= tolerance) {
		t.Errorf("folding scales changes outputs by %.2g", d)
	}
	s = subject(t, m)
	for _, sp := range s.Analysis.Spaces {
		if !sp.Stream.Rotates() || sp.Stream.Skewed != "" {
			continue
		}
		scale := map[string]edit.Rows{}
		for _, n := range sp.Stream.Scales {
			scale[n.Weight] = slices.Repeat(edit.Rows{{{Col: 0, Val: 1}}}, sp.Width+3)
		}
		in, out := widening(sp.Width, sp.Width+3)
		wide := edited(t, s, edit.Maps{sp: {Groups: []edit.Transfer{{In: in, OutT: out}}, Pieces: []int{sp.Width + 3}, Scale: scale}})
		if d := distance(t, want, run(t, wide, feeds)); !(d <= 2*tolerance) {
			t.Errorf("space %q: turning it into %d coordinates changes outputs by %.2g", sp.Name, sp.Width+3, d)
		}
	}
}

// widening leads n coordinates to k by orthonormal columns that keep the mean, scaled such that the
// mean square stays too.
func widening(n, k int) (in, out edit.Rows) {
	to, from := helmert(k), helmert(n)
	scale := math.Sqrt(float64(k) / float64(n))
	in, out = make(edit.Rows, k), make(edit.Rows, k)
	for i := range k {
		for c := range n {
			v := 0.0
			for j := range n {
				v += to[j][i] * from[j][c]
			}
			in[i] = append(in[i], edit.Entry{Col: c, Val: scale * v})
			out[i] = append(out[i], edit.Entry{Col: c, Val: v / scale})
		}
	}
	return in, out
}

// helmert is an orthonormal matrix whose first row is the same everywhere.
func helmert(n int) [][]float64 {
	out := make([][]float64, n)
	for j := range out {
		out[j] = make([]float64, n)
		for i := range n {
			switch {
			case j == 0:
				out[j][i] = 1 / math.Sqrt(float64(n))
			case i < j:
				out[j][i] = 1 / math.Sqrt(float64(j*(j+1)))
			case i == j:
				out[j][i] = -float64(j) / math.Sqrt(float64(j*(j+1)))
			}
		}
	}
	return out
}

func subject(t *testing.T, m *onnxio.Model) *edit.Subject {
	t.Helper()
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func edited(t *testing.T, s *edit.Subject, maps edit.Maps) *onnxio.Model {
	t.Helper()
	out, err := edit.Edit(s, maps)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// groups makes a map from one matrix for each group; out nil means in.
func groups(sp *coupling.Space, pieces []int, matrices func(g int) (in, out edit.Rows)) *edit.Map {
	m := &edit.Map{Pieces: pieces}
	for g := range sp.Groups {
		in, out := matrices(g)
		m.Groups = append(m.Groups, edit.Transfer{In: in, OutT: out})
	}
	return m
}

func random(sp *coupling.Space, g int) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(len(sp.Name)), uint64(g)))
}

func pieces(sp *coupling.Space) []int {
	var out []int
	for _, p := range sp.Pieces {
		out = append(out, p.Size())
	}
	return out
}

func permutation(sp *coupling.Space) *edit.Map {
	return groups(sp, pieces(sp), func(g int) (in, out edit.Rows) {
		p := random(sp, g).Perm(sp.Width)
		if slices.IsSorted(p) { // a permutation that moves something
			slices.Reverse(p)
		}
		for _, c := range p {
			in = append(in, []edit.Entry{{Col: c, Val: 1}})
		}
		return in, in
	})
}

// subset picks, for every group, channels to keep: as many of each piece.
func subset(sp *coupling.Space) (keep [][]int) {
	for g := range sp.Groups {
		rng := random(sp, g)
		var of []int
		at := 0
		for _, n := range pieces(sp) {
			for _, c := range rng.Perm(n)[:(n+1)/2] {
				of = append(of, at+c)
			}
			at += n
		}
		slices.Sort(of)
		keep = append(keep, of)
	}
	return keep
}

func selection(sp *coupling.Space, keep [][]int) *edit.Map {
	var halves []int
	for _, n := range pieces(sp) {
		halves = append(halves, (n+1)/2)
	}
	return groups(sp, halves, func(g int) (in, out edit.Rows) {
		for _, c := range keep[g] {
			in = append(in, []edit.Entry{{Col: c, Val: 1}})
		}
		return in, in
	})
}

func duplication(sp *coupling.Space) *edit.Map {
	var twice []int
	for _, n := range pieces(sp) {
		twice = append(twice, 2*n)
	}
	return groups(sp, twice, func(int) (in, out edit.Rows) {
		for c := range sp.Width {
			for range 2 {
				in = append(in, []edit.Entry{{Col: c, Val: 1}})
				out = append(out, []edit.Entry{{Col: c, Val: 0.5}})
			}
		}
		return in, out
	})
}

// merged merges the space of the same name in a widened model back to its width.
func merged(t *testing.T, wide *onnxio.Model, sp *coupling.Space) *onnxio.Model {
	t.Helper()
	s := subject(t, wide)
	for _, x := range s.Analysis.Spaces {
		if slices.EqualFunc(x.Uses, sp.Uses, func(a, b coupling.Use) bool { return a.Tensor == b.Tensor && a.Axis == b.Axis }) && x.Width == 2*sp.Width {
			r, err := match.Merge(context.Background(), s, map[*coupling.Space]int{x: sp.Width}, match.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return edited(t, s, r.Maps)
		}
	}
	t.Fatalf("space %q is gone from the widened model:\n%s", sp.Name, strings.Join(describe(s.Analysis), "\n"))
	return nil
}

// zeroed sets to zero, in the original, what the space's consumers read of the channels that are
// not kept. It goes element by element and shares no code with the edit.
func zeroed(t *testing.T, s *edit.Subject, sp *coupling.Space, keep [][]int) *onnxio.Model {
	t.Helper()
	out := s.Model.Clone()
	g, err := s.GraphOf(out)
	if err != nil {
		t.Fatal(err)
	}
	first := map[*coupling.Axis]int{}
	at := 0
	for _, p := range sp.Pieces {
		first[p.Canonical()] = at
		at += p.Size()
	}
	dropped := func(coords []coupling.Coord) bool {
		group, channel := 0, -1
		for _, c := range coords {
			if f, ok := first[c.Atom]; ok {
				channel = f + c.Index
			} else if sp.Index != nil && c.Atom == sp.Index.Canonical() {
				group = c.Index
			}
		}
		return channel >= 0 && !slices.Contains(keep[group], channel)
	}
	done := map[string]bool{}
	for _, u := range sp.Uses {
		if u.TakesIn() || done[u.Tensor] {
			continue
		}
		done[u.Tensor] = true
		w := s.Analysis.Weights[u.Tensor]
		v, err := s.Model.Tensor(s.Graph.Constant(u.Tensor))
		if err != nil {
			t.Fatal(err)
		}
		data := v.Float64()
		axes := make([][][]coupling.Coord, len(w.Axes))
		for k, a := range w.Axes {
			axes[k] = coupling.Widths(nil).Coordinates(a)
		}
		for i := range data {
			rest := i
			at := make([]int, len(axes))
			for k := len(axes) - 1; k >= 0; k-- {
				at[k] = rest % len(axes[k])
				rest /= len(axes[k])
			}
			// The channel is the one on the used axis; its group may stand on another.
			coords := slices.Clone(axes[u.Axis][at[u.Axis]])
			for k := range axes {
				if k != u.Axis {
					for _, c := range axes[k][at[k]] {
						if sp.Index != nil && c.Atom == sp.Index.Canonical() {
							coords = append(coords, c)
						}
					}
				}
			}
			if dropped(coords) {
				data[i] = 0
			}
		}
		v.SetFloat64(v.Dims, data)
		if err := g.SetConstant(v); err != nil {
			t.Fatal(err)
		}
	}
	g.Commit()
	return out
}

// randomFeeds makes inputs of a model: normal numbers, or small whole ones where the input holds
// integers. Free dimensions are 2.
func randomFeeds(t *testing.T, m *onnxio.Model) map[string]*engine.Value {
	t.Helper()
	inputs, err := engine.Inputs(m)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 5))
	feeds := map[string]*engine.Value{}
	for _, in := range inputs {
		n := 1
		dims := make([]int, len(in.Dims))
		for k, d := range in.Dims {
			if dims[k] = int(d); d < 0 {
				dims[k] = 2
			}
			n *= dims[k]
		}
		if in.Type == onnxio.Int64 {
			v := make([]int64, n)
			for i := range v {
				v[i] = rng.Int64N(3)
			}
			feeds[in.Name] = engine.Int64(v, dims...)
			continue
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		feeds[in.Name] = engine.Float32(v, dims...)
	}
	return feeds
}

func run(t *testing.T, m *onnxio.Model, feeds map[string]*engine.Value) map[string]*engine.Value {
	t.Helper()
	// As written: onnxruntime's fusion of Transpose into MatMul computes nonsense for an operand of
	// one axis (1.27), and rewrites would hide what we wrote.
	s, err := engine.Open(m, engine.Options{Threads: 1, Strict: true, AsWritten: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(context.Background(), feeds)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// distance is the largest difference between two sets of outputs, relative to the largest value of
// each.
func distance(t *testing.T, want, have map[string]*engine.Value) float64 {
	t.Helper()
	worst := 0.0
	for name, w := range want {
		h := have[name]
		if h == nil || !slices.Equal(h.Dims, w.Dims) {
			t.Fatalf("output %q is %v, want %v", name, h.Dims, w.Dims)
		}
		x, y := w.Float64(), h.Float64()
		scale, diff := 0.0, 0.0
		for i := range x {
			if math.IsNaN(x[i]) || math.IsInf(x[i], 0) {
				t.Fatalf("output %q: element %d is %g", name, i, x[i])
			}
			scale = max(scale, math.Abs(x[i]))
			diff = max(diff, math.Abs(x[i]-y[i]))
			if math.IsNaN(y[i]) {
				return math.Inf(1)
			}
		}
		if scale == 0 {
			t.Fatalf("output %q is zero everywhere: the test says nothing", name)
		}
		worst = max(worst, diff/scale)
	}
	return worst
}

// describe prints the spaces of an analysis, one line each.
func describe(a *coupling.Analysis) []string {
	var out []string
	for _, s := range a.Spaces {
		line := fmt.Sprintf("%s: %d", s.Name, s.Width)
		if s.Groups > 1 {
			line += fmt.Sprintf(" in %d groups", s.Groups)
		}
		if len(s.Pieces) > 1 {
			line += fmt.Sprintf(" in %d pieces", len(s.Pieces))
		}
		for _, f := range []struct {
			on   bool
			text string
		}{{s.Residual, "residual"}, {s.Linear && !s.Frozen, "linear"}, {s.Frozen, "frozen: " + s.Reason}, {s.Rigid != "", "rigid: " + s.Rigid}} {
			if f.on {
				line += ", " + f.text
			}
		}
		out = append(out, line)
	}
	return out
}

func lines(s string) []string {
	var out []string
	for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
		out = append(out, strings.TrimSpace(l))
	}
	return out
}
