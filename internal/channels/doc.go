// Package channels says what the channels of a space are like: a space goes in,
// what weights and activations show of each of its channels comes out.
//
// [Readings] lays the weights that make the channels out as one vector for each
// channel; [Taps] and [ViewIn] find the activations in which channels are seen.
package channels
