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
// 2018), if all inputs are floating-point numbers: tokens, for instance, cannot be mixed, and stay
// as they are.
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
		rngs[i] = rand.New(rand.NewPCG(uint64(of.seed), uint64(p)))
		others[i] = of.pool[rngs[i].IntN(len(of.pool))]
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
