package dataset

import (
	"math/rand/v2"
	"slices"

	"github.com/monge-ml/monge/engine"
)

const (
	// maxShift is the largest shift of an image: one part in so many of its size.
	maxShift = 8
	// maxColours is the largest number of channels of an image.
	maxColours = 4
	// mixed is the share of the variants that are mixtures.
	mixed = 0.5
)

// Varied returns the data set with so many variants of each sample behind the samples themselves:
// variant k of sample i is sample k·Len()+i, k from 1. Labels and recorded outputs are left behind:
// they are the samples', not the variants'. The same seed makes the same variants, in batches of
// any size.
//
// In a variant, images [N, C, H, W] or [N, H, W, C] of up to four channels are shifted at random by
// up to an eighth of their size, and those in colour mirrored; what is missing at the borders is
// reflected in. Images in one colour may be of letters and digits, which are others when mirrored.
// Over half of the variants another sample's is laid, in any strength (Zhang et al., mixup, ICLR
// 2018), if all inputs are floating-point numbers. Sequences of tokens [N, T], and what is fed beside
// them of that shape, begin as the sample and end, from a random place that both have, as another
// one. Other whole numbers cannot be mixed, and stay as they are.
func (d *Data) Varied(copies int, seed int64) *Data {
	c := *d
	c.labels, c.expected = nil, nil
	of := &variants{pool: d.order, seed: seed}
	for _, s := range d.order {
		of.stride = max(of.stride, s+1)
	}
	c.variants, c.order = of, slices.Clone(d.order)
	for k := range copies {
		for _, s := range d.order {
			c.order = append(c.order, (k+1)*of.stride+s)
		}
	}
	return &c
}

// variants say which samples are variants: k·stride+i is variant k of sample i, and variant 0 the
// sample itself.
type variants struct {
	stride int
	pool   []int // the samples that are laid over others
	seed   int64
}

// partner is the sample of which a variant takes a part, and what all else about the variant is drawn
// from.
func (v *variants) partner(place int) (rng *rand.Rand, sample int) {
	rng = rand.New(rand.NewPCG(uint64(v.seed), uint64(place)))
	return rng, v.pool[rng.IntN(len(v.pool))]
}

// samplesOf replaces variants by the samples that they are of.
func (d *Data) samplesOf(places []int) []int {
	if d.variants == nil {
		return places
	}
	out := make([]int, len(places))
	for i, p := range places {
		out[i] = p % d.variants.stride
	}
	return out
}

// vary makes variants of the values of those places that are.
func (f *Feed) vary(places []int, values map[string]*engine.Value) error {
	of := f.data.variants
	if of == nil {
		return nil
	}
	rngs := make([]*rand.Rand, len(places))
	others, shares := make([]int, len(places)), make([]float32, len(places))
	mix := false
	for i, p := range places {
		rngs[i], others[i] = of.partner(p)
		if share := rngs[i].Float32(); rngs[i].Float64() < mixed && p >= of.stride {
			shares[i], mix = share, true
		}
	}
	move := func(v *engine.Value) {
		for i, p := range places {
			if p >= of.stride && movable(v, len(places)) {
				moveImage(v, i, rngs[i])
			}
		}
	}
	for _, s := range f.slots {
		move(values[s.in.Name])
	}
	if length := f.sequences(values, len(places)); length > 0 {
		return f.splice(places, others, rngs, length, values)
	}
	if !mix || slices.ContainsFunc(f.slots, func(s slot) bool { return !mixable(values[s.in.Name], len(places)) }) {
		return nil
	}
	for _, s := range f.slots {
		with, err := s.read(others)
		if err != nil {
			return err
		}
		v := values[s.in.Name]
		if len(with.F32) != len(v.F32) {
			continue // whole inputs of another size
		}
		move(with)
		size := len(v.F32) / len(places)
		for i, x := range v.F32 {
			v.F32[i] += shares[i/size] * (with.F32[i] - x)
		}
	}
	return nil
}

// sequences is the length of sequences of tokens, 0 where the inputs are something else.
func (f *Feed) sequences(values map[string]*engine.Value, n int) (length int) {
	tokens := false
	for _, s := range f.slots {
		v := values[s.in.Name]
		if len(v.Dims) == 0 {
			continue // the same for all
		}
		if len(v.Dims) != 2 || v.Dims[0] != n || length > 0 && v.Dims[1] != length {
			return 0
		}
		length, tokens = v.Dims[1], tokens || v.I64 != nil
	}
	if !tokens {
		return 0
	}
	return length
}

const (
	// leastSpliced is the length that sequences must have for one to end as the other.
	leastSpliced = 2
	// mostStrange bounds the share of tokens that are exchanged for those of a third sequence.
	mostStrange = 0.3
)

// splice lets variants of sequences end as others do, and puts tokens of third ones in their places.
func (f *Feed) splice(places, others []int, rngs []*rand.Rand, length int, values map[string]*engine.Value) error {
	thirds := make([]int, len(places))
	for i, rng := range rngs {
		thirds[i] = f.data.variants.pool[rng.IntN(len(f.data.variants.pool))]
	}
	var own, theirs, strange []*engine.Value
	for _, s := range f.slots {
		v := values[s.in.Name]
		if len(v.Dims) == 0 {
			continue
		}
		with, err := s.read(others)
		if err != nil {
			return err
		}
		third, err := s.read(thirds)
		if err != nil {
			return err
		}
		if !slices.Equal(with.Dims, v.Dims) || with.Type != v.Type {
			return nil // whole inputs of another size
		}
		own, theirs, strange = append(own, v), append(theirs, with), append(strange, third)
	}
	for i, p := range places {
		if p < f.data.variants.stride {
			continue
		}
		from, to := i*length, (i+1)*length
		end := f.filled(own, p%f.data.variants.stride, from, to)
		if other := f.filled(theirs, others[i], from, to); min(end, other) >= leastSpliced {
			copyPlaces(own, theirs, from+1+rngs[i].IntN(min(end, other)-1), to)
			end = other
		}
		share := mostStrange * rngs[i].Float64()
		for at := 1; at < min(end, f.filled(strange, thirds[i], from, to))-1; at++ {
			if rngs[i].Float64() < share {
				copyPlaces(own, strange, from+at, from+at+1)
			}
		}
	}
	return nil
}

// copyPlaces copies what stands at the places from start on and before end.
func copyPlaces(to, from []*engine.Value, start, end int) {
	for k, v := range to {
		w := from[k]
		switch {
		case v.F32 != nil:
			copy(v.F32[start:end], w.F32[start:end])
		case v.F64 != nil:
			copy(v.F64[start:end], w.F64[start:end])
		default:
			copy(v.I64[start:end], w.I64[start:end])
		}
	}
}

// filled is the number of places of a sample's sequence, from … to−1 of some values, before it is
// filled up.
func (f *Feed) filled(values []*engine.Value, sample, from, to int) int {
	if f.data.ends != nil {
		return f.data.ends[sample]
	}
	return filled(values, from, to)
}

// filled is the number of places of a sequence, from … to−1, before it is filled up: behind them all
// values are as at the last place.
func filled(values []*engine.Value, from, to int) int {
	last := func(at int) bool {
		return !slices.ContainsFunc(values, func(v *engine.Value) bool {
			switch {
			case v.F32 != nil:
				return v.F32[at] != v.F32[to-1]
			case v.F64 != nil:
				return v.F64[at] != v.F64[to-1]
			}
			return v.I64[at] != v.I64[to-1]
		})
	}
	n := to - from
	for n > 1 && last(from+n-2) {
		n--
	}
	if n < to-from {
		n-- // a single last place fills nothing up
	}
	return n
}

func mixable(v *engine.Value, n int) bool { return v.F32 != nil && len(v.Dims) > 0 && v.Dims[0] == n }

// movable reports whether a value is n images.
func movable(v *engine.Value, n int) bool {
	return mixable(v, n) && len(v.Dims) == 4 && min(v.Dims[1], v.Dims[3]) <= maxColours
}

// moveImage shifts and mirrors image s of several.
func moveImage(v *engine.Value, s int, rng *rand.Rand) {
	c, h, w := v.Dims[1], v.Dims[2], v.Dims[3]
	plane, row, step := h*w, w, 1
	if c > maxColours {
		h, w, c = v.Dims[1], v.Dims[2], v.Dims[3]
		plane, row, step = 1, w*c, c
	}
	size := c * h * w
	image := v.F32[s*size : (s+1)*size]
	from := slices.Clone(image)
	dy, dx := shift(h, rng), shift(w, rng)
	mirror := rng.IntN(2) == 1 && c > 1
	for k := range c {
		for y := range h {
			to := image[k*plane+y*row:]
			line := from[k*plane+reflected(y+dy, h)*row:]
			for x := range w {
				at := reflected(x+dx, w)
				if mirror {
					at = w - 1 - at
				}
				to[x*step] = line[at*step]
			}
		}
	}
}

func shift(n int, rng *rand.Rand) int {
	m := n / maxShift
	return rng.IntN(2*m+1) - m
}

// reflected brings an index that is less than n beside 0…n−1 back there.
func reflected(i, n int) int {
	if i < 0 {
		return -i
	}
	if i >= n {
		return 2*(n-1) - i
	}
	return i
}
