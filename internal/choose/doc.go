// Package choose finds out which channels data say a model can do without: a model, data and widths
// go in, the channels that stay, and maps that read the others out of them, come out.
//
// [Observe] gathers [Evidence]: a consumer of a space reads its channels at a tap, and a sight is
// what was seen there of one group, summed up as moments.
//
//   - [Select] keeps the k channels of a space that explain most of what the
//     consumers compute; consumers read the others through their least-squares
//     reconstruction. A linear space is projected onto the subspace from which
//     its consumers lose least.
//   - [Union]: the channels of several parents compete for the places of one.
package choose
