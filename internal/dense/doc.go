// Package dense multiplies and factorises dense matrices where most of the time goes: products of
// weights, of activations and of Gram matrices, and the Cholesky factorisation of the latter. Gonum
// does the same with kernels for SSE2; on processors with AVX2 and FMA this is about six times as
// fast, and operands may be float32, which saves converting them beforehand.
//
// Every element of a product is summed in an order that depends on the sizes alone, neither on the
// number of threads nor on what else is calculated, so equal rows give equal products, and a·aᵀ is
// symmetric to the last bit.
package dense
