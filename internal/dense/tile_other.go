//go:build !amd64

package dense

// tile returns the best kernel for this processor.
func tile() tileFunc { return tileGo }
