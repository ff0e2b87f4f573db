package ot

import "math"

//go:generate go -C asm run . -out ../kernel_amd64.s -stubs ../kernel_stubs_amd64.go -pkg ot

// kernels are the loops that read costs or points from end to end. They exist in
// Go and, for amd64, in assembly.
type kernels struct {
	// blockMins writes to mins[b] the least of round(costs[j]·scale) − v[j] over
	// the columns j of block b, blockSize at a time; the last block may be short.
	// scale is a power of two and all rounded values are at most 2⁵¹ in size.
	// Results are the same to the last bit on every machine.
	blockMins func(costs, v, mins []float64, scale float64)
	// foldRow lowers low[j] to costs[j] where that is less, and returns the largest
	// of the costs and, if all are finite, zero, else NaN.
	foldRow func(costs, low []float64) (high, zero float64)
	// dots writes to out[r] the product of x with row r of y, each of d numbers. How it rounds
	// depends on the machine, but not on what else is calculated in the same call.
	dots func(x, y, out []float64, d int)
}

// portable are the kernels in Go.
var portable = kernels{blockMinsGo, foldRowGo, dotsGo}

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

func dotsGo(x, y, out []float64, d int) {
	x = x[:d]
	for r := range out {
		row := y[r*d : (r+1)*d]
		var s0, s1, s2, s3 float64
		f := 0
		for ; f+4 <= d; f += 4 {
			a, b := (*[4]float64)(x[f:]), (*[4]float64)(row[f:])
			s0 += a[0] * b[0]
			s1 += a[1] * b[1]
			s2 += a[2] * b[2]
			s3 += a[3] * b[3]
		}
		for ; f < d; f++ {
			s0 += x[f] * row[f]
		}
		out[r] = (s0 + s1) + (s2 + s3)
	}
}
