// Package channels says what the channels of a space are like: a space goes in, what weights and
// activations show of each of its channels comes out.
//
// [Features] are what weights say about channels, one vector for each: [Made] reads the weights
// that make the channels. A [Tap] is an activation in which channels are seen; [Taps] finds those
// before the nonlinearity. [Multiple] is what the number of channels should be a multiple of.
package channels
