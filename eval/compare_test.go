package eval

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/monge-ml/monge/engine"
)

func TestComparison(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	value := func(dims []int, v ...float64) *engine.Value { return &engine.Value{Type: 11, Dims: dims, F64: v} }
	for name, c := range map[string]struct {
		y, y0 *engine.Value
		want  OutputResult
	}{
		"3-4-5":           {value([]int{2}, 3, 4), value([]int{2}, 0, 0), OutputResult{MaxDiff: 4}},
		"equal":           {value([]int{2}, 3, 4), value([]int{2}, 3, 4), OutputResult{Agreement: 1, Cosine: 1}},
		"opposite":        {value([]int{2}, 3, 4), value([]int{2}, -3, -4), OutputResult{Agreement: 1 - math.Sqrt(200), Cosine: -1, MaxDiff: 8}},
		"zeros":           {value([]int{2}, 0, 0), value([]int{2}, 0, 0), OutputResult{Agreement: 1, Cosine: 1}},
		"equal infinites": {value([]int{3}, inf, nan, 1), value([]int{3}, inf, nan, 1), OutputResult{Agreement: 1, Cosine: 1}},
		"one infinite":    {value([]int{3}, inf, nan, 1), value([]int{3}, 5, 5, 1), OutputResult{Agreement: nan, Cosine: nan, MaxDiff: nan, NonFinite: 2}},
		"all NaN":         {value([]int{2}, nan, nan), value([]int{2}, 3, 4), OutputResult{Agreement: nan, Cosine: nan, MaxDiff: nan, NonFinite: 2}},
		"both NaN":        {value([]int{2}, nan, nan), value([]int{2}, nan, nan), OutputResult{Agreement: nan, Cosine: nan, MaxDiff: nan}},
		"NaN scores":      {value([]int{2, 2}, nan, nan, 1, 2), value([]int{2, 2}, 1, 2, 1, 2), OutputResult{Agreement: .5, Cosine: nan, MaxDiff: nan, NonFinite: 2}},
		"both NaN scores": {value([]int{1, 2}, nan, nan), value([]int{1, 2}, nan, nan), OutputResult{Cosine: nan, MaxDiff: nan}},
		"scores":          {value([]int{2, 2}, 3, 0, 4, 5), value([]int{2, 2}, 3, 0, 4, 0), OutputResult{Agreement: .5, Cosine: 25 / math.Sqrt(50) / 5, MaxDiff: 5}},
		"pooled scores":   {value([]int{1, 2, 1, 1}, 2, 1), value([]int{1, 2, 1, 1}, 9, 1), OutputResult{Agreement: 1, Cosine: 19 / math.Sqrt(5) / math.Sqrt(82), MaxDiff: 7}},
	} {
		k := comparison{output: Output{Task: Regress}}
		if strings.Contains(name, "scores") {
			k.output = Output{Task: Classify, Axis: 1}
			c.want.Same, c.want.Rows = int(c.want.Agreement*float64(c.y.Dims[0])), c.y.Dims[0]
		}
		if err := k.add(c.y, c.y0, c.y.Dims[0], 0); err != nil {
			t.Fatal(err)
		}
		c.want.Task = k.output.Task
		if diff := cmp.Diff(c.want, k.result(), cmpopts.EquateApprox(0, 1e-12), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRank(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		scores      []float64
		label, want int
	}{
		{[]float64{1, 3, 2}, 1, 0}, {[]float64{1, 3, 2}, 0, 2},
		{[]float64{1, 1, 1}, 0, 0}, {[]float64{1, 1, 1}, 2, 2},
		{[]float64{nan, 1}, 1, 0}, {[]float64{nan, 1}, 0, 2},
	} {
		if got := rankOf(c.scores, c.label); got != c.want {
			t.Errorf("rank of %d in %v: %d, want %d", c.label, c.scores, got, c.want)
		}
	}
	for _, c := range []struct {
		v    []float64
		want int
	}{{[]float64{1, 3, 3}, 1}, {[]float64{nan, -1, nan}, 1}, {[]float64{nan}, -1}} {
		if got := argMax(c.v); got != c.want {
			t.Errorf("argMax(%v) = %d, want %d", c.v, got, c.want)
		}
	}
}
