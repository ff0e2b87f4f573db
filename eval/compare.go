package eval

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/engine"
)

// An OutputResult compares one output of a model with that of another, over all samples.
type OutputResult struct {
	Name string `json:"name"`
	Task Task   `json:"task"` // says what Agreement means

	// Agreement is 1 where outputs are as good as equal. It depends on the task:
	//
	//   - Classify: the share of rows of scores whose highest is of the same
	//     class. Where a sample has several rows, as pixels, words and boxes
	//     are, those that both outputs give to the class most frequent in y₀ do
	//     not count: it would be near 1 whatever a detector finds on mostly
	//     empty pictures.
	//   - Embed: the mean cosine between the vectors of y and y₀.
	//   - Regress: 1 − ‖y − y₀‖/‖y₀ − ȳ₀‖, Euclidean norms over all samples,
	//     where ȳ₀ is the mean of y₀ over the samples, or where there is one
	//     sample, or all are equal, over all numbers. It is negative where the
	//     difference is larger than what there is to explain.
	Agreement float64 `json:"agreement"`

	Cosine  float64 `json:"cosine"`   // ⟨y, y₀⟩/(‖y‖·‖y₀‖); 1 if both are 0, 0 if one is
	MaxDiff float64 `json:"max_diff"` // largest |y − y₀|

	// NonFinite counts pairs of numbers that differ and of which one is NaN or infinite. Where there
	// are any, Cosine, MaxDiff and the Agreement of plain numbers and vectors are NaN, and so they
	// are where nothing but pairs of NaN is compared, of which nothing can be said.
	NonFinite int `json:"non_finite,omitempty"`

	// Same of Rows rows agree under Classify, so that shares can be compared without rounding; 0 of
	// 0 under other tasks.
	Same int `json:"-"`
	Rows int `json:"-"`
}

// A comparison gathers an OutputResult batch by batch.
type comparison struct {
	name              string
	output            Output
	yy, yy0, y0y0, dd float64 // ‖y‖², ⟨y, y₀⟩, ‖y₀‖², ‖y − y₀‖²
	maxDiff           float64
	nonFinite         int
	pairs, nans       int // of numbers, and those of them that are both NaN

	rows, same, samples int
	both, reference     map[int]int // by class: rows that both and that y₀ give to it
	cosines             float64     // their sum
	spread              Spread
}

// add takes in a batch of outputs for n samples, and the outputs to compare them with. length is that
// of the sequences in it, where it differs between batches; else 0. Numbers vary over words then, if
// each has its own.
func (c *comparison) add(out, reference *engine.Value, n, length int) error {
	if !slices.Equal(out.Dims, reference.Dims) {
		return errShapes
	}
	y, y0 := out.Float64(), reference.Float64()
	c.pairs += len(y)
	for i, a := range y {
		b := y0[i]
		d := a - b
		switch {
		case a == b && math.IsInf(a, 0):
			continue // equal, and nothing to add up
		case math.IsNaN(a) && math.IsNaN(b):
			c.nans++
			continue
		case math.IsNaN(d) || math.IsInf(d, 0):
			c.nonFinite++
			continue
		}
		c.yy += a * a
		c.yy0 += a * b
		c.y0y0 += b * b
		c.dd += d * d
		c.maxDiff = max(c.maxDiff, math.Abs(d))
	}
	c.samples += n
	switch axis := c.output.Axis; {
	case c.output.Task == Regress || axis >= len(out.Dims):
		rows := n
		for axis, d := range out.Dims[:max(len(out.Dims)-1, 0)] {
			if axis > 0 && length > 0 && d == length && out.Dims[0] == n {
				rows = engine.Count(out.Dims[:axis+1])
			}
		}
		c.spread.Add(y0, rows)
	case c.output.Task == Classify:
		if c.both == nil {
			c.both, c.reference = map[int]int{}, map[int]int{}
		}
		eachRow(out.Dims, axis, c.addClasses, y, y0)
	default:
		eachRow(out.Dims, axis, c.addVectors, y, y0)
	}
	return nil
}

func (c *comparison) addClasses(rows [][]float64) {
	top := argMax(rows[1])
	c.reference[top]++
	c.rows++
	if top >= 0 && argMax(rows[0]) == top {
		c.both[top]++
		c.same++
	}
}

func (c *comparison) addVectors(rows [][]float64) {
	c.cosines += Cosine(rows[0], rows[1])
	c.rows++
}

// Cosine is that of the angle between two vectors: 1 if both are 0, 0 if one is, NaN if there is a
// NaN in one.
func Cosine(a, b []float64) float64 {
	aa, ab, bb := 0.0, 0.0, 0.0
	for i, x := range a {
		aa, ab, bb = aa+x*x, ab+x*b[i], bb+b[i]*b[i]
	}
	return cosine(aa, ab, bb)
}

func cosine(aa, ab, bb float64) float64 {
	switch {
	case aa == 0 && bb == 0:
		return 1
	case aa == 0 || bb == 0:
		return 0
	}
	return ab / math.Sqrt(aa) / math.Sqrt(bb)
}

func (c *comparison) result() OutputResult {
	o := OutputResult{Name: c.name, Task: c.output.Task, MaxDiff: c.maxDiff, NonFinite: c.nonFinite, Cosine: cosine(c.yy, c.yy0, c.y0y0)}
	unknown := c.nonFinite > 0 || c.nans > 0 && c.nans == c.pairs
	if unknown {
		o.Cosine, o.MaxDiff = math.NaN(), math.NaN()
	}
	switch {
	case c.both != nil:
		o.Same, o.Rows = c.contested()
		o.Agreement = 1
		if o.Rows > 0 {
			o.Agreement = float64(o.Same) / float64(o.Rows)
		}
	case unknown:
		o.Agreement = math.NaN()
	case c.rows > 0:
		o.Agreement = c.cosines / float64(c.rows)
	case c.dd == 0:
		o.Agreement = 1
	default:
		if s := c.spread.Squares(); s > 0 {
			o.Agreement = 1 - math.Sqrt(c.dd/s)
		}
	}
	return o
}

// contested counts the rows of scores that the agreement is about, and those that agree.
func (c *comparison) contested() (same, rows int) {
	if c.rows <= c.samples {
		return c.same, c.rows
	}
	common, most := 0, -1
	for class, n := range c.reference {
		if n > most || n == most && class < common {
			common, most = class, n
		}
	}
	return c.same - c.both[common], c.rows - c.both[common]
}

// A Spread sums up how far the numbers of samples lie from their mean, each from its own. Those
// that are NaN or infinite do not count.
type Spread struct {
	n, m      int
	shift     []float64 // the first sample: sums of what is far from 0 would lose what there is
	sum, sq   []float64 // of y − shift
	all, all2 float64   // Σy, Σy²
}

// mostSpread bounds the numbers of a sample that have means of their own.
const mostSpread = 1 << 22

// Add takes in the numbers of n samples, one sample after the other.
func (s *Spread) Add(y []float64, n int) {
	s.m += len(y)
	for _, v := range y {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			s.all += v
			s.all2 += v * v
		}
	}
	if n == 0 || len(y)%n != 0 || len(y)/n > mostSpread || s.shift != nil && len(s.shift) != len(y)/n {
		return
	}
	if k := len(y) / n; s.shift == nil {
		s.shift, s.sum, s.sq = slices.Clone(y[:k]), make([]float64, k), make([]float64, k)
	}
	s.n += n
	for i, v := range y {
		j := i % len(s.shift)
		if d := v - s.shift[j]; !math.IsNaN(d) && !math.IsInf(d, 0) {
			s.sum[j] += d
			s.sq[j] += d * d
		}
	}
}

// Squares is Σ(y − ȳ)², each number around its own mean over the samples; of one sample, or where
// all are equal, around the mean of all numbers, and where these are equal too, Σy².
func (s *Spread) Squares() float64 {
	total := 0.0
	for j, v := range s.sum {
		total += max(0, s.sq[j]-v*v/float64(s.n))
	}
	if total > 0 && !math.IsInf(total, 0) {
		return total
	}
	if d := s.all2 - s.all*s.all/float64(max(s.m, 1)); d > 0 {
		return d
	}
	return s.all2
}

// argMax is the index of the largest number, the first one of equals; NaN is never the largest. It
// is -1 if all are NaN.
func argMax(v []float64) int {
	best := -1
	for i, x := range v {
		if !math.IsNaN(x) && (best < 0 || x > v[best]) {
			best = i
		}
	}
	return best
}

// rankOf counts the classes that come before label: with a higher score, or the same score and a
// lower index. A label whose score is NaN comes last.
func rankOf(scores []float64, label int) int {
	s := scores[label]
	if math.IsNaN(s) {
		return len(scores)
	}
	rank := 0
	for i, x := range scores {
		if x > s || x == s && i < label {
			rank++
		}
	}
	return rank
}
