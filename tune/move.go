package tune

import (
	"maps"
	"slices"

	"github.com/monge-ml/monge/engine"
)

const (
	// maxShift is the largest shift of an image: one part in so many of its size.
	maxShift = 8
	// maxColours is the largest number of channels of an image.
	maxColours = 4
)

// moveAll moves all inputs, in the order of their names.
func (r *run) moveAll(in map[string]*engine.Value) {
	for _, name := range slices.Sorted(maps.Keys(in)) {
		r.move(in[name])
	}
}

// move shifts images, [N, C, H, W] or [N, H, W, C], at random and mirrors those
// in colour; what is missing at the borders is reflected in. The sources answer
// for the moved images too, so that a few calibration images go a longer way
// (Beyer et al., Knowledge distillation: a good teacher is patient and
// consistent, CVPR 2022). Images in one colour may be of letters and digits,
// which are others when mirrored. Other inputs stay.
func (r *run) move(v *engine.Value) {
	if len(v.Dims) != 4 || v.F32 == nil {
		return
	}
	c, h, w := v.Dims[1], v.Dims[2], v.Dims[3]
	plane, row, step := h*w, w, 1
	if c > maxColours {
		h, w, c = v.Dims[1], v.Dims[2], v.Dims[3]
		plane, row, step = 1, w*c, c
	}
	if c > maxColours {
		return
	}
	size := c * h * w
	from := make([]float32, size)
	for s := range v.Dims[0] {
		image := v.F32[s*size : (s+1)*size]
		copy(from, image)
		dy, dx := r.shift(h), r.shift(w)
		mirror := r.rng.IntN(2) == 1 && c > 1
		for k := range c {
			for y := range h {
				to := image[k*plane+y*row:]
				line := from[k*plane+reflect(y+dy, h)*row:]
				for x := range w {
					at := reflect(x+dx, w)
					if mirror {
						at = w - 1 - at
					}
					to[x*step] = line[at*step]
				}
			}
		}
	}
}

func (r *run) shift(n int) int {
	m := n / maxShift
	return r.rng.IntN(2*m+1) - m
}

// reflect brings an index that is less than n beside 0…n−1 back there.
func reflect(i, n int) int {
	if i < 0 {
		return -i
	}
	if i >= n {
		return 2*(n-1) - i
	}
	return i
}
