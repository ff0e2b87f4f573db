package dataset

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// Finite returns the data set if no input of a model gets NaN or infinite numbers from it: they
// would be all that is left of every mean. Samples that hold some are an error that names the input
// and their numbers, or, with drop, are left out, which a remark says. A mask of zeros and −∞, as is
// added to scores, is no such sample.
func (d *Data) Finite(m *onnxio.Model, drop bool) (*Data, error) {
	inputs, err := engine.Inputs(m)
	if err != nil {
		return nil, err
	}
	feed, err := d.For(inputs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Title(), err)
	}
	bad := make([]bool, len(d.order)) // by place in the order
	first := ""                       // the first input that gets any
	for _, s := range feed.slots {
		found, err := s.nonFinite(d, bad)
		if err != nil {
			return nil, fmt.Errorf("%s: input %q: %w", d.name, s.in.Name, err)
		}
		if found && first == "" {
			first = s.in.Name
		}
	}
	if first == "" {
		return d, nil
	}
	kept, left := *d, *d
	kept.order, left.order = nil, nil
	for i, s := range d.order {
		if bad[i] {
			left.order = append(left.order, s)
		} else {
			kept.order = append(kept.order, s)
		}
	}
	which := fmt.Sprintf("%d of %s have NaN or infinite numbers in them, number %s, counted from 0",
		len(left.order), plural(len(d.order), "sample", "samples"), someRanges(left.Places()))
	switch {
	case !drop:
		return nil, fmt.Errorf("%s: input %q: %s: --data has to be finite numbers; --drop-bad leaves such samples out", d.name, first, which)
	case len(kept.order) == 0:
		return nil, fmt.Errorf("%s: input %q: no sample is left: %s", d.name, first, which)
	}
	kept.remarks = append(d.Remarks(), fmt.Sprintf("%s: input %q: %s, and are left out", d.name, first, which))
	return &kept, nil
}

// nonFinite marks the samples of which an input gets NaN or infinite numbers, and reports whether
// there are any.
func (s slot) nonFinite(d *Data, bad []bool) (found bool, err error) {
	if s.finite {
		return false, nil
	}
	step := DefaultBatch
	if s.whole {
		step = 1
	}
	samples := d.samplesOf(d.order)
	for from := 0; from < len(samples); from += step {
		some := samples[from:min(from+step, len(samples))]
		v, err := s.read(some)
		if err != nil {
			return false, err
		}
		for _, i := range nonFiniteRows(v, len(some)) {
			bad[from+i], found = true, true
		}
	}
	return found, nil
}

// nonFiniteRows returns those of so many rows of a value that have NaN or infinite numbers in them
// and are no masks.
func nonFiniteRows(v *engine.Value, rows int) []int {
	x32, x64 := v.F32, v.F64
	if len(x32)+len(x64) == 0 {
		return nil
	}
	if v.Len()%rows != 0 { // a value without axes, the same for all of them
		rows = 1
	}
	var out []int
	for i := range rows {
		a, b := len(x32)/rows, len(x64)/rows
		if nonFinite(x32[i*a:][:a]) || nonFinite(x64[i*b:][:b]) {
			out = append(out, i)
		}
	}
	return out
}

// nonFinite reports whether NaN or infinite numbers are among some that are no mask.
func nonFinite[T float32 | float64](x []T) bool {
	odd := func(v T) bool { return v-v != 0 }
	if !slices.ContainsFunc(x, odd) {
		return false
	}
	return !slices.Contains(x, 0) || slices.ContainsFunc(x, func(v T) bool { return v != 0 && !math.IsInf(float64(v), -1) })
}

// mostRanges are listed of samples that are named in a message.
const mostRanges = 20

// someRanges is Ranges of as many numbers as a person reads.
func someRanges(list []int) string {
	parts := strings.Split(Ranges(list), ",")
	if len(parts) <= mostRanges {
		return strings.Join(parts, ",")
	}
	return strings.Join(parts[:mostRanges], ",") + ", …"
}

// Ranges writes numbers, in order and each once, as in 0-3,7.
func Ranges(list []int) string {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	var out []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		text := fmt.Sprint(list[i])
		if j > i {
			text += fmt.Sprintf("-%d", list[j])
		}
		out = append(out, text)
		i = j + 1
	}
	return strings.Join(out, ",")
}
