package page

import (
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/monge-ml/monge/report"
)

// A Page is what a browser shows of a result.
type Page struct {
	Title    string
	Headline string // the verdict in a line
	Tiles    []Tile
	Judged   []string // what the verdict rests on, a line each
	Warnings []string
	Sections []Section
	Facts    []Fact // how the result was made
}

// A Tile is a figure before and after.
type Tile struct {
	Name, After string
	// Before is what it is compared with, with a name; "" for nothing. On says of how many samples it
	// is; "" where that says nothing.
	Before, On string
	// Share is the second as a share of the first, in words; "" for none.
	Share string
	// Better says whether the change is what one hopes for, Worse that it is not.
	Better, Worse bool
	Mark          string // says the same, and whether it rose or fell
}

// A Section is a part of the page: what there is of it is shown in this order.
type Section struct {
	Title    string
	Text     []string
	Network  *Network
	Plots    []Plot
	Maps     []HeatMap
	Pictures []Picture
	Table    *report.Part
}

// Folded reports whether the section's table is too long to be shown at once.
func (s Section) Folded() bool {
	return s.Table != nil && len(s.Table.Rows) > mostOpen && (s.Network != nil || s.Plots != nil || s.Maps != nil)
}

// mostOpen is the number of rows of a table that stands open beside a picture of what it says.
const mostOpen = 12

// A Fact is a name and what is told of it.
type Fact struct {
	Name, Text string
	Code       bool // it is a command
}

// About is what a result does not say itself.
type About struct {
	Command, Version string
}

//go:embed page.html
var source string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"breaks": breaks, "grouped": grouped, "name": name, "words": strings.Fields}).Parse(source))

// name is the column of a table that names its rows, if names are so long that they need room; else
// -1.
func name(p *report.Part) int {
	const long = 12
	i := slices.Index(p.Numbers, false)
	if i >= 0 && slices.ContainsFunc(p.Rows, func(r []string) bool { return len(r[i]) > long }) {
		return i
	}
	return -1
}

// breaks lets a browser break a long name where a person would: behind its separators.
func breaks(name string) template.HTML {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		b.WriteString(template.HTMLEscapeString(string(r)))
		if strings.ContainsRune("/._:", r) && i > 0 && i+1 < len(runes) && unicode.IsLetter(runes[i+1]) {
			b.WriteString("<wbr>")
		}
	}
	return template.HTML(b.String())
}

// Render writes a page. Nothing is written if there is an error.
func Render(w io.Writer, p *Page) error {
	var b strings.Builder
	if err := pageTemplate.Execute(&b, p); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}
