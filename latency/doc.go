// Package latency predicts how long a model takes at other widths, without some of its nodes, and
// with two operators in the place of one.
//
// In goes a model. [Measure] makes it smaller in several ways, without regard to what it computes,
// has onnxruntime profile the results on this machine, and returns a [Table] of what every operator
// took at which shapes; [Cached] looks first whether that was done before. [Read] takes a table that
// was measured elsewhere. [Table.For] tells what an analysed model takes in any [Shape].
package latency
