// Package compress makes a model narrower: by a share of its channels, to a budget of
// multiply-accumulates, parameters or bytes, to what a drop in accuracy allows, or into the shape
// of a given narrower model. What does not matter is removed first (package lossless). The input is
// never changed.
//
// Without data channels are merged by optimal transport (internal/match). With data, labels not
// needed, a model goes through these steps:
//
//  1. Of every space those channels stay that explain most of what their
//     consumers compute (choose.Select). Under a budget widths are allocated by how
//     far the model's predictions move when a space is narrowed alone.
//  2. Linear operators are fitted in closed form to what the wide model computes
//     (package refit).
//  3. The result is distilled for some epochs, if that is not too much work
//     (package tune).
package compress
