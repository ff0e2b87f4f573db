// Package diff tells what differs between two models: two models go in, what a tool has done to the
// one to make the other comes out.
//
//	r, err := diff.Models(ctx, before, after, diff.Options{})
//	fmt.Println(r.Verdict) // the same network, 12 of 20 layers narrower, all weights changed
//
// Nodes are paired by what tells most: the weights that they read, their names, their outputs, what
// they do to tensors that correspond, and at last their places in topological order. Whatever else
// is compared follows from that, so that a model whose tensors were renamed or whose nodes were
// reordered still pairs.
//
// Weights and widths are compared in the form in which the rest of Monge sees a model: quantised
// operators as ordinary ones (internal/qdq), integers as the real numbers that they stand for, and
// normalisations folded (internal/edit) where the other model has none. Nothing is executed.
package diff
