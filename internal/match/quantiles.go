package match

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/internal/channels"
)

// matchQuantiles replaces the numbers of every channel in each part by as many
// quantiles of theirs, which do not depend on their order.
func matchQuantiles(x, y channels.Reading) {
	for g := range min(len(x.Groups), len(y.Groups)) {
		a, b := &x.Groups[g], &y.Groups[g]
		a.Cols, b.Cols = 0, 0
		for i := range min(len(a.Parts), len(b.Parts)) {
			k := min(a.Parts[i].Cols, b.Parts[i].Cols)
			a.Parts[i], b.Parts[i] = quantiles(a.Parts[i], a.Rows, k), quantiles(b.Parts[i], b.Rows, k)
			a.Cols, b.Cols = a.Cols+k, b.Cols+k
		}
	}
}

// quantiles are k numbers for each of so many rows: all of them in order, or as
// many from the least to the largest.
func quantiles(p channels.Part, rows, k int) channels.Part {
	out := channels.Part{Cols: k, Data: make([]float32, 0, rows*k)}
	for r := range rows {
		row := slices.Sorted(slices.Values(p.Data[r*p.Cols:][:p.Cols]))
		for i := range k {
			out.Data = append(out.Data, row[i*(p.Cols-1)/max(k-1, 1)])
		}
	}
	return out
}

// importance is the norm of each channel's features over all readings.
func importance(rs []channels.Reading, group int, kind Mass) []float64 {
	n := rs[0].Groups[group].Rows
	out := make([]float64, n)
	for _, r := range rs {
		for _, p := range r.Groups[group].Parts {
			for c := range n {
				for _, v := range p.Data[c*p.Cols:][:p.Cols] {
					x := float64(v)
					if kind == ImportanceL1 {
						out[c] += math.Abs(x)
					} else {
						out[c] += x * x
					}
				}
			}
		}
	}
	if kind == ImportanceL2 {
		for c := range out {
			out[c] = math.Sqrt(out[c])
		}
	}
	return out
}
