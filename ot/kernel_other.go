//go:build !amd64

package ot

// fastest returns the best kernels for this processor.
func fastest() kernels { return portable }
