package ot

import "golang.org/x/sys/cpu"

// fastest returns the best kernels for this processor.
func fastest() kernels {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		return kernels{reduceVector, relaxVector, foldRowVector, dotsVector, 640}
	}
	return portable
}

func reduceVector(costs, v, w, mins []float64, quads int, scale float64) {
	k := len(costs)
	v, w = v[:k], w[:k]
	blocks := k / (quads * quad)
	at, block := blocks*quads*quad, mins
	if blocks > 0 {
		block = mins[blocks*lanes:]
		reduceAVX2(&costs[0], &v[0], &w[0], &mins[0], blocks, quads, scale)
	}
	if at == k {
		return
	}
	// The last block is short.
	least := (*[lanes]float64)(block)
	*least = noMinima
	if left := (k - at) / quad; left > 0 {
		reduceAVX2(&costs[at], &v[at], &w[at], &least[0], 1, left, scale)
		at += left * quad
	}
	reducePart(costs[at:], v[at:], w[at:], least, scale)
}

func relaxVector(costs, v, dist, from, closed, mins []float64, quads int, base, row, scale float64) {
	k := len(costs)
	v, dist, from, closed = v[:k], dist[:k], from[:k], closed[:k]
	blocks := k / (quads * quad)
	at, block := blocks*quads*quad, mins
	if blocks > 0 {
		block = mins[blocks*lanes:]
		relaxAVX2(&costs[0], &v[0], &dist[0], &from[0], &closed[0], &mins[0], blocks, quads, base, row, scale)
	}
	if at == k {
		return
	}
	// The last block is short.
	least := (*[lanes]float64)(block)
	*least = noMinima
	if left := (k - at) / quad; left > 0 {
		relaxAVX2(&costs[at], &v[at], &dist[at], &from[at], &closed[at], &least[0], 1, left, base, row, scale)
		at += left * quad
	}
	relaxPart(costs[at:], v[at:], dist[at:], from[at:], closed[at:], least, base, row, scale)
}

func foldRowVector(costs, low []float64) (high, zero float64) {
	whole := len(costs) / lanes * lanes
	high, zero = foldRowGo(costs[whole:], low[whole:])
	if whole > 0 {
		_ = low[whole-1]
		h, z := foldRowAVX2(&costs[0], &low[0], whole/lanes)
		high, zero = max(high, h), zero+z
	}
	return high, zero
}

func dotsVector(x, y, out []float64, d int) {
	if d < lanes || len(out) == 0 {
		dotsGo(x, y, out, d)
		return
	}
	_, _ = x[d-1], y[len(out)*d-1]
	dotsAVX2(&x[0], &y[0], &out[0], d, d/lanes, len(out))
	whole := d / lanes * lanes
	if whole == d {
		return
	}
	for r := range out {
		for f := whole; f < d; f++ {
			out[r] += x[f] * y[r*d+f]
		}
	}
}
