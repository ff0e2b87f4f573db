package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// A table is printed in aligned columns, two spaces apart. A column whose cells
// are all empty is left out.
type table struct {
	head []string
	// left says which columns hold text; the others hold numbers, which stand
	// flush right.
	left []bool
	rows [][]string
}

// newTable makes a table. Headings that begin with "<" are of columns of text.
func newTable(head ...string) *table {
	t := &table{}
	for _, h := range head {
		text, left := strings.CutPrefix(h, "<")
		t.head, t.left = append(t.head, text), append(t.left, left)
	}
	return t
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) {
	width := make([]int, len(t.head))
	for i, h := range t.head {
		if !slices.ContainsFunc(t.rows, func(r []string) bool { return r[i] != "" }) {
			continue
		}
		width[i] = utf8.RuneCountInString(h)
		for _, r := range t.rows {
			width[i] = max(width[i], utf8.RuneCountInString(r[i]))
		}
	}
	for _, r := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for i, cell := range r {
			if width[i] == 0 {
				continue
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if t.left[i] {
				line.WriteString(cell + pad)
			} else {
				line.WriteString(pad + cell)
			}
			line.WriteString("  ")
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}
