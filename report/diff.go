package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// A Difference compares two models.
type Difference struct {
	Models [2]string `json:"models"` // paths
	Before Measured  `json:"before"`
	After  Measured  `json:"after"`
	*diff.Report
	Inputs  []Pair `json:"inputs"`
	Outputs []Pair `json:"outputs"`
	// All says that Print lists everything, and not what matters most.
	All bool `json:"-"`
	Cost
}

// Measured is what a model costs; MACs is nil where it could not be analysed.
type Measured struct {
	Params   int64  `json:"params"`
	MACs     *int64 `json:"macs,omitempty"`
	Bytes    int64  `json:"bytes"`
	OpenDims bool   `json:"open_dims"`
	Storage
}

func (m Measured) macs() string {
	if m.MACs == nil {
		return ""
	}
	return Size{MACs: *m.MACs, OpenDims: m.OpenDims}.macs()
}

// A Pair is an input or output of the two models; nil where one has none.
type Pair struct {
	Before *Value `json:"before,omitempty"`
	After  *Value `json:"after,omitempty"`
	Same   bool   `json:"same"`
}

func pairs(list []diff.End) []Pair {
	one := func(v *onnxpb.ValueInfoProto) *Value {
		if v == nil {
			return nil
		}
		return &values([]*onnxpb.ValueInfoProto{v})[0]
	}
	out := make([]Pair, len(list))
	for i, e := range list {
		out[i] = Pair{one(e.Before), one(e.After), e.Same()}
	}
	return out
}

// Compare presents what differs between two models.
func Compare(paths [2]string, before, after Measured, r *diff.Report) *Difference {
	return &Difference{Models: paths, Before: before, After: after, Report: r, Inputs: pairs(r.Inputs), Outputs: pairs(r.Outputs)}
}

// mostRows is the number of rows of a table unless all are asked for.
const mostRows = 15

// Print writes the comparison for a person: the verdict, then what differs. What is the same in
// both is left out.
func (r *Difference) Print(w io.Writer) {
	verdict := r.Verdict
	if r.Identical && (r.Before.FileBytes != r.After.FileBytes || r.Before.ExternalTensors != r.After.ExternalTensors) {
		verdict += ", stored differently"
	}
	fmt.Fprintf(w, "%s\n\n", verdict)
	r.printFiles(w)
	r.printOperators(w)
	if r.Related || r.All { // else pairs mean little
		r.printNodes(w)
		r.printSpaces(w)
		r.printWeights(w)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, n)
	}
	if len(r.Other) > 0 {
		fmt.Fprintf(w, "also differ in the file: %s\n", strings.Join(r.Other, ", "))
	}
	if r.Before.OpenDims || r.After.OpenDims {
		fmt.Fprintln(w, openNote)
	}
}

// printFiles prints the two files side by side.
func (r *Difference) printFiles(w io.Writer) {
	t := newTable("<", "<"+screen.Name(r.Models[0]), "<"+screen.Name(r.Models[1]), "left")
	a, b := r.Before, r.After
	t.add("params", screen.Count(a.Params), screen.Count(b.Params), ofWhole(b.Params, a.Params))
	if a.MACs != nil && b.MACs != nil {
		t.add("MACs", a.macs(), b.macs(), ofWhole(*b.MACs, *a.MACs))
	} else {
		t.add("MACs", a.macs(), b.macs(), "")
	}
	t.add("size", screen.Bytes(a.Bytes), screen.Bytes(b.Bytes), ofWhole(b.Bytes, a.Bytes))
	t.add("nodes", grouped(int64(r.Nodes.Before)), grouped(int64(r.Nodes.After)), "")
	if a.ExternalTensors != b.ExternalTensors {
		t.add("in data files", plural(a.ExternalTensors, "weight"), plural(b.ExternalTensors, "weight"), "")
	}
	var long []diff.Change // which would make the columns as wide
	for _, c := range r.File {
		if max(screen.Width(c.Before), screen.Width(c.After)) > mostCell {
			long = append(long, c)
			continue
		}
		t.add(c.What, cmp.Or(c.Before, "-"), cmp.Or(c.After, "-"), "")
	}
	for _, ends := range []struct {
		what string
		list []Pair
	}{{"input", r.Inputs}, {"output", r.Outputs}} {
		for _, e := range ends.list {
			if !e.Same {
				t.add(ends.what, described(e.Before), described(e.After), "")
			}
		}
	}
	t.print(w)
	for _, c := range long {
		for _, side := range [][2]string{{"before", c.Before}, {"after", c.After}} {
			if side[1] != "" {
				fmt.Fprintf(w, "%s, %s: %s\n", screen.Name(c.What), side[0], r.whole(side[1]))
			}
		}
	}
	fmt.Fprintln(w)
}

// described prints an input or output that one model may not have.
func described(v *Value) string {
	if v == nil {
		return "-"
	}
	return v.String()
}

// mostCell is the width from which on a text of the file's head stands below the table.
const mostCell = 40

// whole prints a text of the file's head, such as a command line in the metadata; what is no text
// for people is cut, unless all is asked for.
func (r *Difference) whole(s string) string {
	const most = 2000
	if !r.All {
		s = screen.Shorten(s, most)
	}
	return screen.Name(s)
}

// rows returns those of a table that matter most, in their own order, and says how many are left
// out.
func rows[T any](r *Difference, all []T, matters func(a, b T) int) (shown []T, left int) {
	if r.All || len(all) <= mostRows {
		return all, 0
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return matters(all[i], all[j]) })
	for _, i := range order[:mostRows] {
		shown = append(shown, all[i])
	}
	return shown, len(all) - mostRows
}

// printTable prints a table and how many rows are left out of it.
func printTable(w io.Writer, t *table, left int, what string) {
	if len(t.rows) == 0 {
		return
	}
	t.print(w)
	if left > 0 {
		fmt.Fprintf(w, "%s more: --all\n", plural(left, what))
	}
	fmt.Fprintln(w)
}

// A nodeRow is a node with what became of it.
type nodeRow struct {
	fate string
	diff.Node
}

// nodeRows lists the nodes that differ, those that were changed first. What follows from widths or from
// the verdict is left out, unless all is asked for: these say it, and operators are counted.
func (r *Difference) nodeRows() []nodeRow {
	var out []nodeRow
	for _, d := range r.Nodes.Changed {
		own := d.Rewired || slices.ContainsFunc(d.Changes, func(c diff.Change) bool { return !c.Follows })
		if own || r.All {
			out = append(out, nodeRow{"changed", d})
		}
	}
	told := func(d diff.Node) bool { return !r.All && r.Explains(d) }
	for _, d := range r.Nodes.Added {
		if !told(d) {
			out = append(out, nodeRow{"added", d})
		}
	}
	for _, d := range r.Nodes.Removed {
		if !told(d) {
			out = append(out, nodeRow{"removed", d})
		}
	}
	return out
}

// printOperators prints which operators there are more or fewer of.
func (r *Difference) printOperators(w io.Writer) {
	t := newTable("<operator", "before", "after")
	for _, c := range r.Nodes.Operators {
		t.add(c.Op, grouped(int64(c.Before)), grouped(int64(c.After)))
	}
	printTable(w, t, 0, "")
}

// printNodes prints which nodes differ.
func (r *Difference) printNodes(w io.Writer) {
	shown, left := rows(r, r.nodeRows(), func(a, b nodeRow) int { return cmp.Compare(r.plain(a), r.plain(b)) })
	t := newTable("<node", "<operator", "<", "<what")
	for _, d := range shown {
		var parts []string
		for _, c := range d.Changes {
			parts = append(parts, fmt.Sprintf("%s %s → %s", c.What, cmp.Or(c.Before, "none"), cmp.Or(c.After, "none")))
		}
		if d.Rewired {
			parts = append(parts, "reads other tensors")
		}
		t.add(d.Name, d.Op, d.fate, strings.Join(parts, "; "))
	}
	printTable(w, t, left, "node")
}

// plain is how much of a node is told already: 0 where nothing is, 1 where operators were counted.
func (r *Difference) plain(d nodeRow) int {
	if d.fate == "changed" {
		return 0
	}
	return 1
}

// printSpaces prints widths before and after.
func (r *Difference) printSpaces(w io.Writer) {
	differing := slices.DeleteFunc(slices.Clone(r.Spaces), func(s diff.Space) bool { return s.Before == s.After && !r.All })
	shown, left := rows(r, differing, func(a, b diff.Space) int {
		return cmp.Compare(abs(b.Before-b.After), abs(a.Before-a.After))
	})
	t := newTable("<space", "before", "after", "left")
	for _, s := range shown {
		t.add(s.Name, grouped(int64(s.Before)), grouped(int64(s.After)), ofWhole(int64(s.After), int64(s.Before)))
	}
	printTable(w, t, left, "space")
}

func abs(x int) int { return max(x, -x) }

// A weightRow is what became of the weights that one node reads.
type weightRow struct {
	name, op string
	main     diff.Weight // the largest
	other    float64     // largest relative change of the others
	others   int         // that are comparable
	equal    bool        // all are
	alike    bool        // none has another shape
	single   bool        // only one model has it, and no node reads it
}

// weightRows gathers the weights by node, in their order.
func (r *Difference) weightRows() []weightRow {
	var out []weightRow
	for _, x := range r.Weights {
		paired := x.Before != nil && x.After != nil
		alike := paired && (x.Equal || x.Change != nil)
		if last := len(out) - 1; paired && x.Node != "" && last >= 0 && out[last].name == x.Node {
			row := &out[last]
			row.equal, row.alike = row.equal && x.Equal, row.alike && alike
			minor := x
			if elements(x) > elements(row.main) {
				minor, row.main = row.main, x
			}
			if minor.Change != nil {
				row.other, row.others = math.Max(row.other, *minor.Change), row.others+1
			}
			continue
		}
		out = append(out, weightRow{name: x.Node, op: x.Op, main: x, equal: x.Equal, alike: alike, single: !paired})
	}
	return out
}

func elements(w diff.Weight) int {
	if w.Before == nil {
		return 0
	}
	n := 1
	for _, d := range w.Before.Dims {
		n *= d
	}
	return n
}

// change is how much a row differs, for an order.
func (x weightRow) change() float64 {
	switch {
	case x.single:
		return 0
	case !x.alike:
		return math.Inf(1)
	case x.main.Change == nil:
		return x.other
	}
	return math.Max(*x.main.Change, x.other)
}

// printWeights prints how much the weights of each layer differ.
func (r *Difference) printWeights(w io.Writer) {
	differing, equal, near, rounded := []weightRow{}, 0, 0, 0.0
	for _, x := range r.weightRows() {
		switch {
		case r.All:
			differing = append(differing, x)
		case x.equal:
			equal++
		case !x.single && x.change() <= diff.Rounding && types(x.main) == "":
			near++
			rounded = max(rounded, x.change())
		default:
			differing = append(differing, x)
		}
	}
	shown, left := rows(r, differing, func(a, b weightRow) int {
		return cmp.Or(cmp.Compare(b.change(), a.change()), cmp.Compare(elements(b.main), elements(a.main)))
	})
	t := newTable("<layer", "<operator", "=shape", "<type", "weight", "bias etc.")
	for _, x := range shown {
		t.add(cmp.Or(x.name, named(x.main)), x.op, shapes(x.main), types(x.main), changeText(x.main), note(x.others > 0, relativeText(x.other)))
	}
	if len(t.rows) > 0 {
		t.print(w)
		if left > 0 {
			fmt.Fprintf(w, "%s more: --all\n", plural(left, "layer"))
		}
		if slices.ContainsFunc(shown, func(x weightRow) bool { return x.main.Change != nil || x.others > 0 }) {
			fmt.Fprintln(w, "weight, bias: relative change ‖a − b‖/‖a‖, where shapes are the same")
		}
	}
	if near > 0 {
		fmt.Fprintf(w, "the weights of %s differ by rounding alone, relatively by %.0e at most\n", plural(near, "layer"), rounded)
	}
	if equal > 0 && !r.Identical {
		fmt.Fprintf(w, "the weights of %s are equal\n", plural(equal, "layer"))
	}
}

// named is the name of a weight that no node reads.
func named(w diff.Weight) string {
	if w.Before != nil {
		return w.Before.Name
	}
	return w.After.Name
}

// beforeAfter prints something that may differ.
func beforeAfter(before, after string) string {
	if before == after {
		return before
	}
	return before + " → " + after
}

func shapes(w diff.Weight) string {
	text := func(t *diff.Tensor) string {
		if t == nil {
			return "-"
		}
		dims := make([]int64, len(t.Dims))
		for i, d := range t.Dims {
			dims[i] = int64(d)
		}
		return shape(dims, nil)
	}
	return beforeAfter(text(w.Before), text(w.After))
}

// types prints how a weight is stored, where that differs.
func types(w diff.Weight) string {
	if w.Before == nil || w.After == nil || w.Before.Type == w.After.Type {
		return ""
	}
	return beforeAfter(w.Before.Type, w.After.Type)
}

func changeText(w diff.Weight) string {
	switch {
	case w.Before == nil:
		return "added"
	case w.After == nil:
		return "removed"
	case w.Equal:
		return "equal"
	case w.Change == nil:
		return ""
	}
	return relativeText(*w.Change)
}

// relativeText prints a relative change.
func relativeText(x float64) string {
	switch {
	case x == 0:
		return "equal"
	case math.IsNaN(x):
		return "NaN"
	case math.IsInf(x, 0):
		return "from zero"
	case x < 1e-4:
		return fmt.Sprintf("%.0e", x)
	}
	return fmt.Sprintf("%.2f%%", 100*x)
}
