package ot

import "math"

//go:generate go -C asm run . -out ../kernel_amd64.s -stubs ../kernel_stubs_amd64.go -pkg ot

// kernels are the loops that read costs or points from end to end. They exist in Go and, for amd64,
// in assembly.
type kernels struct {
	// reduce writes to w[j] the reduced cost round(costs[j]·scale) − v[j] of every column j. Of
	// each block of quads·16 columns, the last of which may be short, it writes four minima to
	// mins: those of the columns j of equal j mod 4, infinite where there is none. scale is a power
	// of two and all rounded values are at most 2⁵¹ in size. Results are the same to the last bit
	// on every machine.
	reduce func(costs, v, w, mins []float64, quads int, scale float64)
	// relax lowers dist[j] to base + round(costs[j]·scale) − v[j] where that is less, and sets
	// from[j] to row there. It writes minima of dist[j] + closed[j] to mins, as reduce does of
	// reduced costs. Results are the same on every machine.
	relax func(costs, v, dist, from, closed, mins []float64, quads int, base, row, scale float64)
	// foldRow lowers low[j] to costs[j] where that is less, and returns the largest of the costs
	// and, if all are finite, zero, else NaN.
	foldRow func(costs, low []float64) (high, zero float64)
	// dots writes to out[r] the product of x with row r of y, each of d numbers. How it rounds
	// depends on the machine, but not on what else is calculated in the same call.
	dots func(x, y, out []float64, d int)
	// dense is the number of columns up to which rows are read from end to end instead of listed.
	dense int
}

// portable are the kernels in Go.
var portable = kernels{reduceGo, relaxGo, foldRowGo, dotsGo, 112}

func reduceGo(costs, v, w, mins []float64, quads int, scale float64) {
	size := quads * quad
	for len(costs) > 0 {
		n := min(size, len(costs))
		least := (*[lanes]float64)(mins)
		*least = noMinima
		reducePart(costs[:n], v[:n], w[:n], least, scale)
		costs, v, w, mins = costs[n:], v[n:], w[n:], mins[lanes:]
	}
}

// noMinima are the minima of no columns.
var noMinima = [lanes]float64{math.Inf(1), math.Inf(1), math.Inf(1), math.Inf(1)}

// reducePart is reduceGo within a block, whose minima it lowers.
func reducePart(costs, v, w []float64, least *[lanes]float64, scale float64) {
	// Four minima at a time also keep the additions of one from waiting for another.
	m0, m1, m2, m3 := least[0], least[1], least[2], least[3]
	for len(costs) >= lanes && len(v) >= lanes && len(w) >= lanes {
		c4, v4, w4 := (*[lanes]float64)(costs), (*[lanes]float64)(v), (*[lanes]float64)(w)
		costs, v, w = costs[lanes:], v[lanes:], w[lanes:]
		x := ((c4[0]*scale + roundMagic) - roundMagic) - v4[0]
		if w4[0] = x; x < m0 {
			m0 = x
		}
		x = ((c4[1]*scale + roundMagic) - roundMagic) - v4[1]
		if w4[1] = x; x < m1 {
			m1 = x
		}
		x = ((c4[2]*scale + roundMagic) - roundMagic) - v4[2]
		if w4[2] = x; x < m2 {
			m2 = x
		}
		x = ((c4[3]*scale + roundMagic) - roundMagic) - v4[3]
		if w4[3] = x; x < m3 {
			m3 = x
		}
	}
	*least = [lanes]float64{m0, m1, m2, m3}
	for j, c := range costs {
		x := ((c*scale + roundMagic) - roundMagic) - v[j]
		if w[j] = x; x < least[j] {
			least[j] = x
		}
	}
}

func relaxGo(costs, v, dist, from, closed, mins []float64, quads int, base, row, scale float64) {
	size := quads * quad
	for len(costs) > 0 {
		n := min(size, len(costs))
		least := (*[lanes]float64)(mins)
		*least = noMinima
		relaxPart(costs[:n], v[:n], dist[:n], from[:n], closed[:n], least, base, row, scale)
		costs, v, dist, from, closed, mins = costs[n:], v[n:], dist[n:], from[n:], closed[n:], mins[lanes:]
	}
}

// relaxPart is relaxGo within a block, whose minima it lowers.
func relaxPart(costs, v, dist, from, closed []float64, least *[lanes]float64, base, row, scale float64) {
	v, dist, from, closed = v[:len(costs)], dist[:len(costs)], from[:len(costs)], closed[:len(costs)]
	for j, c := range costs {
		d := base + (((c*scale + roundMagic) - roundMagic) - v[j])
		if d < dist[j] {
			dist[j], from[j] = d, row
		} else {
			d = dist[j]
		}
		if d += closed[j]; d < least[j%lanes] {
			least[j%lanes] = d
		}
	}
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
