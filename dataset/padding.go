package dataset

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
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

// Unpadded returns the data set without the padding at the end of its sequences: where every array
// of whole numbers [N, T] of the inputs can be cut behind the longest sequence, as a mask tells or
// the zeros at the end do, without changing what models put out. That is tried: all models are run
// on some samples as they are and cut. Otherwise the data set is returned as it is. Where the same
// holds for each sequence by itself, Ragged cuts batches too. Tokenizers often pad all sentences to
// 128 or 512 words, and every layer would compute what nothing depends on.
func (d *Data) Unpadded(ctx context.Context, models []*onnxio.Model, threads int) (*Data, error) {
	inputs, err := engine.Inputs(models[0])
	if err != nil || d.complete || d.variants != nil || d.ends != nil {
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
	ends := d.endsOf(padded)
	long, total := 0, 0
	for _, s := range d.order {
		long, total = max(long, ends[s]), total+ends[s]
	}
	if len(padded) == 0 || total == d.Len()*full {
		return d, nil
	}
	out := *d
	out.columns = slices.Clone(d.columns)
	for i, c := range out.columns {
		if a := padded[c]; a != nil {
			out.columns[i] = a.cut(long)
		}
	}
	each := out
	each.ends = ends
	tried := d.someLengths(ends)
	same := func(cut *Data, batch int, apart bool) bool {
		cut.order = tried.order
		return !slices.ContainsFunc(models, func(m *onnxio.Model) bool { return !tried.putsOutSame(ctx, m, cut, batch, full, apart, threads) })
	}
	shared := out
	switch {
	case same(each.cut(), 1, true):
		each.remarks = append(d.Remarks(), fmt.Sprintf("%s: sequences are cut where they end, after %d of %d in the mean: what follows is padding that changes nothing", d.name, (total+d.Len()/2)/d.Len(), full))
		return &each, ctx.Err()
	case long < full && same(&shared, paddingTried, false):
		out.remarks = append(d.Remarks(), fmt.Sprintf("%s: sequences are cut to the longest, %d of %d: what follows is padding that changes nothing", d.name, long, full))
		return &out, ctx.Err()
	}
	return d, ctx.Err()
}

// someLengths are a few samples, from the shortest to the longest.
func (d *Data) someLengths(ends []int) *Data {
	c := *d
	sorted := slices.Clone(d.order)
	slices.SortStableFunc(sorted, func(i, j int) int { return cmp.Compare(ends[i], ends[j]) })
	c.order = nil
	n := min(paddingTried, len(sorted))
	for k := range n {
		c.order = append(c.order, sorted[k*(len(sorted)-1)/max(n-1, 1)])
	}
	return &c
}

// endsOf are the lengths of all sequences, at least 1, by sample. They end where a mask (ones, then
// zeros) does, or, without one, where only zeros follow in all arrays.
func (d *Data) endsOf(arrays map[column]*array) []int {
	size := 0
	for _, s := range d.order {
		size = max(size, s+1)
	}
	masks, all := make([]int, size), make([]int, size)
	masked := false
	for _, a := range arrays {
		isMask, one := true, a.one()
		ends := make([]int, size)
		for _, s := range d.order {
			row := a.gather([]int{s})
			w := a.width()
			n := len(row) / w
			for n > 0 && !nonzero(row[(n-1)*w:n*w]) {
				n--
			}
			ends[s] = n
			for k := range n {
				isMask = isMask && bytes.Equal(row[k*w:(k+1)*w], one)
			}
		}
		for s, n := range ends {
			all[s] = max(all[s], n)
			if isMask {
				masks[s] = max(masks[s], n)
			}
		}
		masked = masked || isMask && slices.Max(ends) > 0
	}
	if masked {
		all = masks
	}
	for s, n := range all {
		all[s] = max(n, 1)
	}
	return all
}

// cut returns the data set with batches that end where their longest sequence does.
func (d *Data) cut() *Data {
	c := *d
	c.ragged = true
	return &c
}

// Ragged returns the data set with batches that end where their longest sequence does, and in an
// order that puts sequences of like length into batches of that size, if Unpadded found that padding
// changes nothing. Which batch comes when is left to chance, so that the first ones tell of all.
// Other data sets stay as they are, and so does one that is ragged.
func (d *Data) Ragged(batch int) *Data {
	if d.ends == nil || d.ragged {
		return d
	}
	c := d.cut()
	lengths, index := d.Lengths(), FirstShuffled(d.Len(), d.Len(), FileOrder)
	slices.SortStableFunc(index, func(i, j int) int { return cmp.Compare(lengths[i], lengths[j]) })
	whole, rest := len(index)/batch, len(index)%batch
	var last []int // the batch that is not full, which has some of all lengths
	for k := rest - 1; k >= 0 && whole > 0; k-- {
		at := (2*k + 1) * len(index) / (2 * rest)
		last = append(last, index[at])
		index = slices.Delete(index, at, at+1)
	}
	c.order = nil
	for _, k := range rand.New(rand.NewPCG(raggedSeed, 0)).Perm(whole) {
		for _, i := range index[k*batch : (k+1)*batch] {
			c.order = append(c.order, d.order[i])
		}
	}
	if whole == 0 {
		last = index
	}
	for _, i := range last {
		c.order = append(c.order, d.order[i])
	}
	return c
}

// raggedSeed chooses the order of batches.
const raggedSeed = 3

// Lengths returns how long each sequence is, in the order in which samples are streamed, if Unpadded
// found that the padding behind it changes nothing; nil otherwise.
func (d *Data) Lengths() []int {
	if d.ends == nil {
		return nil
	}
	out := make([]int, len(d.order))
	for i, place := range d.order {
		out[i] = d.end(place)
	}
	return out
}

// end is the length of a sequence, or of a variant, which ends as another one does.
func (d *Data) end(place int) int {
	if d.variants == nil {
		return d.ends[place]
	}
	s := place % d.variants.stride
	if place >= d.variants.stride {
		if _, other := d.variants.partner(place); min(d.ends[s], d.ends[other]) >= leastSpliced {
			return d.ends[other]
		}
	}
	return d.ends[s]
}

// Padded returns a feed whose sequences all have so many places, which none may exceed.
func (f *Feed) Padded(length int) *Feed {
	c := *f
	c.length = length
	return &c
}

// cut cuts sequences behind the place where the longest one ends.
func (f *Feed) cut(places []int, values map[string]*engine.Value) {
	long := f.length
	if long == 0 && f.data.ragged {
		for _, p := range places {
			long = max(long, f.data.end(p))
		}
	}
	if long == 0 {
		return
	}
	for _, v := range values {
		if len(v.Dims) == 2 && v.Dims[1] > long { // all that has axes is a sequence, or there would be no ends
			full := v.Dims[1]
			v.I64, v.F32, v.F64 = firstOfRows(v.I64, full, long), firstOfRows(v.F32, full, long), firstOfRows(v.F64, full, long)
			v.Dims = []int{v.Dims[0], long}
		}
	}
}

// firstOfRows are the first so many numbers of each row; nil stays nil.
func firstOfRows[T any](x []T, width, most int) []T {
	out := x[:0]
	for ; len(x) > 0; x = x[width:] {
		out = append(out, x[:most]...)
	}
	return out
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

// putsOutSame reports whether a model puts out the same for the samples of d, and for those of cut, of
// which the sequences end earlier, in batches of that size. apart: each batch may end elsewhere, so
// that outputs have to be in rows that all have, of channels, behind the places.
func (d *Data) putsOutSame(ctx context.Context, m *onnxio.Model, cut *Data, batch, full int, apart bool, threads int) bool {
	var names []string
	for _, o := range m.Proto.GetGraph().GetOutput() {
		names = append(names, o.GetName())
	}
	run := func(d *Data) (out []*engine.Value, err error) {
		err = Stream(ctx, m, d, names, StreamOptions{Batch: batch, Threads: threads},
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
		if !sameUpTo(a, after[i], full) || apart && !inRows(a.Dims, after[i].Dims) {
			return false
		}
	}
	return true
}

// inRows reports whether sizes of an output differ, if any do, on axes between the samples and the
// channels.
func inRows(a, b []int) bool {
	last := len(a) - 1
	for last > 0 && a[last] == 1 && b[last] == 1 {
		last--
	}
	for i := range a {
		if a[i] != b[i] && (i == 0 || i >= last) {
			return false
		}
	}
	return true
}

// sameUpTo reports whether b is a, cut where a has full positions and b fewer.
func sameUpTo(a, b *engine.Value, full int) bool {
	if len(a.Dims) != len(b.Dims) {
		return false
	}
	for i, n := range a.Dims {
		if k := b.Dims[i]; k != n && (n != full || k > n) {
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
