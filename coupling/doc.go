// Package coupling takes a model and finds its spaces: sets of channels that must be changed
// together, with every weight axis on which they stand. Which axes of the tensors move together
// follows from the graph alone, without data.
//
//	a, err := coupling.Analyze(model, coupling.Options{})
//	for _, s := range a.Spaces {
//		fmt.Println(s.Name, s.Width, s.Frozen, s.Reason)
//		for _, u := range s.Uses {
//			fmt.Println("   ", u) // produced of "conv1.weight" (Conv "conv1")
//		}
//	}
//
// A [Space] is the outputs of a layer, a residual stream, the hidden units of an LSTM. It lists
// every weight axis on which those channels stand, with the [Role] that the weight plays. To
// permute, narrow or merge the channels is to multiply those axes, and nothing else: the package
// says where, internal/edit does it. [Widths] says what a model with fewer channels holds and
// computes.
//
// # Axes
//
// An [Axis] says how one axis of one tensor is made of channels. It is a term: an atom (channels of
// which nothing more needs to be known), a product (a b) with the outer factor first, or a
// concatenation (a + b). That is enough for what exporters write: Flatten makes (c h w), or (h w c)
// in NHWC; Concat makes sums; a grouped Conv reads (g i); Split, Slice and channel Pad cut sums;
// the reshapes of attention split (3 h d).
//
// All tensors of a graph share their atoms. Where an operator makes two axes agree, they are
// unified: both are refined, atoms being split by product or by sum, until they have common
// boundaries. The file unify.go holds the whole of it. Where no common refinement exists (blocks of
// two against blocks of three) all channels concerned are frozen.
//
// # Rules
//
// What an operator does to axes is its rule, one line of the table in table.go; what works element
// by element is known by [onnxio.Facts]. Most rules are axis expressions, which read as in einops
// and einx: inputs, an arrow, outputs, one name for each axis.
//
//	Conv                "n i s..., o i k..., o -> n o t..."
//	grouped             "n (g: i) s..., (g: o) i k..., (g: o) -> n (g: o) t..."
//	BatchNormalization  "n c s..., c, c, c, c -> n c s..."
//	LayerNormalization  "b {c}, c, c -> b {c}"
//	Softmax             "b [c] -> b [c]"
//
// The grammar:
//
//	expression = tensors "->" tensors
//	tensors    = axes { "," axes }
//	axes       = { axis }
//	axis       = part | "[" part "]" | "{" part "}"
//	part       = name | name "..." | number | "(" inner ")"
//	inner      = part { part } | part { "+" part } | part ":" part
//
//	c            one axis; the same name is the same channels everywhere
//	h'           h again; the prime only tells the reader that h is consumed
//	s...         any number of axes
//	4            a fixed factor, such as the gates of an LSTM
//	(a b)        composed axes, outer first
//	(a + b)      concatenated axes
//	(g: i)       composed axes in which every g has channels i of its own, and
//	             a plan of its own
//	[c]          channels mixed in such a way that nothing may change
//	{c}          channels mixed symmetrically: they may be permuted, but
//	             narrowing would change the statistics
//
// Operators whose mapping hangs on shapes or constants (Reshape, Split, Pad) have a function in
// place of an expression.
//
// # Roles
//
// The role of a weight's axis follows from where else its letter stands:
//
//	weight and output, no live input    the first weight produces the channels
//	                                    and further ones (bias) carry them
//	weight, live input, output          carries
//	weight, live input, no output       consumes
//	weight only                         private (kernel taps)
//	two live inputs, no output          the two are contracted (Q·Kᵀ)
//	one live input only                 reduced, so frozen
//	output only                         new, so frozen
//
// A tensor is live if it depends on an input of the graph; everything else is a weight, wherever it
// is stored and however many Reshapes lie before its use.
//
// # The way of an analysis
//
// [Analyze] gives every initializer and graph input its axes, walks the nodes in topological order
// and applies their rules. Integers that come from Shape, Gather, Concat and arithmetic are folded
// on the way, together with the axis whose size they are: so a Reshape to x.size(0) × −1 is
// understood, and after an edit each stored shape is written anew ([ShapeRef]). At the end atoms
// are gathered into spaces: atoms that stand in all the same places are pieces of one space, such
// as both zero-padded sides of an option-A shortcut.
//
// A space is frozen, with the reason, where it reaches a graph input or output, an operator that
// has no rule, weights that cannot be edited, or anything else that is not understood. What is not
// frozen may be permuted exactly, and (unless Rigid) narrowed.
//
// The branches of If nodes are walked as parts of the graph, each If being an operator that passes
// on what either branch puts out ([onnxio.Model.FlatGraph]). What a Loop, a Scan or a function of
// the model reads is frozen.
//
// Weights that a DequantizeLinear makes of stored integers are weights like others; [Quantization]
// says how they are stored.
//
// Models are not trusted: sizes are numbers to compute with and never to allocate, the work of each
// join is bounded, and no model causes a panic.
//
// # Relatives
//
// The dependency graph of Fang et al., DepGraph: Towards Any Structural Pruning (CVPR 2023) groups
// layers in the same spirit, with index maps as closures. tract's AxesMapping writes an operator's
// axes as a formula that prints and parses. The notation is that of Rogozhnikov, Einops (ICLR
// 2022). Axes that are composed and concatenated, and unification over them, are this package's
// own.
package coupling
