// Package compress makes a model narrower: by a share of its channels, to a
// budget of multiply-accumulates or parameters, or into the shape of a given
// narrower model. Channels are merged by optimal transport (package align).
// The input is never changed.
package compress
