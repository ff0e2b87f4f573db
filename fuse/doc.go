// Package fuse makes one model out of several of the same architecture, of equal or different
// widths.
//
// One of the models lends the result its widths and the order of its channels (Options.Onto). Every
// other model's channels are moved onto that model's by optimal transport (internal/match), and the
// weights are then averaged. Or the models' channels are put side by side, and those that explain
// most of what all models compute share the result's places (union), perhaps beside all channels of
// one model. The inputs are never changed.
//
// With data the result is then refitted to the models layer by layer (package refit), and trained
// to predict what they predict on average (package tune). Which of all ways is taken is measured on
// inputs that are held out.
package fuse
