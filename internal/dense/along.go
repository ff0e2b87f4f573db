package dense

// An Along is a row-major tensor seen along one of its axes: Outer blocks of N positions with Inner
// numbers each.
type Along[T Float] struct {
	Outer, N, Inner int
	Data            []T
}

// AlongAxis returns a view of a tensor along an axis. data may be nil where only sizes and
// positions matter.
func AlongAxis[T Float](data []T, dims []int, axis int) Along[T] {
	a := Along[T]{1, dims[axis], 1, data}
	for _, d := range dims[:axis] {
		a.Outer *= d
	}
	for _, d := range dims[axis+1:] {
		a.Inner *= d
	}
	return a
}

// Resized returns a tensor of zeros that differs in having n positions.
func (a Along[T]) Resized(n int) Along[T] {
	return Along[T]{a.Outer, n, a.Inner, make([]T, a.Outer*n*a.Inner)}
}

// Block returns the numbers of a block, N×Inner.
func (a Along[T]) Block(outer int) []T {
	return a.Data[outer*a.N*a.Inner:][:a.N*a.Inner]
}

// Row returns the numbers at a position of a block.
func (a Along[T]) Row(outer, i int) []T {
	return a.Data[(outer*a.N+i)*a.Inner:][:a.Inner]
}

// Position is the place along the axis of the element at an index of Data.
func (a Along[T]) Position(at int) int { return at / a.Inner % a.N }

// Matrices returns the tensor as matrices with N rows, views of the same numbers: one for each
// block, or a single N×Outer one where Inner is 1.
func (a Along[T]) Matrices() []Matrix[T] {
	if a.Inner == 1 {
		return []Matrix[T]{New(a.Outer, a.N, a.Data).T()}
	}
	out := make([]Matrix[T], a.Outer)
	for o := range out {
		out[o] = New(a.N, a.Inner, a.Block(o))
	}
	return out
}
