// Package ot solves optimal transport problems on plain matrices.
//
// A mass a[i] lies on each of n sources, a mass b[j] is wanted at each of k targets, and moving one
// unit of mass from i to j costs C[i,j]. Transport asks for the plan T ≥ 0 with row sums a and
// column sums b whose total cost Σ T[i,j]·C[i,j] is least (Monge 1781; Kantorovich 1942).
//
//	EMD         exact, for any masses and any shape
//	Assignment  exact, square and uniform: the plan is a permutation
//	PartialEMD  exact, where mass may also be dropped at a price
//	Sinkhorn    entropic, log domain with ε-scaling
//	FreeSupport the barycentre of several point clouds
//
// Costs come as a matrix (Cost, Cost32) or as two point sets of which no matrix is ever made
// (Points); anything else with the three methods of Costs will do as well.
//
// # How exact is exact
//
// The exact solvers count in integers. Costs are rounded to a grid of 2⁻⁵¹ of the largest cost,
// which a float64 holds and adds without error; where that is far above what the plan uses, as
// costs that are to forbid an arc are (+Inf does it best), the problem is solved again on a finer
// grid without them. Masses are multiples of 2⁻⁶⁰ of the total. Every comparison is therefore
// exact, ties cannot make a solver wander, equal inputs give equal plans, and the potentials
// returned with a plan prove it optimal: see Result.Certify.
//
// # Ties
//
// Where several plans are optimal the result is still determined by the inputs and the kernels in
// use (see Solver.Portable), not by threads or chance. Mass stays on the diagonal (i to i) as far
// as that is cheapest for both, so a cost matrix with a zero diagonal, such as the distances of a
// point set to itself, gives the identity even if some points coincide.
package ot
