package choose

import (
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/match"
)

// A reader is one consumer's view of a space of n channels.
type reader struct {
	n    int
	rows float64
	sum  []float64 // Σ h
	// gram is Σ h hᵀ, n×n, lower triangle. It is nil as long as there are fewer
	// rows than channels, of which there are many: then samples are the rows
	// themselves, one part for each batch.
	gram    []float64
	samples []dense.Matrix[float32] // n×d each

	sens sensitivity
	// affine: the consumer has, or can take, a bias, so that constant parts of
	// channels cost nothing.
	affine bool
	// widths are the parties' numbers of channels, energy their shares of what is
	// to be explained.
	widths []int
	energy []float64
	// exact is the consumer's own least-squares problem, kernel taps told apart;
	// nil where only channels were observed.
	exact *lens
	// held is what other samples show of the same channels, by which what the
	// rows above say is checked; nil where there were too few to hold any out.
	held *reader
}

// heldEvery says that one batch in so many is held out, or one of all where there
// are fewer.
const heldEvery = 5

// heldOut reports whether a batch of several is held out.
func heldOut(batch, batches int) bool {
	every := min(heldEvery, batches)
	return every > 1 && batch%every == every-1
}

// batchOf is a batch size with which there are enough batches to hold some out.
func batchOf(o match.Options) int {
	if o.Batch > 0 {
		return o.Batch
	}
	return min(32, max(1, o.Data.Len()/(2*heldEvery)))
}

// sensitivity is S = Σ w wᵀ over a consumer's outputs and taps: how errors of the
// channels add up in what it computes.
type sensitivity struct {
	own []float64 // the diagonal of S
	// whole is S, or w with wᵀ·w = S where that is smaller. Neither is known of
	// spaces too wide to be eliminated, which need no more than the diagonal.
	whole *mat.SymDense
	w     *mat.Dense
}

// lens is the consumer's problem as far as it was observed: exact, or with S
// standing for its weights.
func (c *reader) lens() *lens {
	if c.exact != nil {
		return c.exact
	}
	cov := c.covariance()
	l := &lens{gram: cov, held: c.heldMoments(), w: c.sens.w}
	if l.w == nil {
		l.w = squareRoot(c.balanced(cov))
	}
	for i := range c.n {
		l.blocks = append(l.blocks, []int{i})
	}
	return l
}

// balanced is the sensitivity with each party's block scaled so that the party
// counts with its energy, whatever the scale of its activations.
func (c *reader) balanced(cov *mat.SymDense) *mat.SymDense {
	if len(c.widths) < 2 {
		return c.sens.whole
	}
	out := mat.NewSymDense(c.n, nil)
	at := 0
	for p, w := range c.widths {
		total := 0.0
		for i := at; i < at+w; i++ {
			for j := at; j < at+w; j++ {
				total += cov.At(i, j) * c.sens.whole.At(i, j)
			}
		}
		scale := c.energy[p]
		if scale == 0 {
			scale = 1
		}
		if total > 0 {
			scale /= total
		}
		for i := at; i < at+w; i++ {
			for j := i; j < at+w; j++ {
				out.SetSym(i, j, scale*c.sens.whole.At(i, j))
			}
		}
		at += w
	}
	return out
}

// add takes in d positions of all channels, n×d.
func (c *reader) add(x []float64, d int) {
	if d == 0 {
		return
	}
	for p := range c.n {
		for _, v := range x[p*d:][:d] {
			c.sum[p] += v
		}
	}
	c.rows += float64(d)
	if c.gram == nil && c.n > channels.LeastSamples && c.rows < float64(c.n) {
		part := dense.New[float32](c.n, d, nil)
		for i, v := range x[:c.n*d] {
			part.Data[i] = float32(v)
		}
		c.samples = append(c.samples, part)
		return
	}
	if c.gram == nil {
		c.gram = make([]float64, c.n*c.n)
		for _, s := range c.samples {
			dense.AddGram(dense.New(c.n, c.n, c.gram), 1, s)
		}
		c.samples = nil
	}
	dense.AddGram(dense.New(c.n, c.n, c.gram), 1, dense.New(c.n, d, x))
}

// variance of one channel about zero, or about its mean if the consumer can absorb it.
func (c *reader) variance(p int) float64 {
	v := 0.0
	if c.gram != nil {
		v = c.gram[p*c.n+p]
	}
	for _, s := range c.samples {
		for _, x := range s.Data[p*s.Row:][:s.Cols] {
			v += float64(x) * float64(x)
		}
	}
	v /= c.rows
	if c.affine {
		v -= c.sum[p] / c.rows * c.sum[p] / c.rows
	}
	return v
}

// covariance is the mean of h hᵀ, centred if the consumer can absorb means.
func (c *reader) covariance() *mat.SymDense {
	gram := c.sums()
	return secondMoments(c.n, c.rows, func(p, q int) float64 { return gram[q*c.n+p] }, c.sum, c.affine)
}

// sums is Σ h hᵀ, n×n, lower triangle.
func (c *reader) sums() []float64 {
	gram := c.gram
	if gram == nil {
		gram = make([]float64, c.n*c.n)
		for _, s := range c.samples {
			dense.AddGram(dense.New(c.n, c.n, gram), 1, s)
		}
	}
	return gram
}

// heldMoments are the second moments of held-out rows about the means of the
// others, which a bias fitted to these takes off; nil if there are none.
func (c *reader) heldMoments() *mat.SymDense {
	h := c.held
	if h == nil || h.rows == 0 {
		return nil
	}
	gram := h.sums()
	return aboutMeans(c.n, h.rows, func(p, q int) float64 { return gram[q*c.n+p] }, h.sum, c.means())
}

// means are those of the channels, which a bias absorbs; nil where there is none.
func (c *reader) means() []float64 {
	if !c.affine {
		return nil
	}
	out := make([]float64, c.n)
	floats.AddScaled(out, 1/c.rows, c.sum)
	return out
}

// aboutMeans is E[(x − m)(x − m)ᵀ] out of sums over rows; a nil m is zero.
func aboutMeans(d int, rows float64, product func(p, q int) float64, sum, m []float64) *mat.SymDense {
	out := mat.NewSymDense(d, nil)
	for p := range d {
		for q := p; q < d; q++ {
			v := product(p, q) / rows
			if m != nil {
				v += m[p]*m[q] - m[p]*sum[q]/rows - m[q]*sum[p]/rows
			}
			out.SetSym(p, q, v)
		}
	}
	return out
}

// constant is the variance, relative to the mean square, up to which a value
// counts as one that does not vary: what single precision leaves of the
// difference of the two, which may well be negative.
const constant = 1e-6

// secondMoments is the matrix of E[x xᵀ] of d values, from sums over rows of
// products (q ≤ p is not asked for) and of values; centred if that is wanted.
// What does not vary has no covariance.
func secondMoments(d int, rows float64, product func(p, q int) float64, sum []float64, centred bool) *mat.SymDense {
	out := mat.NewSymDense(d, nil)
	still := make([]bool, d)
	for p := range d {
		square := product(p, p) / rows
		mean := sum[p] / rows
		still[p] = centred && square-mean*mean <= constant*square
	}
	for p := range d {
		for q := p; q < d && !still[p]; q++ {
			if still[q] {
				continue
			}
			v := product(p, q) / rows
			if centred {
				v -= sum[p] / rows * sum[q] / rows
			}
			out.SetSym(p, q, v)
		}
	}
	return out
}

// factor returns A, rows×n, with AᵀA the covariance; ok is false where the samples are not there any more.
func (c *reader) factor() (a dense.Matrix[float64], ok bool) {
	if c.gram != nil {
		return a, false
	}
	a = dense.New[float64](int(c.rows), c.n, nil)
	at := 0
	for _, s := range c.samples {
		for p := range c.n {
			for i, x := range s.Data[p*s.Row:][:s.Cols] {
				a.Data[(at+i)*c.n+p] = float64(x)
			}
		}
		at += s.Cols
	}
	if c.affine {
		mean := make([]float64, c.n)
		floats.AddScaled(mean, 1/c.rows, c.sum)
		for i := range a.Rows {
			floats.Sub(a.Data[i*c.n:][:c.n], mean)
		}
	}
	floats.Scale(1/math.Sqrt(c.rows), a.Data)
	return a, true
}
