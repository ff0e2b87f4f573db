package refit

import (
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/optimize"
	"gonum.org/v1/gonum/stat"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/dense"
	"github.com/monge-ml/monge/internal/teach"
)

const (
	// maxScores bounds rows × inputs × classes of a layer whose scores are fitted by divergence,
	// maxSteps the steps that are taken for one strength.
	maxScores = 1e9
	maxSteps  = 60
)

// scoreStrengths are the ridge strengths for scores, relative to the mean diagonal of the Gram
// matrix, from the strongest on. The parents' last layers were trained with labels on far more
// samples than there are now: much speaks for staying near to them.
var scoreStrengths = []float64{1, 0.3, 0.1, 0.03, 1e-2, 3e-3, 1e-3, 1e-4}

// fitScores fits the last layer of a classifier by the divergence from the parents' mean
// probabilities p, Decided, rather than by squared error:
//
//	min Σ KL(p ‖ softmax(W·x + b))/n + c·Σ‖y − W·x − b‖²/Σ‖y − ȳ‖² + λ·(tr G/d)·‖W − W₀‖²
//
// which is convex. Least squares would weigh the scores of classes that are out of the question as
// much as those that the decision is between. Of strengths λ that held-out samples do not tell from
// the best, within one standard error of the difference, the strongest is taken (Breiman et al.,
// Classification and Regression Trees, 1984). ok is false where the problem is too large for that.
func (r *run) fitScores(l *layer, t *target, w *weights, out *Layer) (ok bool, err error) {
	train, held := &scores{d: w.inputs, o: w.outputs}, &scores{d: w.inputs, o: w.outputs}
	for i := range r.child.Batches() {
		vs, err := r.child.Batch(i, l.In.Tensor)
		if err != nil {
			return false, err
		}
		x := vs[l.In.Tensor].Float32()
		y, err := t.batch(i)
		if err != nil {
			return false, err
		}
		if len(x)*w.outputs != len(y.F32)*w.inputs {
			return false, nil // not as many rows of inputs as of scores
		}
		if rows := float64(len(x)/w.inputs) * float64(r.child.Batches()); rows*float64(w.inputs)*float64(w.outputs) > maxScores {
			return false, nil
		}
		into := train
		if r.holds(i) {
			into = held
		}
		into.add(x, y.F32)
	}
	if held.n == 0 {
		out.Note = noteFew
		return true, nil
	}
	start := time.Now()
	defer func() { r.solving += time.Since(start) }()
	prior := w.group(0)
	train.prepare()
	held.prepare()
	var losses [][]float64
	now, least := prior, 0
	for i, s := range scoreStrengths {
		now = train.minimise(s, prior, now)
		losses = append(losses, held.losses(now))
		if floats.Sum(losses[i]) < floats.Sum(losses[least]) {
			least = i
		}
	}
	before := held.losses(prior)
	out.Before = stat.Mean(before, nil)
	out.After = out.Before
	if within(before, losses[least]) {
		return true, nil
	}
	best := slices.IndexFunc(losses, func(e []float64) bool { return within(e, losses[least]) })
	if best < 0 {
		return true, nil // losses that are no numbers: nothing can be learnt
	}
	out.Strength, out.After = scoreStrengths[best], stat.Mean(losses[best], nil)
	train.join(held)
	w.setGroup(0, train.minimise(out.Strength, prior, now))
	return true, nil
}

// within reports whether the mean of x is no more than one standard error of the difference above
// that of y.
func within(x, y []float64) bool {
	d := slices.Clone(x)
	floats.Sub(d, y)
	mean, deviation := stat.MeanStdDev(d, nil)
	return mean <= 0 || mean <= deviation/math.Sqrt(float64(len(d)))
}

// scores are n samples of a last layer: what it reads and what its scores should be.
type scores struct {
	n, d, o   int
	x, y      []float64 // n×d, n×o
	p         []float64 // n×o: softmax of y, decided
	variation float64   // Σ(y − ȳ)², over samples and classes
	scale     float64   // tr G/d, centred
}

func (s *scores) add(x, y []float32) {
	s.x = append(s.x, engine.Float32(x, len(x)).Float64()...)
	s.y = append(s.y, engine.Float32(y, len(y)).Float64()...)
	s.n = len(s.y) / s.o
}

func (s *scores) join(other *scores) {
	s.x, s.y, s.n = append(s.x, other.x...), append(s.y, other.y...), s.n+other.n
	s.prepare()
}

// prepare computes what follows from the samples.
func (s *scores) prepare() {
	s.p = slices.Clone(s.y)
	for i := 0; i < len(s.p); i += s.o {
		softmax(s.p[i : i+s.o])
	}
	teach.Decided(s.p, s.o)
	// Scores that do not vary (a dead layer's) are compared by their size, zeros by one.
	s.variation = max(variation(s.y, s.o), 1e-6*floats.Dot(s.y, s.y))
	if s.variation == 0 {
		s.variation = float64(len(s.y))
	}
	s.scale = variation(s.x, s.d) / float64(s.n*s.d)
}

// variation is Σ(v − v̄)² over rows of k values.
func variation(v []float64, k int) float64 {
	mean := make([]float64, k)
	for i, x := range v {
		mean[i%k] += x * float64(k) / float64(len(v))
	}
	total := 0.0
	for i, x := range v {
		d := x - mean[i%k]
		total += d * d
	}
	return total
}

// softmax turns scores into probabilities, in place.
func softmax(row []float64) {
	norm := floats.LogSumExp(row)
	for i, v := range row {
		row[i] = math.Exp(v - norm)
	}
}

// losses are the divergence plus c times the relative squared error, sample by sample; the loss is
// their mean.
func (s *scores) losses(f fit) []float64 { return s.evaluate(f, nil) }

// evaluate returns the losses. If residuals is given, it becomes the gradient of their mean in the
// scores.
func (s *scores) evaluate(f fit, residuals []float64) []float64 {
	z := dense.New[float64](s.n, s.o, nil)
	dense.AddMul(z, 1, dense.New(s.n, s.d, s.x), dense.New(s.o, s.d, f.w).T())
	each := make([]float64, s.n)
	for i := range each {
		row := z.Data[i*s.o:][:s.o]
		if f.b != nil {
			floats.Add(row, f.b)
		}
		norm := floats.LogSumExp(row)
		for k, v := range row {
			p, e := s.p[i*s.o+k], v-s.y[i*s.o+k]
			if p > 0 {
				each[i] += p * (math.Log(p) - v + norm)
			}
			each[i] += teach.Closeness * float64(s.n) * e * e / s.variation
			if residuals != nil {
				residuals[i*s.o+k] = (math.Exp(v-norm)-p)/float64(s.n) + 2*teach.Closeness*e/s.variation
			}
		}
	}
	return each
}

// minimise solves for one ridge strength, from a start, by L-BFGS.
func (s *scores) minimise(strength float64, prior, start fit) fit {
	if !(s.scale > 0) || math.IsInf(s.scale, 0) {
		return start // nothing varies: nothing can be learnt
	}
	split := func(v []float64) fit {
		f := fit{w: v[:s.d*s.o]}
		if prior.b != nil {
			f.b = v[s.d*s.o:]
		}
		return f
	}
	ridge := strength * s.scale
	residuals := make([]float64, s.n*s.o)
	problem := optimize.Problem{
		Func: func(v []float64) float64 {
			f := split(v)
			away := floats.Distance(f.w, prior.w, 2)
			return stat.Mean(s.losses(f), nil) + ridge*away*away
		},
		Grad: func(grad, v []float64) {
			f, g := split(v), split(grad)
			s.evaluate(f, residuals)
			clear(grad)
			dense.AddMul(dense.New(s.o, s.d, g.w), 1, dense.New(s.n, s.o, residuals).T(), dense.New(s.n, s.d, s.x))
			for i, x := range f.w {
				g.w[i] += 2 * ridge * (x - prior.w[i])
			}
			for i := 0; g.b != nil && i < len(residuals); i += s.o {
				floats.Add(g.b, residuals[i:i+s.o])
			}
		},
	}
	from := append(slices.Clone(start.w), start.b...)
	// A search that gets no further ends with an error, and with what it has found.
	result, _ := optimize.Minimize(problem, from, &optimize.Settings{MajorIterations: maxSteps, GradientThreshold: 1e-7}, &optimize.LBFGS{})
	if result == nil || floats.HasNaN(result.X) {
		return start
	}
	return split(result.X)
}
