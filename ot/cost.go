package ot

import (
	"fmt"
	"math"
)

// Costs is an n×k cost matrix as the solvers see it. Implementations must return the same number
// for the same (i, j) however it is asked for, and Row must be safe for concurrent use with
// different dst.
type Costs interface {
	// Dims returns the number of sources n and of targets k.
	Dims() (n, k int)
	// At returns the cost of moving one unit of mass from source i to target j.
	At(i, j int) float64
	// Row returns the k costs of source i. It may fill and return dst, which has length k, or
	// return a slice of its own, which is only read.
	Row(i int, dst []float64) []float64
}

// Cost is an n×k cost matrix in row-major order: C[i,j] = Data[i*K+j].
type Cost struct {
	N, K int
	Data []float64
}

// NewCost returns an n×k matrix over data, or over zeros if data is nil. It panics if data has the
// wrong length.
func NewCost(n, k int, data []float64) *Cost {
	if data == nil {
		data = make([]float64, n*k)
	}
	if n < 0 || k < 0 || len(data) != n*k {
		panic(fmt.Sprintf("ot: %d numbers for a %d×%d cost matrix", len(data), n, k))
	}
	return &Cost{N: n, K: k, Data: data}
}

// Dims returns n and k.
func (c *Cost) Dims() (n, k int) { return c.N, c.K }

// At returns C[i,j].
func (c *Cost) At(i, j int) float64 { return c.Data[i*c.K+j] }

// Set stores x at C[i,j].
func (c *Cost) Set(i, j int, x float64) { c.Data[i*c.K+j] = x }

// Row returns row i without copying.
func (c *Cost) Row(i int, _ []float64) []float64 { return c.Data[i*c.K : (i+1)*c.K : (i+1)*c.K] }

// Cost32 is an n×k cost matrix in row-major order, half the size of a Cost. The solvers work on it
// in float64, so nothing but the storage is single precision.
type Cost32 struct {
	N, K int
	Data []float32
}

// Dims returns n and k.
func (c *Cost32) Dims() (n, k int) { return c.N, c.K }

// At returns C[i,j].
func (c *Cost32) At(i, j int) float64 { return float64(c.Data[i*c.K+j]) }

// Row widens row i into dst.
func (c *Cost32) Row(i int, dst []float64) []float64 {
	for j, x := range c.Data[i*c.K : (i+1)*c.K] {
		dst[j] = float64(x)
	}
	return dst
}

// checkDims reports a matrix that is empty or whose storage contradicts its size.
func checkDims(c Costs) (n, k int, err error) {
	n, k = c.Dims()
	if n <= 0 || k <= 0 {
		return 0, 0, fmt.Errorf("ot: empty %d×%d cost matrix", n, k)
	}
	stored := n * k
	switch c := c.(type) {
	case *Cost:
		stored = len(c.Data)
	case *Cost32:
		stored = len(c.Data)
	}
	if stored != n*k || stored/n != k {
		return 0, 0, fmt.Errorf("ot: %d numbers for a %d×%d cost matrix", stored, n, k)
	}
	return n, k, nil
}

// maxCost bounds the costs so that sums of four of them are still finite.
const maxCost = math.MaxFloat64 / 8
