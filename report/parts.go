package report

import (
	"io"
	"slices"
	"strings"

	"github.com/monge-ml/monge/internal/screen"
)

// A Part is a table of a printed result with the lines that belong to it, or lines alone.
type Part struct {
	// Head and Rows are the table's cells, without columns that are empty; nil where there is none.
	Head []string
	Rows [][]string
	// Numbers says which columns hold numbers.
	Numbers []bool
	// Text are the lines below the table.
	Text []string
}

// Parts takes a result apart as it is printed for a person, so that other forms of it say the same.
func Parts(r interface{ Print(io.Writer) }) []Part {
	p := &parts{}
	r.Print(p)
	p.end()
	return p.list
}

// parts are written to instead of a terminal.
type parts struct {
	list []Part
	now  Part
	text strings.Builder
}

// Write takes text in as a terminal shows it: names in it are not all quoted.
func (p *parts) Write(text []byte) (int, error) {
	p.text.WriteString(screen.Escape(string(text)))
	return len(text), nil
}

// take moves the lines that were written to the part that they belong to: an empty line ends it.
func (p *parts) take() {
	text := p.text.String()
	p.text.Reset()
	for i, block := range strings.Split(text, "\n\n") {
		if i > 0 {
			p.end()
		}
		for line := range strings.Lines(block) {
			if line = strings.TrimSuffix(line, "\n"); line != "" {
				p.now.Text = append(p.now.Text, line)
			}
		}
	}
}

// end begins a new part.
func (p *parts) end() {
	if p.text.Len() > 0 {
		p.take()
	}
	if p.now.Head != nil || p.now.Text != nil {
		p.list = append(p.list, p.now)
	}
	p.now = Part{}
}

// table begins a new part with a table.
func (p *parts) table(t *table) {
	p.take()
	if p.now.Head != nil || len(p.now.Text) > 0 {
		p.end()
	}
	widths := t.widths()
	pick := func(cells []string) []string {
		var out []string
		for i, c := range cells {
			if widths[i] > 0 {
				out = append(out, c)
			}
		}
		return out
	}
	p.now.Head = pick(t.head)
	for i, k := range t.kinds {
		if widths[i] > 0 {
			p.now.Numbers = append(p.now.Numbers, k == number)
		}
	}
	for _, r := range t.rows {
		p.now.Rows = append(p.now.Rows, pick(r))
	}
	p.now.Rows = slices.Clip(p.now.Rows)
}
