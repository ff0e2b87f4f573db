package dataset

import (
	"maps"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// Shapes returns sizes for the inputs of a model that have free ones besides the batch: the given
// ones, and for other inputs those of the first sample of the data. It returns given itself if
// there is nothing to add, or the data do not fit.
func Shapes(m *onnxio.Model, d *Data, given map[string][]int) map[string][]int {
	inputs, err := engine.Inputs(m)
	if err != nil || d == nil || d.Len() == 0 {
		return given
	}
	free := func(in engine.IOInfo) bool {
		return given[in.Name] == nil && len(in.Dims) > 1 && slices.ContainsFunc(in.Dims[1:], func(n int64) bool { return n < 0 })
	}
	if !slices.ContainsFunc(inputs, free) {
		return given
	}
	feed, err := d.For(inputs)
	if err != nil {
		return given
	}
	first, err := feed.Batch(0, min(feed.BatchSize(1), d.Len()))
	if err != nil {
		return given
	}
	out := maps.Clone(given)
	if out == nil {
		out = map[string][]int{}
	}
	for _, in := range inputs {
		if v := first[in.Name]; free(in) && v != nil && len(v.Dims) == len(in.Dims) {
			out[in.Name] = v.Dims
		}
	}
	return out
}
