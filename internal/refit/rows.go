package refit

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/stats"
	"github.com/monge-ml/monge/internal/teach"
)

// rows are samples of what a layer reads and of what it should compute. Where there are fewer than
// inputs they hold all that the sums would say, in less memory, and n×n systems take the place of
// d×d ones.
type rows struct {
	*stats.RowSet
	mean []float64 // that was taken off x; nil as long as none was
}

// centre takes a mean off x, for good.
func (r *rows) centre(mean []float64) {
	for i := range r.N {
		row := r.X[i*r.D:][:r.D]
		for j, m := range mean {
			if r.mean != nil {
				m -= r.mean[j]
			}
			row[j] = float32(float64(row[j]) - m)
		}
	}
	r.mean = mean
}

// means returns those of x, as it came, and of y.
func (r *rows) means() (x, y []float64) {
	x, y = columnMeans(r.X, r.D), columnMeans(r.Y, r.O)
	if r.mean != nil {
		floats.Add(x, r.mean)
	}
	return x, y
}

func columnMeans(v []float32, k int) []float64 {
	out := make([]float64, k)
	for i := 0; i < len(v); i += k {
		for j, x := range v[i : i+k] {
			out[j] += float64(x)
		}
	}
	floats.Scale(float64(k)/float64(len(v)), out)
	return out
}

// variation is Σ‖y − ȳ‖².
func (r *rows) variation() float64 {
	return r.squaredError(make([]float64, len(r.Y)), columnMeans(r.Y, r.O))
}

// size is Σ‖y‖².
func (r *rows) size() float64 {
	return r.squaredError(make([]float64, len(r.Y)), make([]float64, r.O))
}

// join takes in the samples of others, centred alike.
func (r *rows) join(other *rows) {
	r.X, r.Y, r.N = append(r.X, other.X...), append(r.Y, other.Y...), r.N+other.N
}

// times is x·Wᵀ, n×o.
func (r *rows) times(w []float64) dense.Matrix[float64] {
	out := dense.New[float64](r.N, r.O, nil)
	dense.AddMul(out, 1, dense.New(r.N, r.D, r.X), dense.New(r.O, r.D, w).T())
	return out
}

// dual is a fit in terms of samples. With X centred where there is a bias, K = X·Xᵀ and R = Y −
// X·W₀ᵀ, the solution of normal.ridge is
//
//	W = W₀ + Cᵀ·X,   (K + n·l·I)·C = R
//
// (kernel ridge regression; Saunders, Gammerman & Vovk, Ridge Regression Learning Algorithm in Dual
// Variables, 1998), and what it predicts for the samples is Y − n·l·C.
type dual struct {
	r      *rows
	prior  fit
	meanY  []float64 // taken off y; zeros where there is no bias
	k, res dense.Matrix[float64]
	trace  float64
}

// newDual centres the samples.
func newDual(r *rows, prior fit) *dual {
	q := &dual{r: r, prior: prior, meanY: make([]float64, r.O)}
	if prior.b != nil {
		var meanX []float64
		meanX, q.meanY = r.means()
		r.centre(meanX)
	}
	q.k = dense.New[float64](r.N, r.N, nil)
	dense.AddGram(q.k, 1, dense.New(r.N, r.D, r.X))
	dense.Mirror(q.k)
	for i := range r.N {
		q.trace += q.k.Data[i*r.N+i] / float64(r.N)
	}
	q.res = r.times(prior.w)
	for i, p := range q.res.Data {
		q.res.Data[i] = float64(r.Y[i]) - q.meanY[i%r.O] - p
	}
	return q
}

// solve returns C for a strength λ relative to tr G/d. ok is false where nothing can be learnt.
func (q *dual) solve(lambda float64) (c dense.Matrix[float64], ok bool) {
	n, o := q.r.N, q.r.O
	if !(q.trace > 0) || math.IsInf(q.trace, 0) {
		return c, false
	}
	l := lambda * q.trace / float64(q.r.D) * float64(n)
	chol := dense.New[float64](n, n, nil)
	if _, ok := factor(chol, q.k, l); !ok {
		return c, false
	}
	c = dense.New(n, o, slices.Clone(q.res.Data))
	dense.SolveCholesky(chol, c)
	return c, true
}

// fit carries a solution out, over the weights of the prior.
func (q *dual) fit(c dense.Matrix[float64]) fit {
	w := dense.New(q.r.O, q.r.D, q.prior.w)
	dense.AddMul(w, 1, c.T(), dense.New(q.r.N, q.r.D, q.r.X))
	out := fit{w: w.Data}
	if q.prior.b != nil {
		out.b = make([]float64, q.r.O)
		for k := range out.b {
			out.b[k] = q.meanY[k] - floats.Dot(w.Data[k*q.r.D:][:q.r.D], q.r.mean)
		}
	}
	return out
}

// chooseOnRows is choose for samples. It centres them, joins held to train, and writes over the
// prior's weights. Where rows are scores of classes it is decisions that count (rows.divergences),
// and the prior is kept where held-out samples do not tell a fit from it, within one standard error
// of the difference: of 1,000 classes and 80 samples a fit was better by squared error, and decided
// three in a hundred more wrongly. In any case they are made as sure then as held-out samples say:
// of an EfficientNet-Lite0 at half its multiply-accumulates they came out of all refits at two
// fifths of their size.
func chooseOnRows(train, held *rows, prior fit, classes bool) (best fit, lambda, before, after float64) {
	equations := newDual(train, prior)
	offset := make([]float64, train.O) // of the prior's predictions
	if prior.b != nil {
		held.centre(train.mean)
		for k := range offset {
			offset[k] = prior.b[k] + floats.Dot(prior.w[k*train.D:][:train.D], train.mean)
		}
	}
	// What the prior predicts for held-out samples, and by how much their inputs are like those of
	// the others.
	now := held.times(prior.w)
	like := dense.New[float64](held.N, train.N, nil)
	dense.AddMul(like, 1, dense.New(held.N, held.D, held.X), dense.New(train.N, train.D, train.X).T())
	before = held.squaredError(now.Data, offset)
	if before <= rounding*held.variation() {
		return prior, 0, before, before
	}
	measure := held.squaredErrors
	if classes {
		measure = held.divergences
	}
	first, sure := measure(now.Data, offset)
	least, surest := first, sure
	after = before
	lambda = search(floats.Sum(first), func(l float64) float64 {
		c, ok := equations.solve(l)
		if !ok {
			return math.Inf(1)
		}
		predicted := dense.New(held.N, held.O, slices.Clone(now.Data))
		dense.AddMul(predicted, 1, like, c)
		each, t := measure(predicted.Data, equations.meanY)
		if floats.Sum(each) < floats.Sum(least) {
			least, surest, after = each, t, held.squaredError(predicted.Data, equations.meanY)
		}
		return floats.Sum(each)
	})
	if lambda == 0 || classes && within(first, least) {
		return prior.times(sure), 0, before, before
	}
	train.join(held)
	equations = newDual(train, prior)
	c, ok := equations.solve(lambda)
	if !ok {
		return prior, 0, before, before
	}
	return equations.fit(c).times(surest), lambda, before, after
}

// divergences are KL(softmax(y) ‖ softmax(t·(p + offset))) in nats, row by row, of predictions p of
// scores, with the t that is best for all of them: least squares tell less than there is, the more
// the fewer the rows, and a factor changes no decision.
func (r *rows) divergences(p, offset []float64) (each []float64, t float64) {
	z := make([]float32, len(p))
	for i, v := range p {
		z[i] = float32(v + offset[i%r.O])
	}
	want := teach.Softmax(r.Y, r.O, 1)
	t = teach.Confidence(z, want, r.O, 1)
	return teach.Divergences(want, teach.Softmax(z, r.O, 1/t), r.O), t
}

// rounding is a squared error relative to the variance that single precision leaves where there is
// none: a fit could only learn it by heart.
const rounding = 1e-12

// squaredError is Σ‖y − p − offset‖² of predictions p, n×o.
func (r *rows) squaredError(p, offset []float64) float64 {
	each, _ := r.squaredErrors(p, offset)
	return floats.Sum(each)
}

// squaredErrors are ‖y − p − offset‖² of predictions p, n×o, row by row, as they are: t is 1.
func (r *rows) squaredErrors(p, offset []float64) (each []float64, t float64) {
	each = make([]float64, r.N)
	for i, y := range r.Y {
		d := float64(y) - p[i] - offset[i%r.O]
		each[i/r.O] += d * d
	}
	return each, 1
}
