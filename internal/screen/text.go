// Package screen prints on terminals: text that fits the columns there are, names that cannot move
// the cursor, and numbers with three digits.
package screen

import (
	"strconv"
	"strings"

	"github.com/rivo/uniseg"
)

// Width is the number of columns that a line of printable text takes.
func Width(s string) int { return uniseg.StringWidth(s) }

// Name returns a name as it may be printed: itself, or quoted with escapes where a character of it
// is not printable (control characters, escape sequences, line breaks, marks that change the
// direction of writing) or it is not UTF-8.
func Name(s string) string {
	if strings.Contains(s, "\n") || Escape(s) != s {
		return strconv.Quote(s)
	}
	return s
}

// Escape replaces all characters that are not printable by escapes as in \x1b, but leaves line
// breaks.
func Escape(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n':
			b.WriteRune(r)
		case r == '\uFFFD' && !strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteString(`\x` + strconv.FormatUint(0x100|uint64(s[i]), 16)[1:])
		case !strconv.IsPrint(r):
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Shorten cuts the middle out of a text that takes more than width columns, and puts an ellipsis in
// its place.
func Shorten(s string, width int) string {
	if Width(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	var clusters []string
	for g := uniseg.NewGraphemes(s); g.Next(); {
		clusters = append(clusters, g.Str())
	}
	// One character from either end in turn, the end first: what tells names apart is mostly there.
	var head, tail string
	for left, from, to := width-1, 0, len(clusters); from < to; {
		next, end := clusters[from], len(tail) <= len(head)
		if end {
			next = clusters[to-1]
		}
		if left -= Width(next); left < 0 {
			break
		}
		if end {
			tail = next + tail
			to--
		} else {
			head += next
			from++
		}
	}
	return head + "…" + tail
}

// Wrap breaks a line at spaces so that it takes at most width columns; lines after the first begin
// with so many spaces. Words that are longer stand alone, and spaces at the beginning stay. A width
// of 0 means no limit.
func Wrap(line string, width, indent int) string {
	if width <= 0 || Width(line) <= width {
		return line
	}
	text := strings.TrimLeft(line, " ")
	var out strings.Builder
	out.WriteString(line[:len(line)-len(text)])
	at, fresh := len(line)-len(text), true
	for word := range strings.SplitSeq(text, " ") {
		switch n := Width(word); {
		case fresh:
			at, fresh = at+n, false
		case at+1+n <= width:
			out.WriteByte(' ')
			at += 1 + n
		default:
			out.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent + n
		}
		out.WriteString(word)
	}
	return out.String()
}

// Reflow wraps a text of several lines. Lines without indentation make paragraphs. An indented line
// with a gap of two spaces or more explains a term; lines beneath that begin where the explanation
// begins continue it. All other indented lines, commands for instance, stay as they are.
func Reflow(text string, width int) string {
	type item struct {
		term, text string
		indent     int // of continuations; -1: the line is to stay as it is
	}
	var items []item
	for line := range strings.SplitSeq(text, "\n") {
		body := strings.TrimLeft(line, " ")
		indent := len(line) - len(body)
		if n := len(items) - 1; n >= 0 && body != "" && indent == items[n].indent {
			items[n].text += " " + body
			continue
		}
		next := item{text: line, indent: -1}
		if body != "" && indent == 0 {
			next.indent = 0
		} else if gap := strings.Index(body, "  "); gap > 0 {
			next.text = strings.TrimLeft(body[gap:], " ")
			next.term = strings.TrimSuffix(line, next.text)
			next.indent = Width(next.term)
		}
		items = append(items, next)
	}
	var out []string
	for _, i := range items {
		if i.indent >= 0 {
			i.text = WrapTerm(i.term, i.text, width, i.indent)
		}
		out = append(out, i.text)
	}
	return strings.Join(out, "\n")
}

// WrapTerm sets a text beside a term, from column indent on, and beneath the term where that is
// longer.
func WrapTerm(term, text string, width, indent int) string {
	margin := strings.Repeat(" ", indent)
	wrapped := Wrap(margin+text, width, indent)
	if n := Width(term); n <= indent {
		return term + strings.Repeat(" ", indent-n) + wrapped[indent:]
	}
	return strings.TrimRight(term, " ") + "\n" + wrapped
}
