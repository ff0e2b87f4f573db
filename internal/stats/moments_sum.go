package stats

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
)

const (
	// Chunks of samples are as large as fits about this many bytes of gathered operands, so that
	// these stay in the processor's caches, ...
	chunkBytes = 4 << 20
	// ... but not smaller than this many rows, for each run costs an addition to all sums, ...
	chunkRows = 1024
	// ... and not larger than this, for the sums of a run are float32.
	chunkMaxRows = 1 << 14
	// Of batches of which few rows are taken, as many wait for each other as make this many bytes.
	heldBytes = 64 << 20
	// Runs at a time may make sums of this many bytes.
	runBytes = 512 << 20
	// More products than this cost more than they save.
	maxProducts = 64
)

// A summation adds up the sums of one plan.
type summation struct {
	shape   *momentShape
	options MomentOptions
	plan    *plan
	session *engine.Session
	lender  *lender
	key     string  // of the session
	chunk   int     // samples per run
	share   float64 // of the rows that are taken
	seen    int     // rows that there were so far
	chosen  uint64  // subsets so far
	runs    ordered[map[string]*engine.Value]

	rows     int64       // taken
	products [][]float64 // as onnxruntime returns them, [groups, left, right]
	sumY, yy []float64   // [groups, O+1]
}

// newSummation chooses a plan. x is a batch of the input.
func newSummation(s *momentShape, o MomentOptions, batches int, x *engine.Value, from *lender) (*summation, error) {
	sum := &summation{shape: s, options: o, share: 1, lender: from}
	dims := s.dims
	if s.conv == nil {
		dims = nil // one place per row
	}
	sum.plan = direct(dims, nil)
	if slide := sliding(s.dims); slide != nil && len(slide.products) <= maxProducts && s.cost(slide) < s.cost(sum.plan) {
		sum.plan = slide
	}
	rows := float64(batches) * float64(s.rowsOf(x))
	if allowed := s.allowed(sum.plan, o, rows); allowed < rows {
		sum.share = allowed / rows
		sum.plan = direct(dims, nil)
	}
	sum.plan.simplify(s)
	sum.chunk = s.chunk(sum.plan, sum.share)
	runs := float64(batches)
	if s.samples {
		runs = max(1, rows/max(chunkRows/sum.share, float64(sum.chunk*s.perCut)))
	}
	threads := threadsOf(o.Threads)
	// Several runs of one thread each are faster than one run of several: the products are small.
	workers := max(1, min(threads, int(runs), runBytes/s.sumBytes(sum.plan)))
	sum.runs = ordered[map[string]*engine.Value]{limit: workers, take: sum.take}
	var err error
	sum.session, sum.key, err = from.take(buildMoments(s, sum.plan, sum.share < 1), threads/workers)
	return sum, err
}

// sumBytes is the size of the sums that a run returns.
func (s *momentShape) sumBytes(p *plan) int {
	n := 0
	for _, q := range p.products {
		n += 4 * s.groups * q.left.shifts * s.width(q.left) * q.right.shifts * s.width(q.right)
	}
	return n
}

// close ends the runs under way, and gives the session back.
func (sum *summation) close() {
	sum.runs.abandon()
	if sum.session != nil && sum.shape.sumBytes(sum.plan) <= lentBytes {
		sum.lender.give(sum.key, sum.session)
		return
	}
	sum.session.Close()
}

// cost is the number of multiply-adds per sample, or per row without a window.
func (s *momentShape) cost(p *plan) float64 {
	c, o := float64(s.c), float64(s.width(p.y))
	return float64(s.groups) * (float64(p.macs)*c*c + float64(p.crossMACs)*c*o)
}

// allowed is the number of rows within the bounds of the options.
func (s *momentShape) allowed(p *plan, o MomentOptions, rows float64) float64 {
	allowed := rows
	if o.MaxRows > 0 {
		allowed = min(allowed, float64(o.MaxRows))
	}
	perPlan := 1.0
	if s.conv != nil {
		perPlan = float64(s.positions())
	}
	all, unfolded := s.cost(p)*rows/perPlan, s.cost(direct(s.dims, nil))/perPlan
	if o.MaxMACs > 0 && all > o.MaxMACs {
		allowed = min(allowed, o.MaxMACs/unfolded)
	}
	if enough := float64(o.EnoughRows); enough > 0 && all > enough*unfolded {
		allowed = min(allowed, enough)
	}
	return max(1, allowed)
}

// simplify leaves out gathering where an operand is the tensor itself.
func (p *plan) simplify(s *momentShape) {
	all := func(op *operand, places int) bool {
		return s.conv == nil || op.shifts == 1 && slices.Equal(op.places, upTo(places))
	}
	for _, q := range p.products {
		for _, op := range []*operand{q.left, q.right} {
			places := s.places()
			if op.y {
				places = s.positions()
			}
			if all(op, places) {
				op.places = nil
			}
		}
	}
	if all(p.y, s.positions()) {
		p.y.places = nil
	}
}

// chunk is the number of samples per run, of whose rows a share is taken.
func (s *momentShape) chunk(p *plan, share float64) int {
	if !s.samples {
		return 1
	}
	seen := map[*operand]bool{}
	bytes := 0
	for _, q := range p.products {
		for _, op := range []*operand{q.left, q.right} {
			if !seen[op] {
				seen[op] = true
				bytes += 4 * op.rows * op.shifts * s.width(op) * s.groups
			}
		}
	}
	if s.conv == nil {
		bytes *= s.perCut
	}
	samples := func(each, of int) int { return int(float64(of) / (share * float64(max(1, each)))) }
	n := max(samples(bytes, chunkBytes), samples(s.perCut, chunkRows+s.perCut-1))
	return max(1, min(n, samples(s.perCut, chunkMaxRows)))
}

// run begins to add the sums of some samples.
func (sum *summation) run(ctx context.Context, values []*engine.Value) error {
	s := sum.shape
	n, positions := values[0].Dims[0], s.positions()
	if s.conv == nil {
		n, positions = 1, values[0].Len()/s.c
	}
	in, all := map[string]*engine.Value{}, positions
	if sum.share < 1 {
		places, samples := sum.choose(n, positions)
		if samples == 0 {
			return nil
		}
		if samples < n {
			n = samples
			for i, v := range values {
				values[i] = engine.Rows(v, 0, samples)
			}
		}
		positions = len(places)
		sum.index(in, places)
	}
	in[momentX] = values[0]
	for i, v := range values[1:] {
		in[momentY(i)] = v
	}
	if len(s.o) == 0 {
		ones := make([]float32, n*all*s.groups)
		for i := range ones {
			ones[i] = 1
		}
		dims := []int{n, all, s.groups}
		if s.groups > 1 {
			slices.Reverse(dims)
		}
		in[momentOnes] = engine.Float32(ones, dims...)
	}
	sum.rows += int64(n) * int64(positions)
	return sum.runs.start(func() (map[string]*engine.Value, error) { return sum.session.Run(ctx, in) })
}

// take adds what a run returned.
func (sum *summation) take(out map[string]*engine.Value) error {
	if sum.products == nil {
		sum.products = make([][]float64, len(sum.plan.products))
	}
	for i := range sum.products {
		addTo(&sum.products[i], out[momentProduct(i)])
	}
	addTo(&sum.sumY, out[momentSumY])
	addTo(&sum.yy, out[momentYY])
	return nil
}

// choose picks positions, the same for all samples of a run, and how many of the samples enter, so
// that over all runs the wanted share of rows is taken.
func (sum *summation) choose(n, positions int) (places []int, samples int) {
	sum.seen += n * positions
	want := int(math.Round(sum.share*float64(sum.seen))) - int(sum.rows)
	if want <= 0 {
		return nil, 0
	}
	k := max(1, min(positions, (want+n/2)/n))
	rng := rand.New(rand.NewPCG(uint64(sum.options.Seed), sum.chosen))
	sum.chosen++
	places = dataset.FirstShuffled(positions, k, rng.Int64())
	slices.Sort(places)
	return places, min(n, max(1, want/k))
}

// index feeds the places of the chosen positions.
func (sum *summation) index(in map[string]*engine.Value, places []int) {
	s := sum.shape
	dims := s.dims
	if s.conv == nil {
		index := make([]int64, len(places))
		for i, p := range places {
			index[i] = int64(p)
		}
		in[momentXIndex] = engine.Int64(index, len(places), 1)
		in[momentYIndex] = engine.Int64(index, len(places), 1)
		return
	}
	p := direct(dims, places)
	for name, op := range map[string]*operand{momentXIndex: p.products[0].left, momentYIndex: p.y} {
		index, shape := s.index(op)
		in[name] = engine.Int64(index, shape...)
	}
}

// addTo adds a value to a sum of float64.
func addTo(sum *[]float64, v *engine.Value) {
	if v == nil {
		return
	}
	if *sum == nil {
		*sum = make([]float64, len(v.F32))
	}
	for i, x := range v.F32 {
		(*sum)[i] += float64(x)
	}
}

// moments makes the result from the sums.
func (sum *summation) moments() []*Moments {
	s, p := sum.shape, sum.plan
	out := make([]*Moments, s.groups)
	o := s.width(p.y) - 1
	for g := range out {
		m := &Moments{Rows: sum.rows, D: s.c * p.taps, O: o}
		m.SumX = make([]float64, m.D)
		m.XX = make([]float64, m.D*m.D)
		m.XY = make([]float64, m.D*o)
		if sum.products != nil {
			sum.fillXX(m, g)
			sum.fillXY(m, g)
			sum.fillY(m, g)
		}
		out[g] = m
	}
	return out
}

// block returns one block of a product: its first element and row length in the sum.
func (sum *summation) block(t term, g int) (data []float64, stride int) {
	q := sum.plan.products[t.product]
	l, r := sum.shape.width(q.left), sum.shape.width(q.right)
	stride = q.right.shifts * r
	data = sum.products[t.product][g*q.left.shifts*l*stride:]
	return data[t.left*l*stride+t.right*r:], stride
}

func (sum *summation) fillXX(m *Moments, g int) {
	c, n := sum.shape.c, sum.plan.taps
	for t := range n {
		for u := t; u < n; u++ {
			for _, part := range sum.plan.xx[t*n+u] {
				sum.addBlock(m, g, t, u, part)
			}
			for i := range c {
				for j := range c {
					if t < u || i < j {
						m.XX[(j*n+u)*m.D+i*n+t] = m.XX[(i*n+t)*m.D+j*n+u]
					}
				}
			}
		}
	}
}

// addBlock adds a block of a product to the block of two taps, of which it leaves out what lies
// below the diagonal of XX.
func (sum *summation) addBlock(m *Moments, g, t, u int, part term) {
	c, n := sum.shape.c, sum.plan.taps
	data, stride := sum.block(part, g)
	for i := range c {
		first := 0
		if t == u {
			first = i
		}
		row := m.XX[(i*n+t)*m.D:]
		for j := first; j < c; j++ {
			row[j*n+u] += part.sign * data[i*stride+j]
		}
	}
}

func (sum *summation) fillXY(m *Moments, g int) {
	c, n := sum.shape.c, sum.plan.taps
	for t, part := range sum.plan.xy {
		data, stride := sum.block(part, g)
		for i := range c {
			d := i*n + t
			for k := range m.O {
				m.XY[d*m.O+k] = data[k*stride+i]
			}
			m.SumX[d] = data[m.O*stride+i]
		}
	}
}

// fillY leaves out the column of ones.
func (sum *summation) fillY(m *Moments, g int) {
	if m.O == 0 {
		return
	}
	at := g * (m.O + 1)
	m.SumY, m.YY = slices.Clone(sum.sumY[at:at+m.O]), slices.Clone(sum.yy[at:at+m.O])
}
