// Package edit changes a model's channels: a model ([Subject]) and a [Map] for each space that
// changes go in, the edited model comes out.
//
// For a space (package coupling) with n source and k target channels a transport plan T (n×k,
// package ot) becomes two matrices:
//
//	In   = diag(1/Tᵀ1)·Tᵀ   k×n, makes target channels out of source channels
//	Out  = diag(1/T1)·T     n×k, recovers source channels (Scaling Sum), or
//	Out  = Inᵀ              (Scaling Mean), the columns of T̂ of Singh & Jaggi 2020
//
// In acts on the axes that produce or carry the channels, Out on those that consume them. [Edit]
// rewrites every weight axis that a mapped space runs along and every stored shape that follows its
// width, and leaves all else bit for bit as it was. [FoldBatchNorm] folds normalisations into
// linear operators.
package edit
