package coupling

import (
	"maps"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
)

// einsumAxes: an Einsum equation is an axis expression whose letters need only
// be set apart. The positions of an ellipsis broadcast, which is followed where
// all operands have the same.
func einsumAxes(c *call) (string, sizeMap, restMap, error) {
	left, right, explicit := strings.Cut(strings.ReplaceAll(onnxio.AttrString(c.node, "equation", ""), " ", ""), "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.in) {
		return "", nil, nil, errUnranked
	}
	count := map[rune]int{}
	size := map[rune]int{}
	ellipsis := -1 // how many axes an ellipsis stands for
	parts := make([]string, 0, len(terms))
	for i, t := range terms {
		v := c.input(i)
		if v == nil || !v.ranked {
			return "", nil, nil, errUnranked
		}
		letters := strings.ReplaceAll(t, "...", "")
		if run := v.rank() - len(letters); run != 0 || letters != t {
			if run < 0 || letters == t || ellipsis >= 0 && ellipsis != run {
				return "", nil, nil, errUnranked
			}
			ellipsis = run
		}
		k := 0
		for _, r := range strings.ReplaceAll(t, "...", ".") {
			if r == '.' {
				k += ellipsis
				continue
			}
			if strings.Count(letters, string(r)) > 1 { // a diagonal
				return "", nil, nil, errUnranked
			}
			n := v.axes[k].Size()
			if old, ok := size[r]; ok && old != n && old >= 0 && n >= 0 { // broadcast
				return "", nil, nil, errUnranked
			}
			size[r] = n
			count[r]++
			k++
		}
		parts = append(parts, t)
	}
	if !explicit { // letters that stand once, in alphabetical order
		if ellipsis >= 0 {
			right = "..."
		}
		for _, r := range slices.Sorted(maps.Keys(count)) {
			if count[r] == 1 {
				right += string(r)
			}
		}
	}
	c.einsumHeads(terms, right)
	for i, p := range parts {
		parts[i] = einsumLetters(p)
	}
	return strings.Join(parts, ", ") + " -> " + einsumLetters(right), nil, nil, nil
}

// einsumLetters writes the axes of one operand as names, none of them capital.
func einsumLetters(operand string) string {
	var out []string
	for _, r := range strings.ReplaceAll(operand, "...", ".") {
		if r == '.' {
			out = append(out, "run...")
		} else {
			out = append(out, einsumLetter(r))
		}
	}
	return strings.Join(out, " ")
}

func einsumLetter(r rune) string { return "a" + string(r) }

// einsumHeads: axes that two activations and the output share select what is
// contracted or produced beside them, as the batch axes of MatMul do.
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
