// Package align moves the channels of a model onto other channels by optimal
// transport: onto those of another model of the same architecture, or onto
// fewer of its own.
//
// # From a plan to a model
//
// For a space (package coupling) with n source and k target channels, a cost
// between channels and two mass vectors give a transport plan T (n×k, package
// ot). It becomes a [Map] with two matrices:
//
//	In   = diag(1/Tᵀ1)·Tᵀ   k×n, makes target channels out of source channels
//	Out  = diag(1/T1)·T     n×k, recovers source channels (Scaling Sum), or
//	Out  = Inᵀ              (Scaling Mean), the columns of T̂ of the reference
//
// In acts on the axes that produce or carry the channels, Out on those that
// consume them. [Edit] carries maps out: it rewrites every weight axis that a
// mapped space runs along and every stored shape that follows its width, and
// leaves all else bit for bit as it was.
//
// # Ways to a map
//
//   - [Onto]: one plan per space between two models ([Pair] finds what
//     corresponds), by weights or by activations. Singh & Jaggi, Model Fusion via
//     Optimal Transport, NeurIPS 2020.
//   - [Merge]: onto k of a space's own channels, chosen by facility location;
//     every channel moves to the nearest. Needs no data.
//   - [Select]: onto the k channels that explain most of what the consumers
//     compute on calibration data; consumers read the others through their
//     least-squares reconstruction. A linear space is projected onto the
//     [Evidence.Subspace] from which its consumers lose least.
//   - [Union]: the channels of several models compete for the places of one.
//
// Spaces that reach the model's inputs or outputs have no map: those are never
// permuted.
package align
