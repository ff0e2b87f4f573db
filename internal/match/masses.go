package match

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/edit"
)

// matchQuantiles replaces the numbers of every channel in each part by as many quantiles of theirs,
// which do not depend on their order.
func matchQuantiles(x, y []channels.Features) {
	for i := range min(len(x[0].Parts), len(y[0].Parts)) {
		k := min(x[0].Parts[i].Cols, y[0].Parts[i].Cols) // all groups have as many
		for _, side := range [][]channels.Features{x, y} {
			for g := range side {
				f := &side[g]
				f.Cols += k - f.Parts[i].Cols
				f.Parts[i] = quantiles(f.Parts[i], f.Rows, k)
			}
		}
	}
}

// quantiles are k numbers for each of so many rows: all of them in order, or as many from the least
// to the largest.
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

// masses are the masses of a group's channels, by the weights that make them with their inputs
// moved by maps; nil for uniform ones.
func masses(s *edit.Subject, sp *coupling.Space, maps edit.Maps, group int, kind Mass) ([]float64, error) {
	if kind == "" || kind == Uniform {
		return nil, nil
	}
	made, err := channels.Made(s, sp, maps)
	if err != nil {
		return nil, err
	}
	norms := make([]float64, sp.Width)
	for _, groups := range made {
		for _, p := range groups[group].Parts {
			addNorms(norms, p, kind)
		}
	}
	if kind == ImportanceL2 {
		for c := range norms {
			norms[c] = math.Sqrt(norms[c])
		}
	}
	return normalise(norms), nil
}

// addNorms adds the L1 norms of channels, or the squares of their L2 norms.
func addNorms(norms []float64, p channels.Part, kind Mass) {
	for c := range norms {
		for _, v := range p.Data[c*p.Cols:][:p.Cols] {
			x := float64(v)
			if kind == ImportanceL1 {
				norms[c] += math.Abs(x)
			} else {
				norms[c] += x * x
			}
		}
	}
}

// normalise scales to total one. Channels keep a sliver of mass, so that every one has an image.
func normalise(w []float64) []float64 {
	total := 0.0
	for _, x := range w {
		total += x
	}
	if total == 0 {
		return nil
	}
	floor := 1e-6 * total / float64(len(w))
	sum := 0.0
	for i := range w {
		w[i] = max(w[i], floor)
		sum += w[i]
	}
	for i := range w {
		w[i] /= sum
	}
	return w
}
