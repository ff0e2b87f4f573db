// Package lossless strips a model of what does not matter: channels that are constant, that repeat
// another one or that nobody reads, unused nodes and initializers, and subnormal weights, on which
// CPUs are slow. Published models hold a good deal of it.
//
//	small, report, err := lossless.Strip(ctx, model, lossless.Options{})
//
// The channels come from package coupling, the edit is one of package internal/edit; what is
// decided here is which channels may go, by abstract interpretation of the graph over constants
// (Cousot and Cousot 1977), one value per channel.
package lossless
