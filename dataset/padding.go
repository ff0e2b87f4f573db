package dataset

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

const (
	// paddingTried samples are run with and without their padding.
	paddingTried = 8
	// samePadded is by how much outputs may differ then, relative to the largest number: rounding.
	samePadded = 1e-3
)

// Unpadded returns the data set without the padding at the end of its sequences that none of them
// needs: where every array of whole numbers [N, T] of the inputs can be cut behind the longest
// sequence, as a mask tells or the zeros at the end do, without changing what models put out. That
// is tried: all models are run on some samples as they are and cut. Otherwise the data set is
// returned as it is. Tokenizers often pad all sentences to 128 or 512 words, and every layer would
// compute what nothing depends on.
func (d *Data) Unpadded(ctx context.Context, models []*onnxio.Model, threads int) (*Data, error) {
	inputs, err := engine.Inputs(models[0])
	if err != nil || d.complete || d.variants != nil {
		return d, err
	}
	padded := map[column]*array{}
	full := 0
	for i, in := range inputs {
		c, err := d.column(i, in, len(inputs))
		if err != nil {
			return d, nil // what does not fit, others say
		}
		a, ok := c.(*array)
		if !ok || !onnxio.IsInteger(a.typ) || len(a.dims) != 2 || len(in.Dims) != 2 || in.Dims[1] >= 0 || full > 0 && a.dims[1] != full {
			if ok && len(a.dims) == 0 {
				continue
			}
			return d, nil
		}
		padded[c], full = a, a.dims[1]
	}
	long := d.longest(padded)
	if long == 0 || long == full {
		return d, nil
	}
	out := *d
	out.columns = slices.Clone(d.columns)
	for i, c := range out.columns {
		if a := padded[c]; a != nil {
			out.columns[i] = a.cut(long)
		}
	}
	for _, m := range models {
		if !d.putsOutSame(ctx, m, &out, long, full, threads) {
			return d, ctx.Err()
		}
	}
	out.remarks = append(d.Remarks(), fmt.Sprintf("%s: sequences are cut to the longest, %d of %d: what follows is padding that changes nothing", d.name, long, full))
	return &out, nil
}

// longest is the length of the longest sequence, 0 if it cannot be told. Sequences end where a mask
// (ones, then zeros) does, or, without one, where only zeros follow in all arrays.
func (d *Data) longest(arrays map[column]*array) int {
	mask, most := 0, 0
	for _, a := range arrays {
		isMask, one := true, a.one()
		far := 0
		for _, s := range d.order {
			row := a.gather([]int{s})
			w := a.width()
			n := len(row) / w
			for n > 0 && !nonzero(row[(n-1)*w:n*w]) {
				n--
			}
			far = max(far, n)
			for k := range n {
				isMask = isMask && bytes.Equal(row[k*w:(k+1)*w], one)
			}
		}
		if most = max(most, far); isMask {
			mask = max(mask, far)
		}
	}
	if mask > 0 {
		return mask
	}
	return most
}

// one is the number 1 as it is stored.
func (a *array) one() []byte {
	out := make([]byte, a.width())
	out[0] = 1
	return out
}

func nonzero(b []byte) bool { return slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) }

// cut is the array [N, T] with the first n of each row.
func (a *array) cut(n int) *array {
	w := a.width()
	out := &array{title: a.title, typ: a.typ, dims: []int{a.dims[0], n}, raw: make([]byte, 0, a.dims[0]*n*w)}
	for r := range a.dims[0] {
		from := r * a.dims[1] * w
		out.raw = append(out.raw, a.raw[from:from+n*w]...)
	}
	return out
}

// putsOutSame reports whether a model puts out the same for some samples of d and of cut, of which
// the sequences end earlier.
func (d *Data) putsOutSame(ctx context.Context, m *onnxio.Model, cut *Data, long, full, threads int) bool {
	var names []string
	for _, o := range m.Proto.GetGraph().GetOutput() {
		names = append(names, o.GetName())
	}
	run := func(d *Data) (out []*engine.Value, err error) {
		err = Stream(ctx, m, d.Range(0, min(paddingTried, d.Len())), names, StreamOptions{Batch: paddingTried, Threads: threads},
			func(_, _ int, values map[string]*engine.Value) error {
				for _, name := range names {
					out = append(out, values[name])
				}
				return nil
			})
		return out, err
	}
	before, err := run(d)
	if err != nil {
		return false
	}
	after, err := run(cut)
	if err != nil || len(after) != len(before) { // a model that does not run on shorter sequences keeps the long ones
		return false
	}
	for i, a := range before {
		if !sameUpTo(a, after[i], long, full) {
			return false
		}
	}
	return true
}

// sameUpTo reports whether b is a, cut where a has full positions and b long ones.
func sameUpTo(a, b *engine.Value, long, full int) bool {
	if len(a.Dims) != len(b.Dims) {
		return false
	}
	for i, n := range a.Dims {
		if k := b.Dims[i]; k != n && (n != full || k != long) {
			return false
		}
	}
	x, y := a.Float64(), b.Float64()
	largest := 0.0
	for _, v := range y {
		largest = max(largest, math.Abs(v))
	}
	at := make([]int, len(b.Dims)) // of an element of b
	for _, v := range y {
		from := 0
		for i, n := range a.Dims {
			from = from*n + at[i]
		}
		if !(math.Abs(x[from]-v) <= samePadded*largest) {
			return false
		}
		for i := len(at) - 1; i >= 0; i-- {
			if at[i]++; at[i] < b.Dims[i] {
				break
			}
			at[i] = 0
		}
	}
	return true
}
