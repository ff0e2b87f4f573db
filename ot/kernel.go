package ot

import "math"

// blockKernel writes to mins[b] the least of round(costs[j]·scale) − v[j] over
// the columns j of block b, blockSize at a time; the last block may be short.
// scale is a power of two and all rounded values are below 2⁵¹ in size.
type blockKernel func(costs, v, mins []float64, scale float64)

// blockMinsGo is the blockKernel in Go.
func blockMinsGo(costs, v, mins []float64, scale float64) {
	v = v[:len(costs)]
	for b := range mins {
		m := math.Inf(1)
		lo := b * blockSize
		hi := min(lo+blockSize, len(costs))
		for j := lo; j < hi; j++ {
			if w := ((costs[j]*scale + roundMagic) - roundMagic) - v[j]; w < m {
				m = w
			}
		}
		mins[b] = m
	}
}
