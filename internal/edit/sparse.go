package edit

import (
	"slices"

	"github.com/monge-ml/monge/internal/dense"
)

// Rows is a sparse matrix by rows: row r of the product with a matrix X is
// Σ Val·X[Col] over its entries.
type Rows [][]Entry

// An Entry is one coefficient of a sparse row.
type Entry struct {
	Col int
	Val float64
}

// identity returns the n×n identity.
func identity(n int) Rows {
	flat := make([]Entry, n)
	rows := make(Rows, n)
	for i := range rows {
		flat[i] = Entry{i, 1}
		rows[i] = flat[i : i+1 : i+1]
	}
	return rows
}

// isIdentity reports whether the matrix is the n×n identity.
func (r Rows) isIdentity(n int) bool {
	if len(r) != n {
		return false
	}
	for i, row := range r {
		if len(row) != 1 || row[0].Col != i || row[0].Val != 1 {
			return false
		}
	}
	return true
}

// entries is the number of coefficients.
func (r Rows) entries() int {
	n := 0
	for _, row := range r {
		n += len(row)
	}
	return n
}

// dense is the matrix with n columns, all coefficients written out.
func (r Rows) dense(n int) dense.Matrix[float64] {
	m := dense.New[float64](len(r), n, nil)
	for i, row := range r {
		for _, e := range row {
			m.Data[i*n+e.Col] += e.Val
		}
	}
	return m
}

// product multiplies k×n r with the middle axis of an outer×n×inner tensor, into
// out, outer×k×inner.
func product[T float32 | float64](out, data []T, r dense.Matrix[float64], outer, inner int) {
	k, n := r.Rows, r.Cols
	if inner == 1 {
		const block = 512 // rows whose products are held in double precision
		sums := make([]float64, min(block, outer)*k)
		for o := 0; o < outer; o += block {
			rows := min(block, outer-o)
			c := dense.New(rows, k, sums)
			clear(sums[:rows*k])
			dense.AddMul(c, 1, dense.New(rows, n, data[o*n:]), r.T())
			for i, v := range sums[:rows*k] {
				out[o*k+i] = T(v)
			}
		}
		return
	}
	c := dense.New[float64](k, inner, nil)
	for o := range outer {
		clear(c.Data)
		dense.AddMul(c, 1, r, dense.New(n, inner, data[o*n*inner:][:n*inner]))
		for i, v := range c.Data {
			out[o*k*inner+i] = T(v)
		}
	}
}

// picks reports whether every row is one of the columns.
func (r Rows) picks() bool {
	return len(r) > 0 && !slices.ContainsFunc(r, func(row []Entry) bool { return len(row) != 1 || row[0].Val != 1 })
}

// Apply multiplies along one axis of a row-major tensor. rows gives the matrix
// for each position along axis by (all of one height); by < 0 means that there
// is one matrix for all positions, rows(0). Numbers that are no more than put
// elsewhere stay what they are; sums of float32 are rounded at every term.
func Apply[T float32 | float64](data []T, dims []int, axis, by int, rows func(at int) Rows) ([]T, []int) {
	outer, inner := 1, 1
	for _, d := range dims[:axis] {
		outer *= d
	}
	for _, d := range dims[axis+1:] {
		inner *= d
	}
	n, k := dims[axis], len(rows(0))
	out := make([]T, outer*k*inner)
	if by < 0 && rows(0).entries()*2 > k*n && k*n > 64 {
		product(out, data, rows(0).dense(n), outer, inner)
		newDims := slices.Clone(dims)
		newDims[axis] = k
		return out, newDims
	}
	// strides of the axis that selects the matrix
	between := 1
	if by >= 0 {
		lo, hi := axis, by
		if by < axis {
			lo, hi = by, axis
		}
		if by > axis {
			for _, d := range dims[hi+1:] {
				between *= d
			}
		} else {
			for _, d := range dims[lo+1 : hi] {
				between *= d
			}
		}
	}
	sums := make([]float64, inner)
	for o := 0; o < outer; o++ {
		if by > axis {
			for i := 0; i < inner; i++ {
				for r, row := range rows((i / between) % dims[by]) {
					s := 0.0
					for _, e := range row {
						s += e.Val * float64(data[(o*n+e.Col)*inner+i])
					}
					out[(o*k+r)*inner+i] = T(s)
				}
			}
			continue
		}
		at := 0
		if by >= 0 {
			at = (o / between) % dims[by]
		}
		for r, row := range rows(at) {
			dst := out[(o*k+r)*inner:][:inner]
			switch {
			case len(row) == 1 && row[0].Val == 1 && inner == 1:
				dst[0] = data[o*n+row[0].Col]
			case len(row) == 1 && row[0].Val == 1:
				copy(dst, data[(o*n+row[0].Col)*inner:][:inner])
			case inner == 1:
				s := 0.0
				for _, e := range row {
					s += e.Val * float64(data[o*n+e.Col])
				}
				dst[0] = T(s)
			default:
				clear(sums)
				for _, e := range row {
					for i, x := range data[(o*n+e.Col)*inner:][:inner] {
						sums[i] += e.Val * float64(x)
					}
				}
				for i, v := range sums {
					dst[i] = T(v)
				}
			}
		}
	}
	newDims := append([]int(nil), dims...)
	newDims[axis] = k
	return out, newDims
}
