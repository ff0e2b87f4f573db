package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/monge-ml/monge/internal/screen"
)

// A table is printed in aligned columns, two spaces apart. A column whose cells are all empty is
// left out. Where lines may not be as long as they like, see screen.Columns, texts are shortened,
// and columns that still have no room stand below the others; numbers are never cut.
type table struct {
	head  []string
	kinds []kind
	rows  [][]string
}

// kind says what a column holds.
type kind int

const (
	number kind = iota // stands flush right
	fixed              // text that is never cut
	text               // may be shortened
)

// newTable makes a table. Headings that begin with "<" are of columns of text, those that begin
// with "=" of text that is not to be cut.
func newTable(head ...string) *table {
	t := &table{}
	for _, h := range head {
		k := number
		switch {
		case strings.HasPrefix(h, "<"):
			h, k = h[1:], text
		case strings.HasPrefix(h, "="):
			h, k = h[1:], fixed
		}
		t.head, t.kinds = append(t.head, h), append(t.kinds, k)
	}
	return t
}

func (t *table) add(cells ...string) {
	for i, c := range cells {
		cells[i] = screen.Name(c)
	}
	t.rows = append(t.rows, cells)
}

const (
	gap       = "  "
	leastText = 10  // columns that a text keeps
	leastName = 16  // and the first one of a table, which names the row
	mostText  = 100 // beyond this a text does not move those of other rows where lines may be long
)

func (t *table) print(w io.Writer) {
	if p, ok := w.(*parts); ok {
		p.table(t)
		return
	}
	limit := screen.Columns(w)
	widths, all := t.widths(), make([]int, len(t.head))
	for i := range all {
		all[i] = i
	}
	if limit <= 0 || total(widths) <= limit {
		t.printColumns(w, widths, all)
		return
	}
	t.dropPrefixes(w)
	widths = t.widths()
	shrunk := t.shrink(widths, limit)
	if total(shrunk) <= limit {
		t.printColumns(w, shrunk, all)
		return
	}
	// Blocks of columns, one below the other, each behind the first column.
	widths[0] = min(widths[0], max(limit/3, leastName))
	for next := 1; next < len(widths); {
		block, room := []int{0}, limit-widths[0]
		for ; next < len(widths); next++ {
			if t.kinds[next] == text {
				widths[next] = min(widths[next], max(limit-widths[0]-len(gap), leastText))
			}
			need := widths[next]
			if need > 0 {
				need += len(gap)
			}
			if need > room && len(block) > 1 {
				break
			}
			block, room = append(block, next), room-need
		}
		t.printColumns(w, widths, block)
		if next < len(widths) {
			fmt.Fprintln(w)
		}
	}
}

// widths are the columns' widths; 0 for those that are empty.
func (t *table) widths() []int {
	width := make([]int, len(t.head))
	for i, h := range t.head {
		if !slices.ContainsFunc(t.rows, func(r []string) bool { return r[i] != "" }) {
			continue
		}
		width[i] = screen.Width(h)
		for _, r := range t.rows {
			width[i] = max(width[i], screen.Width(r[i]))
		}
	}
	return width
}

// total is the width of a line.
func total(widths []int) int {
	n := -len(gap)
	for _, w := range widths {
		if w > 0 {
			n += w + len(gap)
		}
	}
	return n
}

// shrink takes room from texts, the widest first and those in the first column last, until lines
// fit or there is nothing left to take.
func (t *table) shrink(widths []int, limit int) []int {
	out := slices.Clone(widths)
	least := func(i int) int {
		n := max(leastText, screen.Width(t.head[i]))
		if i == 0 {
			n = max(leastName, n)
		}
		return n
	}
	for excess := total(out) - limit; excess > 0; excess-- {
		widest := -1
		for i := range out {
			if t.kinds[i] != text || out[i] <= least(i) {
				continue
			}
			if widest < 0 || out[i] > out[widest] {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		out[widest]--
	}
	return out
}

// dropPrefixes takes from the names in columns of text the folders that all of a column begin with,
// and says so.
func (t *table) dropPrefixes(w io.Writer) {
	columns := map[string][]string{} // by what they begin with
	var order []string
	for i, k := range t.kinds {
		if k != text {
			continue
		}
		prefix := t.prefix(i)
		if prefix == "" {
			continue
		}
		for _, r := range t.rows {
			r[i] = strings.ReplaceAll(strings.TrimPrefix(r[i], prefix), listMark+prefix, listMark)
		}
		if columns[prefix] == nil {
			order = append(order, prefix)
		}
		columns[prefix] = append(columns[prefix], t.head[i])
	}
	for _, prefix := range order {
		fmt.Fprintf(w, "%s: all begin with %s, which is left out\n", strings.Join(columns[prefix], listMark), screen.Shorten(prefix, screen.Columns(w)/2))
	}
}

// prefix is what all names in a column begin with, up to a slash; "" if that is too little to
// matter.
func (t *table) prefix(column int) string {
	prefix, names := "", 0
	for _, r := range t.rows {
		for name := range strings.SplitSeq(r[column], listMark) {
			if name == "" {
				continue
			}
			if names++; names == 1 {
				prefix = name
			}
			for !strings.HasPrefix(name, prefix) {
				prefix = prefix[:len(prefix)-1]
			}
		}
	}
	prefix = prefix[:strings.LastIndex(prefix, "/")+1]
	if names < 2 || len(prefix) < leastPrefix || strings.ContainsAny(prefix, ` "`) {
		return ""
	}
	return prefix
}

const leastPrefix = 4 // characters that are worth a line about them

// listMark stands between the names of a list in a cell.
const listMark = ", "

// shorten makes a cell fit. Of a list of names the first ones stay, and the number of the others.
func shorten(cell string, width int) string {
	names := strings.Split(cell, listMark)
	if len(names) > 1 && !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, " ") }) {
		for n := len(names) - 1; n > 0; n-- {
			if s := fmt.Sprintf("%s, +%d", strings.Join(names[:n], listMark), len(names)-n); screen.Width(s) <= width {
				return s
			}
		}
		rest := fmt.Sprintf(", +%d", len(names)-1)
		return screen.Shorten(names[0], width-len(rest)) + rest
	}
	return screen.Shorten(cell, width)
}

// printColumns prints some of the columns.
func (t *table) printColumns(w io.Writer, widths []int, columns []int) {
	limited := screen.Columns(w) > 0
	for _, r := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for _, i := range columns {
			if widths[i] == 0 {
				continue
			}
			cell, width := r[i], widths[i]
			if t.kinds[i] == text && limited && screen.Width(cell) > width {
				cell = shorten(cell, width)
				if s, ok := w.(*screen.Writer); ok {
					s.Shortened = true
				}
			}
			if !limited && t.kinds[i] == text {
				width = min(width, mostText)
			}
			pad := strings.Repeat(" ", max(width-screen.Width(cell), 0))
			if t.kinds[i] == number {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
			line.WriteString(gap)
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}
