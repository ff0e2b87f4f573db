// Package compress makes a model narrower: by a share of its channels, to a
// budget of multiply-accumulates, parameters or bytes, to what a drop in accuracy
// allows, or into the shape of a given narrower model. What does not matter is
// removed first (package lossless); channels are chosen and merged (package
// align), and layers refitted where there are data (package refit). The input is
// never changed.
package compress
