package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/dsp/fourier"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// SyntheticOptions say what made-up inputs are like. The zero value makes 500 samples of mean 0 and variance 1.
type SyntheticOptions struct {
	// Samples is their number. 0: 500.
	Samples int

	// Seed makes them.
	Seed int64

	// Shapes are the shapes of inputs whose sizes, but for the first, are free, by input name.
	Shapes map[string][]int

	// Preprocess says how pixels become inputs, and so where inputs lie. With a mean or a deviation they have mean 0 and
	// variance 1, as after any normalisation, cut off where pixels are below 0 or above 255. With a scale alone they are
	// scaled pixels of mean 127.5 and standard deviation 64. The zero value: mean 0 and variance 1.
	Preprocess Preprocess
}

// Synthetic makes inputs for a model out of noise, for calibration where there are no data. Inputs with two spatial axes
// get noise whose amplitude falls as 1/f, like that of natural images (Field 1987), under discs of random size and colour
// that hide one another, which adds their edges; most of it is shared by the channels. Integers that pick rows of a table
// (words) are drawn evenly from its rows, those that become numbers or conditions (masks) are ones, and any others are an
// error: their meaning cannot be guessed. All other inputs are independent Gaussian numbers.
//
// Samples are made when a batch asks for them, each from the seed and its number.
func Synthetic(m *onnxio.Model, o SyntheticOptions) (_ *Data, err error) {
	defer guard.Recover(&err)
	if err := o.Preprocess.check(); err != nil {
		return nil, err
	}
	inputs, err := engine.Inputs(m)
	if err != nil {
		return nil, err
	}
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	n := o.Samples
	if n <= 0 {
		n = 500
	}
	d := &Data{name: "synthetic inputs", pre: o.Preprocess, order: FirstShuffled(n, n, FileOrder)}
	varied := false // some input tells samples apart
	for i, in := range inputs {
		shape := o.Shapes[in.Name]
		if shape == nil && in.Dims != nil {
			for _, size := range in.Dims {
				shape = append(shape, int(size))
			}
		}
		switch {
		case len(shape) == 0:
			return nil, fmt.Errorf("input %s has no batch axis that is known", in)
		}
		for k, size := range shape[1:] {
			if size < 1 {
				return nil, fmt.Errorf("input %s: axis %d has no size: give its shape", in, k+1)
			}
		}
		if in.Type != 0 && !onnxio.IsFloat(in.Type) {
			limit, known := meaning(g, in.Name, false)
			if !known || !onnxio.IsInteger(in.Type) || limit == 0 && in.Type == onnxpb.TensorProto_UINT8 { // pixels
				return nil, fmt.Errorf("input %s cannot be made up: what its integers stand for is not known", in)
			}
			varied = varied || limit > 1
			d.columns = append(d.columns, &tokens{title: in.Name, dims: shape[1:], limit: limit, seed: uint64(o.Seed), column: uint64(i)})
			continue
		}
		varied = true
		d.columns = append(d.columns, &noise{title: in.Name, dims: shape[1:], seed: uint64(o.Seed), column: uint64(i)})
	}
	if !varied {
		return nil, fmt.Errorf("the model has no inputs that can be made up")
	}
	return d, nil
}

// A noise is a column of made-up samples.
type noise struct {
	title        string
	dims         []int // of one sample
	seed, column uint64
}

func (c *noise) name() string { return c.title }

func (c *noise) bind(in engine.IOInfo, p Preprocess) (binding, error) {
	axis, err := p.axis(append([]int{0}, c.dims...))
	if err != nil {
		return binding{}, err
	}
	return binding{read: func(samples []int) (*engine.Value, error) {
		size := engine.Count(c.dims)
		v := &engine.Value{Type: onnxio.Float, Dims: append([]int{len(samples)}, c.dims...), F32: make([]float32, size*len(samples))}
		for i, s := range samples {
			c.fill(v.F32[i*size:][:size], s)
		}
		if p.changes() {
			inner, channels := 1, 1
			if axis > 0 {
				inner, channels = engine.Count(v.Dims[axis+1:]), v.Dims[axis]
			}
			for e, x := range v.F32 {
				to := p.channel(e / inner % channels)
				lo, hi := to.apply(0), to.apply(255)
				y := float64(x)
				if len(p.Mean)+len(p.Std) == 0 {
					y = to.apply(127.5 + 64*y)
				}
				v.F32[e] = float32(min(max(y, min(lo, hi)), max(lo, hi)))
			}
		}
		if in.Type == 0 {
			return v, nil
		}
		return engine.Cast(v, in.Type)
	}}, nil
}

// fill makes a sample.
func (c *noise) fill(out []float32, sample int) {
	rng := rand.New(rand.NewPCG(c.seed<<8|c.column, uint64(sample)))
	channels, h, w, last := c.image()
	if channels == 0 {
		for i := range out {
			out[i] = float32(rng.NormFloat64())
		}
		return
	}
	// Natural colours are mostly grey: channels share what has nine tenths of the
	// variance.
	const shared = 0.9
	mix := func(x, own float64) float64 { return math.Sqrt(shared)*x + math.Sqrt(1-shared)*own }
	fields := make([][]float64, channels)
	grey := pink(rng, h, w)
	for ch := range fields {
		fields[ch] = pink(rng, h, w)
		for i, x := range grey {
			fields[ch][i] = mix(x, fields[ch][i])
		}
	}
	leaves(rng, fields, h, w, mix)
	for ch, field := range fields {
		for i, x := range field {
			at := ch*h*w + i
			if last {
				at = i*channels + ch
			}
			out[at] = float32(min(max(x, -bound), bound))
		}
	}
}

// bound cuts off synthetic numbers, as pixels are bounded.
const bound = 2

// leaves covers fields with discs of random sizes and colours, from back to
// front: the dead leaves model, which has the edges and the even patches of
// natural images beside their spectrum (Ruderman 1997; Baradad et al. 2021).
func leaves(rng *rand.Rand, fields [][]float64, h, w int, mix func(x, own float64) float64) {
	size := float64(max(h, w))
	const (
		discs        = 40
		small, large = 1.0 / 24, 0.6 // radii, as shares of the longer side
		texture      = 0.3           // deviation within a disc
	)
	colour := make([]float64, len(fields))
	base := make([][]float64, len(fields))
	for ch, field := range fields {
		for i := range field {
			field[i] *= texture
		}
		base[ch] = slices.Clone(field)
	}
	for disc := range discs {
		// Density of the radius falls as r⁻³.
		u := rng.Float64()
		r := 1 / math.Sqrt(u/(small*small)+(1-u)/(large*large)) * size
		if disc == 0 {
			r = math.Inf(1) // the ground
		}
		cy, cx := rng.Float64()*float64(h), rng.Float64()*float64(w)
		g := rng.NormFloat64()
		for ch := range colour {
			colour[ch] = math.Sqrt(1-texture*texture) * mix(g, rng.NormFloat64())
		}
		for y := int(max(cy-r, 0)); y < h && float64(y) <= cy+r; y++ {
			for x := int(max(cx-r, 0)); x < w && float64(x) <= cx+r; x++ {
				dy, dx := float64(y)-cy, float64(x)-cx
				if dy*dy+dx*dx > r*r {
					continue
				}
				for ch := range fields {
					fields[ch][y*w+x] = colour[ch] + base[ch][y*w+x]
				}
			}
		}
	}
}

// image tells images from other samples: three axes, with the channels first unless only the last axis is short enough
// for colours. channels is 0 for all else.
func (c *noise) image() (channels, h, w int, last bool) {
	const colours = 4
	if len(c.dims) != 3 {
		return 0, 0, 0, false
	}
	d := c.dims
	if d[2] <= colours && d[0] > colours {
		return d[2], d[0], d[1], true
	}
	return d[0], d[1], d[2], false
}

// pink makes an h×w field whose amplitude falls as 1/f, of variance 1 over all fields. The lowest frequency, a whole
// image darker or lighter, counts as half of the next.
func pink(rng *rand.Rand, h, w int) []float64 {
	spectrum := make([]complex128, h*w)
	total := 0.0
	for y := range h {
		for x := range w {
			fy, fx := float64(min(y, h-y))/float64(h), float64(min(x, w-x))/float64(w)
			f := math.Hypot(fy, fx)
			if f == 0 {
				f = 0.5 / float64(max(h, w))
			}
			a := 1 / f
			total += a * a
			spectrum[y*w+x] = complex(a*rng.NormFloat64(), a*rng.NormFloat64())
		}
	}
	// The real part of the transform is a real field with the wanted spectrum.
	rows := fourier.NewCmplxFFT(w)
	for y := range h {
		row := spectrum[y*w:][:w]
		rows.Coefficients(row, row)
	}
	columns := fourier.NewCmplxFFT(h)
	column := make([]complex128, h)
	out := make([]float64, h*w)
	norm := 1 / math.Sqrt(total)
	for x := range w {
		for y := range h {
			column[y] = spectrum[y*w+x]
		}
		columns.Coefficients(column, column)
		for y, v := range column {
			out[y*w+x] = real(v) * norm
		}
	}
	return out
}
