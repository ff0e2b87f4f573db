package ot

import "golang.org/x/sys/cpu"

// fastest returns the best kernels for this processor.
func fastest() kernels {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		return kernels{blockMinsVector, foldRowVector, dotsVector}
	}
	return portable
}

func blockMinsVector(costs, v, mins []float64, scale float64) {
	blocks := len(costs) / blockSize
	if blocks > 0 {
		_, _ = v[blocks*blockSize-1], mins[blocks-1]
		blockMinsAVX2(&costs[0], &v[0], &mins[0], blocks, scale)
	}
	blockMinsGo(costs[blocks*blockSize:], v[blocks*blockSize:], mins[blocks:], scale)
}

func foldRowVector(costs, low []float64) (high, zero float64) {
	const lanes = 4
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
	const lanes = 4
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
