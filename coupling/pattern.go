package coupling

import (
	"fmt"
	"strings"
	"unicode"
)

// A pattern is a parsed axis expression: the axes of every input and output of
// an operator in the notation of einops, extended by concatenation, indexed
// factors and mixing brackets. See the package documentation for the grammar.
type pattern struct {
	in, out [][]axisPattern
}

// axisPattern is one axis (or one run of axes, for s...) in a pattern.
type axisPattern struct {
	op    patOp
	name  string        // patName, patRest
	size  int           // patNumber
	parts []axisPattern // patProd, patSum
	mix   byte          // '[': nothing may change; '{': mixed symmetrically; 0: not mixed
}

type patOp uint8

const (
	patName    patOp = iota // c
	patRest                 // s...
	patNumber               // 4
	patProd                 // (a b)
	patIndexed              // (g: i)
	patSum                  // (a + b)
)

func parsePattern(s string) (*pattern, error) {
	left, right, ok := strings.Cut(s, "->")
	if !ok {
		return nil, fmt.Errorf("axis expression %q has no ->", s)
	}
	var p pattern
	for i, half := range []string{left, right} {
		for _, part := range strings.Split(half, ",") {
			lex := lexer{toks: tokenize(part), src: s}
			var axes []axisPattern
			for !lex.done() {
				a, err := lex.axis()
				if err != nil {
					return nil, err
				}
				axes = append(axes, a)
			}
			if i == 0 {
				p.in = append(p.in, axes)
			} else {
				p.out = append(p.out, axes)
			}
		}
	}
	return &p, nil
}

func tokenize(s string) []string {
	var toks []string
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ':
			i++
		case strings.HasPrefix(s[i:], "..."):
			toks = append(toks, "...")
			i += 3
		case strings.ContainsRune("()[]{}+:", rune(c)):
			toks = append(toks, string(c))
			i++
		default:
			j := i
			for j < len(s) && (unicode.IsLetter(rune(s[j])) || unicode.IsDigit(rune(s[j])) || s[j] == '\'' || s[j] == '_') {
				j++
			}
			if j == i { // no token of the grammar; let the parser name it
				j++
			}
			toks = append(toks, s[i:j])
			i = j
		}
	}
	return toks
}

type lexer struct {
	toks []string
	src  string
}

func (l *lexer) done() bool { return len(l.toks) == 0 }

func (l *lexer) peek() string {
	if l.done() {
		return ""
	}
	return l.toks[0]
}

func (l *lexer) next() string {
	t := l.peek()
	if !l.done() {
		l.toks = l.toks[1:]
	}
	return t
}

func (l *lexer) errorf(format string, args ...any) error {
	return fmt.Errorf("axis expression %q: %s", l.src, fmt.Sprintf(format, args...))
}

func (l *lexer) axis() (axisPattern, error) {
	switch t := l.next(); t {
	case "(":
		return l.group()
	case "[", "{":
		a, err := l.axis()
		if err != nil {
			return a, err
		}
		a.mix = t[0]
		if c := l.next(); c != map[string]string{"[": "]", "{": "}"}[t] {
			return a, l.errorf("%q is not closed", t)
		}
		if a.op == patName && l.peek() == "..." {
			l.next()
			a.op = patRest
		}
		return a, nil
	default:
		return l.atom(t)
	}
}

func (l *lexer) atom(t string) (axisPattern, error) {
	if t == "" {
		return axisPattern{}, l.errorf("ends early")
	}
	if unicode.IsDigit(rune(t[0])) {
		n := 0
		if _, err := fmt.Sscanf(t, "%d", &n); err != nil || n <= 0 {
			return axisPattern{}, l.errorf("bad number %q", t)
		}
		return axisPattern{op: patNumber, size: n}, nil
	}
	if !unicode.IsLetter(rune(t[0])) {
		return axisPattern{}, l.errorf("unexpected %q", t)
	}
	// h' is h again, on the side that consumes it; the letter's roles already
	// say so, the prime is for the reader.
	a := axisPattern{op: patName, name: strings.TrimRight(t, "'")}
	if l.peek() == "..." {
		l.next()
		a.op = patRest
	}
	return a, nil
}

// group parses what follows an opening parenthesis.
func (l *lexer) group() (axisPattern, error) {
	g := axisPattern{op: patProd}
	for {
		switch l.peek() {
		case "":
			return g, l.errorf("parenthesis is not closed")
		case ")":
			l.next()
			return g, nil
		case "+":
			if g.op != patSum && len(g.parts) > 1 {
				return g, l.errorf("put products inside a sum into parentheses")
			}
			l.next()
			g.op = patSum
		case ":":
			l.next()
			g.op = patIndexed
		default:
			a, err := l.axis()
			if err != nil {
				return g, err
			}
			g.parts = append(g.parts, a)
		}
	}
}

// names visits every letter of the axis.
func (a axisPattern) names(f func(name string)) {
	if a.op == patName || a.op == patRest {
		f(a.name)
	}
	for _, p := range a.parts {
		p.names(f)
	}
}
