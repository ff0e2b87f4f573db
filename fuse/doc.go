// Package fuse makes one model out of several of the same architecture, of
// equal or different widths.
//
// One of the models lends the result its widths and the order of its channels
// (Options.Onto). Every other model's channels are moved onto that model's by
// optimal transport (package align), and the weights are then averaged. The
// inputs are never changed.
package fuse
