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

// SyntheticOptions say what made-up inputs are like. The zero value makes 500 samples of mean 0 and
// variance 1.
type SyntheticOptions struct {
	// Samples is their number. 0: 500.
	Samples int

	// Seed makes them.
	Seed int64

	// Shapes are the shapes of inputs whose sizes, but for the first, are free, by input name.
	Shapes map[string][]int

	// Preprocess says how pixels become inputs, and so where inputs lie. With a mean or a deviation
	// they have mean 0 and variance 1, as after any normalisation, cut off where pixels are below 0
	// or above 255. With a scale alone they are scaled pixels of mean 127.5 and standard deviation
	// 64. The zero value: mean 0 and variance 1.
	Preprocess Preprocess
}

// Synthetic makes inputs for a model out of noise, for calibration where there are no data. Inputs
// with two spatial axes get noise whose amplitude falls as 1/f, like that of natural images (Field
// 1987), under discs of random size and colour that hide one another, which adds their edges; most
// of it is shared by the channels. Integers that pick rows of a table (words) are drawn evenly from
// its rows, those that become numbers or conditions (masks) are ones, and any others are an error:
// their meaning cannot be guessed. All other inputs are independent Gaussian numbers.
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
		c, one, err := makeUp(g, in, o.Shapes[in.Name], uint64(o.Seed)<<8|uint64(i))
		if err != nil {
			return nil, err
		}
		varied = varied || !one
		d.columns = append(d.columns, c)
	}
	if !varied {
		return nil, fmt.Errorf("the model has no inputs that can be made up")
	}
	return d, nil
}

// makeUp makes the column for an input, of a shape that may be given. alike says that all of its
// samples are the same.
func makeUp(g *onnxio.Graph, in engine.IOInfo, shape []int, seed uint64) (c column, alike bool, err error) {
	if shape == nil {
		for _, size := range in.Dims {
			shape = append(shape, int(size))
		}
	}
	if len(shape) == 0 {
		return nil, false, fmt.Errorf("input %s has no batch axis that is known", in)
	}
	for k, size := range shape[1:] {
		if size < 1 {
			return nil, false, fmt.Errorf("input %s: axis %d has no size: give its shape", in, k+1)
		}
	}
	m := made{in.Name, shape[1:], seed}
	if in.Type == 0 || onnxio.IsFloat(in.Type) {
		return &noise{m}, false, nil
	}
	limit, known := meaning(g, in.Name, false)
	if !known || !onnxio.IsInteger(in.Type) || limit == 0 && in.Type == onnxpb.TensorProto_UINT8 { // pixels
		return nil, false, fmt.Errorf("input %s cannot be made up: what its integers stand for is not known", in)
	}
	return &tokens{m, limit}, limit <= 1, nil
}

// made is what made-up columns have in common.
type made struct {
	title string
	dims  []int // of one sample
	seed  uint64
}

func (c *made) name() string { return c.title }

// rng makes the numbers of a sample.
func (c *made) rng(sample int) *rand.Rand { return rand.New(rand.NewPCG(c.seed, uint64(sample))) }

// empty is a value for some samples, and the size of each.
func (c *made) empty(samples []int, typ engine.DType) (v *engine.Value, size int) {
	return &engine.Value{Type: typ, Dims: append([]int{len(samples)}, c.dims...)}, engine.Count(c.dims)
}

// A noise is a column of made-up samples.
type noise struct{ made }

func (c *noise) bind(in engine.IOInfo, p Preprocess) (binding, error) {
	axis, err := p.axis(append([]int{0}, c.dims...))
	if err != nil {
		return binding{}, err
	}
	return binding{read: func(samples []int) (*engine.Value, error) {
		v, size := c.empty(samples, onnxio.Float)
		v.F32 = make([]float32, size*len(samples))
		for i, s := range samples {
			c.fill(v.F32[i*size:][:size], c.rng(s))
		}
		if p.changes() {
			eachChannel(v.Dims, axis, func(channel, from, to int) { p.place(v.F32[from:to], channel) })
		}
		return engine.Cast(v, in.Type)
	}}, nil
}

// place moves numbers of mean 0 and variance 1 to where the pixels of a channel lie.
func (p Preprocess) place(x []float32, channel int) {
	to := p.channel(channel)
	lo, hi := to.apply(0), to.apply(255)
	for i := range x {
		y := float64(x[i])
		if len(p.Mean)+len(p.Std) == 0 {
			y = to.apply(127.5 + 64*y)
		}
		x[i] = float32(min(max(y, min(lo, hi)), max(lo, hi)))
	}
}

// fill makes a sample.
func (c *noise) fill(out []float32, rng *rand.Rand) {
	channels, h, w, last := c.image()
	if channels == 0 {
		for i := range out {
			out[i] = float32(rng.NormFloat64())
		}
		return
	}
	// Natural colours are mostly grey: channels share what has nine tenths of the variance.
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

// leaves covers fields with discs of random sizes and colours, from back to front: the dead leaves
// model, which has the edges and the even patches of natural images beside their spectrum (Ruderman
// 1997; Baradad et al. 2021).
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

// image tells images from other samples: three axes, with the channels first unless only the last
// axis is short enough for colours. channels is 0 for all else.
func (c *noise) image() (channels, h, w int, last bool) {
	switch d := c.dims; {
	case len(d) != 3:
		return 0, 0, 0, false
	case d[2] <= maxColours && d[0] > maxColours:
		return d[2], d[0], d[1], true
	default:
		return d[0], d[1], d[2], false
	}
}

// pink makes an h×w field whose amplitude falls as 1/f, of variance 1 over all fields. The lowest
// frequency, a whole image darker or lighter, counts as half of the next.
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
