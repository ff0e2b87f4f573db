package coupling

import (
	"maps"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
)

// einsumAxes: an Einsum equation is an axis expression whose letters need only be set apart. The
// positions of an ellipsis broadcast, which is followed where all operands have the same.
func einsumAxes(c *call) (string, error) {
	equation := strings.NewReplacer(" ", "", "...", ".").Replace(onnxio.AttrString(c.node, "equation", ""))
	left, right, explicit := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.in) {
		return "", errUnranked
	}
	sizes := map[rune]int{}
	for i, t := range terms {
		if v := c.in[i]; v == nil || !v.ranked || !einsumFits(t, v.sizes(), sizes) {
			return "", errUnranked
		}
	}
	if !explicit { // letters that stand once, in alphabetical order
		for _, r := range slices.Sorted(maps.Keys(sizes)) { // the ellipsis first
			if r == '.' || strings.Count(left, string(r)) == 1 {
				right += string(r)
			}
		}
	}
	c.einsumHeads(terms, right)
	for i, t := range terms {
		terms[i] = einsumLetters(t)
	}
	return strings.Join(terms, ", ") + " -> " + einsumLetters(right), nil
}

// einsumFits reports whether an operand has the axes that its term names, each once, and of the
// sizes that its letters have elsewhere, which it adds to sizes: for the '.' of an ellipsis, how
// many axes it stands for.
func einsumFits(term string, dims []int, sizes map[rune]int) bool {
	run := len(dims) - len(strings.ReplaceAll(term, ".", ""))
	if run < 0 || run > 0 && !strings.Contains(term, ".") {
		return false
	}
	for _, r := range term {
		n, width := run, run
		if r != '.' {
			n, width = dims[0], 1
		}
		old, seen := sizes[r]
		if seen && old != n && old >= 0 && n >= 0 || strings.Count(term, string(r)) > 1 {
			return false // broadcast, or a diagonal
		}
		sizes[r] = n
		dims = dims[width:]
	}
	return true
}

// einsumLetters writes the axes of one operand as names, none of them capital.
func einsumLetters(operand string) string {
	var out []string
	for _, r := range operand {
		out = append(out, einsumLetter(r))
	}
	return strings.ReplaceAll(strings.Join(out, " "), einsumLetter('.'), "run...")
}

func einsumLetter(r rune) string { return "a" + string(r) }

// einsumHeads: axes that two activations and the output share select what is contracted or produced
// beside them, as the batch axes of MatMul do.
func (c *call) einsumHeads(terms []string, out string) {
	if len(terms) != 2 || !c.in[0].live() || !c.in[1].live() {
		return
	}
	shared := func(r rune) bool {
		return strings.ContainsRune(terms[0], r) && strings.ContainsRune(terms[1], r) && strings.ContainsRune(out, r)
	}
	for _, h := range terms[0] {
		if h == '.' || !shared(h) {
			continue
		}
		c.heads = append(c.heads, einsumLetter(h))
		for _, d := range terms[0] + terms[1] {
			if d != '.' && !shared(d) {
				c.indexed = append(c.indexed, [2]string{einsumLetter(h), einsumLetter(d)})
			}
		}
	}
}
