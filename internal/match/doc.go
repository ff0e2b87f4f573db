// Package match finds out which channels belong together: one or two models go in, a transport plan
// for every space, and the maps made of it, come out.
//
//   - [Onto]: one plan for each space between two models ([Pair] finds what
//     corresponds), by weights or by activations. Singh & Jaggi, Model Fusion via
//     Optimal Transport, NeurIPS 2020.
//   - [Merge]: onto k of a space's own channels, chosen by facility location;
//     every channel moves to the nearest. Needs no data.
//
// Spaces that reach the model's inputs or outputs have no map.
package match
