package ot

import "math"

//go:generate go -C asm run . -out ../kernel_amd64.s -stubs ../kernel_stubs_amd64.go -pkg ot

// kernels are the two loops that read cost rows from end to end. Both exist in
// Go and, for amd64, in assembly; results are the same to the last bit.
type kernels struct {
	// blockMins writes to mins[b] the least of round(costs[j]·scale) − v[j] over
	// the columns j of block b, blockSize at a time; the last block may be short.
	// scale is a power of two and all rounded values are at most 2⁵¹ in size.
	blockMins func(costs, v, mins []float64, scale float64)
	// foldRow lowers low[j] to costs[j] where that is less, and returns the largest
	// of the costs and, if all are finite, zero, else NaN.
	foldRow func(costs, low []float64) (high, zero float64)
}

// portable are the kernels in Go.
var portable = kernels{blockMinsGo, foldRowGo}

func blockMinsGo(costs, v, mins []float64, scale float64) {
	blocks := len(costs) / blockSize
	for b := range blocks {
		c := (*[blockSize]float64)(costs[b*blockSize:])
		v := (*[blockSize]float64)(v[b*blockSize:])
		// Four minima at a time keep the additions of one from waiting for another.
		m0, m1, m2, m3 := math.Inf(1), math.Inf(1), math.Inf(1), math.Inf(1)
		for j := 0; j < blockSize; j += 4 {
			if w := ((c[j]*scale + roundMagic) - roundMagic) - v[j]; w < m0 {
				m0 = w
			}
			if w := ((c[j+1]*scale + roundMagic) - roundMagic) - v[j+1]; w < m1 {
				m1 = w
			}
			if w := ((c[j+2]*scale + roundMagic) - roundMagic) - v[j+2]; w < m2 {
				m2 = w
			}
			if w := ((c[j+3]*scale + roundMagic) - roundMagic) - v[j+3]; w < m3 {
				m3 = w
			}
		}
		mins[b] = min(m0, m1, m2, m3)
	}
	if blocks == len(mins) {
		return
	}
	m := math.Inf(1)
	for j := blocks * blockSize; j < len(costs); j++ {
		m = min(m, ((costs[j]*scale+roundMagic)-roundMagic)-v[j])
	}
	mins[blocks] = m
}

func foldRowGo(costs, low []float64) (high, zero float64) {
	high = math.Inf(-1)
	low = low[:len(costs)]
	for j, c := range costs {
		if c < low[j] {
			low[j] = c
		}
	}
	var z0, z1 float64
	h0, h1 := high, high
	for len(costs) >= 2 {
		c0, c1 := costs[0], costs[1]
		costs = costs[2:]
		z0 += c0 * 0
		z1 += c1 * 0
		if c0 > h0 {
			h0 = c0
		}
		if c1 > h1 {
			h1 = c1
		}
	}
	for _, c := range costs {
		z0 += c * 0
		if c > h0 {
			h0 = c
		}
	}
	return max(h0, h1), z0 + z1
}
