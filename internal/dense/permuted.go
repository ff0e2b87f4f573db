package dense

// Permuted returns the elements of a row-major tensor in the order that they have when the given
// axes, among which are all that are longer than one, follow each other.
func Permuted[T Float](x []T, dims, axes []int) []T {
	strides := make([]int, len(dims))
	for k, s := len(dims)-1, 1; k >= 0; k-- {
		strides[k] = s
		s *= dims[k]
	}
	out := make([]T, 0, len(x))
	at := make([]int, len(axes))
	for range x {
		from := 0
		for i, k := range axes {
			from += at[i] * strides[k]
		}
		out = append(out, x[from])
		for i := len(axes) - 1; i >= 0; i-- {
			if at[i]++; at[i] < dims[axes[i]] {
				break
			}
			at[i] = 0
		}
	}
	return out
}
