package choose

import (
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/dense"
)

// moments are sums over rows (positions of samples) of n channels.
type moments struct {
	n    int
	rows float64
	sum  []float64 // Σ h
	// gram is Σ h hᵀ, n×n, lower triangle. It is nil as long as there are fewer rows than channels,
	// of which there are many: then samples are the rows themselves, one part for each batch.
	gram    []float64
	samples []dense.Matrix[float32] // n×d each
}

// A sight is what was seen of the n channels of a group through one consumer.
type sight struct {
	moments
	// held is what other samples show of the same channels, by which what the rows above say is
	// checked; nil where there were too few to hold any out.
	held *moments

	sens sensitivity
	// affine: the consumer has, or can take, a bias, so that constant parts of channels cost
	// nothing.
	affine bool
	// widths are the parents' numbers of channels, energy their shares of what is to be explained.
	widths []int
	energy []float64
	// exact is the consumer's own least-squares problem, kernel positions told apart; nil where
	// only channels were observed.
	exact *lens
}

// heldEvery says that one batch in so many is held out, or one of all where there are fewer.
const heldEvery = 5

// heldOut reports whether a batch of several is held out.
func heldOut(batch, batches int) bool {
	every := min(heldEvery, batches)
	return every > 1 && batch%every == every-1
}

// lens is the consumer's problem as far as it was observed: exact, or with S standing for its
// weights.
func (c *sight) lens() *lens {
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

// balanced is the sensitivity with each parent's block scaled so that the parent counts with its
// energy, whatever the scale of its activations.
func (c *sight) balanced(cov *mat.SymDense) *mat.SymDense {
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

// squareRoot returns A with AᵀA = S, up to rounding, for a positive semi-definite S.
func squareRoot(s *mat.SymDense) *mat.Dense {
	n := s.SymmetricDim()
	l := dense.New[float64](n, n, nil)
	for ridge := 1e-12; ; ridge *= 10 {
		for i := range n {
			for j := range i + 1 {
				l.Data[i*n+j] = s.At(i, j)
			}
			l.Data[i*n+i] += ridge*mat.Trace(s)/float64(n) + math.SmallestNonzeroFloat64
		}
		if dense.Cholesky(l) {
			break
		}
		if ridge > 1 {
			return mat.DenseCopyOf(s) // S itself orders channels nearly as well
		}
	}
	a := mat.NewDense(n, n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			a.Set(i, j, l.Data[j*n+i])
		}
	}
	return a
}

// add takes in further rows: the columns of x, whose rows are channels.
func (c *moments) add(x dense.Matrix[float64]) {
	if x.Cols == 0 {
		return
	}
	for p := range c.n {
		for _, v := range x.Data[p*x.Row:][:x.Cols] {
			c.sum[p] += v
		}
	}
	c.rows += float64(x.Cols)
	if c.gram == nil && c.n > channels.LeastSamples && c.rows < float64(c.n) {
		part := dense.New[float32](c.n, x.Cols, nil)
		for i, v := range x.Data[:c.n*x.Cols] {
			part.Data[i] = float32(v)
		}
		c.samples = append(c.samples, part)
		return
	}
	c.gram, c.samples = c.products(), nil
	dense.AddGram(dense.New(c.n, c.n, c.gram), 1, x)
}

// variance is about zero, or about the mean if the consumer can absorb it.
func (c *sight) variance(p int) float64 {
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
func (c *sight) covariance() *mat.SymDense { return c.sums().covariance(c.affine) }

// products is Σ h hᵀ, n×n, lower triangle.
func (c *moments) products() []float64 {
	if c.gram != nil {
		return c.gram
	}
	gram := make([]float64, c.n*c.n)
	for _, s := range c.samples {
		dense.AddGram(dense.New(c.n, c.n, gram), 1, s)
	}
	return gram
}

// heldMoments are the second moments of held-out rows about the means of the others, which a bias
// fitted to these takes off; nil if there are none.
func (c *sight) heldMoments() *mat.SymDense {
	if c.held == nil || c.held.rows == 0 {
		return nil
	}
	return c.held.sums().about(c.sums().means(c.affine))
}

// sums are what the second moments of values x are made of, over rows.
type sums struct {
	rows    float64
	x       []float64
	product func(p, q int) float64 // Σ x_p·x_q for p ≤ q
}

func (c *moments) sums() sums {
	var gram []float64
	return sums{c.rows, c.sum, func(p, q int) float64 {
		if gram == nil {
			gram = c.products()
		}
		return gram[q*c.n+p]
	}}
}

// means are those of x, which a bias absorbs; nil where there is none.
func (s sums) means(affine bool) []float64 {
	if !affine {
		return nil
	}
	return floats.ScaleTo(make([]float64, len(s.x)), 1/s.rows, s.x)
}

// about is E[(x − m)(x − m)ᵀ]; a nil m is zero.
func (s sums) about(m []float64) *mat.SymDense {
	out := mat.NewSymDense(len(s.x), nil)
	for p := range s.x {
		for q := p; q < len(s.x); q++ {
			v := s.product(p, q) / s.rows
			if m != nil {
				v += m[p]*m[q] - m[p]*s.x[q]/s.rows - m[q]*s.x[p]/s.rows
			}
			out.SetSym(p, q, v)
		}
	}
	return out
}

// constant is the variance, relative to the mean square, up to which a value counts as one that
// does not vary: what single precision leaves of the difference of the two, which may well be
// negative.
const constant = 1e-6

// covariance is E[x xᵀ], centred if a bias can absorb means: then constants have none.
func (s sums) covariance(affine bool) *mat.SymDense {
	if !affine {
		return s.about(nil)
	}
	out := mat.NewSymDense(len(s.x), nil)
	still := make([]bool, len(s.x))
	for p, x := range s.x {
		square, mean := s.product(p, p)/s.rows, x/s.rows
		still[p] = square-mean*mean <= constant*square
	}
	for p := range s.x {
		for q := p; q < len(s.x) && !still[p]; q++ {
			if !still[q] {
				out.SetSym(p, q, s.product(p, q)/s.rows-s.x[p]/s.rows*s.x[q]/s.rows)
			}
		}
	}
	return out
}

// factor returns A, rows×n, with AᵀA the covariance; ok is false where the samples are not there
// any more.
func (c *sight) factor() (a dense.Matrix[float64], ok bool) {
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
	if mean := c.sums().means(c.affine); mean != nil {
		for i := range a.Rows {
			floats.Sub(a.Data[i*c.n:][:c.n], mean)
		}
	}
	floats.Scale(1/math.Sqrt(c.rows), a.Data)
	return a, true
}
