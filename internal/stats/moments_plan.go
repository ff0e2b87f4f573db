package stats

import (
	"slices"

	"github.com/monge-ml/monge/onnxio"
)

// Gram matrices of convolution inputs are sums of outer products x(p)·x(q)ᵀ of the input's channels
// at two places. A plan says which such sums onnxruntime computes, as products of gathered
// matrices, and how they make up the result.
//
// Everything here concerns one sample; "place" is a flattened spatial position of a tensor, and -1
// stands for padding.

// An operand is a matrix whose rows are positions and whose columns are (shift, channel): each row
// holds the channels at several places of x or y, side by side.
type operand struct {
	y      bool  // of the targets; otherwise of the input
	rows   int   // positions
	shifts int   // places per row
	places []int // [rows][shifts]
}

// product is a matrix product leftᵀ·right: [left.shifts·channels, right.shifts·channels] per group.
type product struct{ left, right *operand }

// A plan computes the second moments of a window's patches, and of patches with targets.
type plan struct {
	taps     int
	products []product
	// xx[i] lists, for tap pair i = t·taps + t' with t ≤ t', what has to be added up.
	xx [][]term
	// xy[t] is the same for tap t of x (right) with the target (left).
	xy []term
	// y is the operand of the target alone, one row per output position.
	y *operand
	// macs is the cost of xx per sample and pair of channels; of xy per sample, channel and target.
	macs, crossMACs int
}

// A term is the block (left shift, right shift) of a product, with a sign.
type term struct {
	product, left, right int
	sign                 float64
}

// direct is the plan that unfolds x: a row per output position with all its taps. positions
// restricts it to some output positions; nil means all.
func direct(dims []onnxio.WindowAxis, positions []int) *plan {
	out := grid(sizes(dims, outOf))
	taps := grid(sizes(dims, kernelOf))
	if positions == nil {
		positions = upTo(len(out))
	}
	x := &operand{rows: len(positions), shifts: len(taps)}
	y := &operand{y: true, rows: len(positions), shifts: 1, places: positions}
	for _, o := range positions {
		for _, t := range taps {
			p := 0
			for k, d := range dims {
				q := d.At(out[o][k], t[k])
				if q < 0 {
					p = -1
					break
				}
				p = p*d.In + q
			}
			x.places = append(x.places, p)
		}
	}
	n := len(taps)
	pl := &plan{
		taps: n, y: y, products: []product{{x, x}, {y, x}}, xx: make([][]term, n*n),
		macs: len(positions) * n * n, crossMACs: len(positions) * n,
	}
	for t := range n {
		for u := t; u < n; u++ {
			pl.xx[t*n+u] = []term{{0, t, u, 1}}
		}
		pl.xy = append(pl.xy, term{1, 0, t, 1})
	}
	return pl
}

// sliding is the plan for windows that slide by single steps along one or two axes, where the
// product of two taps depends, but for the borders, on their difference only. With x shifted by
// 0..kh-1 rows on the left, and by -(kw-1)..kw-1 columns on the right, one product of full size
// holds every difference: kh·(2kw-1) blocks in place of (kh·kw)². What a tap pair does not see,
// near the borders, is taken off by thin products over single rows, columns and corners. It returns
// nil for other windows.
func sliding(dims []onnxio.WindowAxis) *plan {
	switch {
	case len(dims) == 1:
		dims = []onnxio.WindowAxis{dims[0], {In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}}
	case len(dims) != 2:
		return nil
	}
	h, w := dims[0], dims[1]
	if h.Stride != 1 || w.Stride != 1 || h.Kernel*w.Kernel == 1 {
		return nil
	}
	rowShifts, columnShifts := make([]int, h.Kernel), make([]int, 2*w.Kernel-1)
	for a := range rowShifts {
		rowShifts[a] = -a * h.Dilation
	}
	for b := range columnShifts {
		columnShifts[b] = (b - w.Kernel + 1) * w.Dilation
	}
	// The position runs over the row of the second tap and the column of the first.
	rows := stripsOf(h, rowShifts, func(s, tap int) bool { return tap >= s })
	columns := stripsOf(w, columnShifts, func(s, tap int) bool {
		other := tap + s - w.Kernel + 1
		return other >= 0 && other < w.Kernel
	})
	pl := &plan{taps: h.Kernel * w.Kernel}
	index := map[[2]int]int{}
	for i, r := range rows.strips {
		for j, c := range columns.strips {
			index[[2]int{i, j}] = len(pl.products)
			left := shifted(r, c, func(row, column, k int) int {
				return spot(h.In, w.In, row+rowShifts[r.shifts[k]], column)
			}, len(r.shifts))
			right := shifted(r, c, func(row, column, k int) int {
				return spot(h.In, w.In, row, column+columnShifts[c.shifts[k]])
			}, len(c.shifts))
			pl.products = append(pl.products, product{left, right})
			pl.macs += left.rows * left.shifts * right.shifts
		}
	}
	n := pl.taps
	pl.xx = make([][]term, n*n)
	for t := range n {
		for u := t; u < n; u++ {
			a := u/w.Kernel - t/w.Kernel
			b := u%w.Kernel - t%w.Kernel + w.Kernel - 1
			for _, i := range rows.terms[a][u/w.Kernel] {
				for _, j := range columns.terms[b][t%w.Kernel] {
					pl.xx[t*n+u] = append(pl.xx[t*n+u], term{
						product: index[[2]int{i, j}],
						left:    slices.Index(rows.strips[i].shifts, a),
						right:   slices.Index(columns.strips[j].shifts, b),
						sign:    sign(i) * sign(j),
					})
				}
			}
		}
	}
	pl.cross(h, w)
	return pl
}

// cross adds the product with the target: y shifted by rows on the left, x by columns on the right.
// The position runs over the rows of x and the columns of y.
func (pl *plan) cross(h, w onnxio.WindowAxis) {
	all := strip{from: 0, to: h.In}
	across := strip{from: 0, to: w.Out}
	left := shifted(all, across, func(row, column, t int) int {
		return spot(h.Out, w.Out, row-h.Dilation*t+h.Before, column)
	}, h.Kernel)
	left.y = true
	right := shifted(all, across, func(row, column, t int) int {
		return spot(h.In, w.In, row, column+w.Dilation*t-w.Before)
	}, w.Kernel)
	for t := range pl.taps {
		pl.xy = append(pl.xy, term{len(pl.products), t / w.Kernel, t % w.Kernel, 1})
	}
	pl.products = append(pl.products, product{left, right})
	pl.crossMACs = left.rows * pl.taps
	pl.y = &operand{y: true, rows: h.Out * w.Out, shifts: 1, places: upTo(h.Out * w.Out)}
}

// sign is that of a strip in the sums: the first is the whole axis, the others are taken off.
func sign(strip int) float64 {
	if strip == 0 {
		return 1
	}
	return -1
}

// A strip is a range of positions along an axis, and the shifts for which it is needed.
type strip struct {
	from, to int
	shifts   []int
}

// strips says which parts of an axis each pair of taps leaves out.
type strips struct {
	strips []strip
	// terms[s][t] lists the strips for shift s and tap t: 0, the whole axis, and those to take off.
	terms [][][]int
}

// stripsOf finds the positions at which x(p)·x(p+shift) is not zero, but is not seen by tap t (for
// which p runs over t·dilation − pad and the following out positions).
func stripsOf(d onnxio.WindowAxis, shifts []int, valid func(s, tap int) bool) strips {
	r := strips{strips: []strip{{from: 0, to: d.In, shifts: upTo(len(shifts))}}, terms: make([][][]int, len(shifts))}
	for s, shift := range shifts {
		low, high := max(0, -shift), max(0, -shift, min(d.In, d.In-shift))
		r.terms[s] = make([][]int, d.Kernel)
		cuts := []int{low, high}
		seen := make([][2]int, d.Kernel)
		for t := range d.Kernel {
			if !valid(s, t) {
				continue
			}
			from := min(max(low, d.Dilation*t-d.Before), high)
			to := max(from, min(high, d.Dilation*t-d.Before+d.Out))
			seen[t] = [2]int{from, to}
			cuts = append(cuts, from, to)
		}
		slices.Sort(cuts)
		cuts = slices.Compact(cuts)
		for t := range d.Kernel {
			if !valid(s, t) {
				continue
			}
			r.terms[s][t] = []int{0}
			for i := 1; i < len(cuts); i++ {
				if cuts[i] <= seen[t][0] || cuts[i-1] >= seen[t][1] {
					r.terms[s][t] = append(r.terms[s][t], r.add(cuts[i-1], cuts[i], s))
				}
			}
		}
	}
	return r
}

// add returns the strip of a range, and notes that a shift needs it.
func (r *strips) add(from, to, shift int) int {
	i := slices.IndexFunc(r.strips[1:], func(s strip) bool { return s.from == from && s.to == to }) + 1
	if i == 0 {
		i = len(r.strips)
		r.strips = append(r.strips, strip{from: from, to: to})
	}
	if !slices.Contains(r.strips[i].shifts, shift) {
		r.strips[i].shifts = append(r.strips[i].shifts, shift)
	}
	return i
}

// shifted makes an operand whose rows are the positions of two strips.
func shifted(rows, columns strip, at func(row, column, shift int) int, shifts int) *operand {
	op := &operand{rows: (rows.to - rows.from) * (columns.to - columns.from), shifts: shifts}
	for r := rows.from; r < rows.to; r++ {
		for c := columns.from; c < columns.to; c++ {
			for s := range shifts {
				op.places = append(op.places, at(r, c, s))
			}
		}
	}
	return op
}

func spot(height, width, row, column int) int {
	if row < 0 || row >= height || column < 0 || column >= width {
		return -1
	}
	return row*width + column
}

// sizes collects one number per axis.
func sizes(dims []onnxio.WindowAxis, of func(onnxio.WindowAxis) int) []int {
	out := make([]int, len(dims))
	for i, d := range dims {
		out[i] = of(d)
	}
	return out
}

func outOf(d onnxio.WindowAxis) int    { return d.Out }
func inOf(d onnxio.WindowAxis) int     { return d.In }
func kernelOf(d onnxio.WindowAxis) int { return d.Kernel }

// grid lists all index tuples below some sizes, the last index fastest.
func grid(sizes []int) [][]int {
	out := [][]int{{}}
	for _, n := range sizes {
		var next [][]int
		for _, p := range out {
			for i := range n {
				next = append(next, append(slices.Clone(p), i))
			}
		}
		out = next
	}
	return out
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
