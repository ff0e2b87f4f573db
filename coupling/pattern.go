package coupling

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// A pattern is a parsed axis expression: the axes of every input and output of an operator in the
// notation of einops, extended by concatenation, indexed factors and mixing brackets. See the
// package documentation for the grammar.
type pattern struct {
	in, out [][]axisPattern
}

// axisPattern is one axis (or one run of axes, for s...) in a pattern.
type axisPattern struct {
	op    patOp
	name  string        // patName, patRest
	size  int           // patNumber
	parts []axisPattern // patProd, patIndexed, patSum
	mix   byte          // '[': nothing may change; '{': mixed symmetrically; 0: not mixed
	prime bool          // h': the weight consumes the channels that it makes elsewhere
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

// kind is that of the axis a compound pattern describes.
func (a axisPattern) kind() axisKind {
	if a.op == patSum {
		return kindSum
	}
	return kindProd
}

func parsePattern(s string) (*pattern, error) {
	left, right, ok := strings.Cut(s, "->")
	if !ok {
		return nil, fmt.Errorf("axis expression %q has no ->", s)
	}
	if strings.Contains(right, "->") {
		return nil, fmt.Errorf("axis expression %q has two ->", s)
	}
	var sides [2][][]axisPattern
	for i, half := range []string{left, right} {
		for _, part := range strings.Split(half, ",") {
			ps := parser{toks: append(tokens.FindAllString(part, -1), ""), src: s}
			var axes []axisPattern
			for ps.peek() != "" {
				a, err := ps.axis()
				if err != nil {
					return nil, err
				}
				axes = append(axes, a)
			}
			sides[i] = append(sides[i], axes)
		}
	}
	return &pattern{in: sides[0], out: sides[1]}, nil
}

// tokens are words, the dots of a run, and single marks.
var tokens = regexp.MustCompile(`[A-Za-z0-9_']+|\.\.\.|[^ ]`)

// A parser reads the tokens of one tensor's axes.
type parser struct {
	toks []string // the last is empty
	src  string
}

func (p *parser) peek() string { return p.toks[0] }

func (p *parser) next() string {
	t := p.peek()
	if t != "" {
		p.toks = p.toks[1:]
	}
	return t
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("axis expression %q: %s", p.src, fmt.Sprintf(format, args...))
}

// axis reads one axis, or one run of axes, of a tensor.
func (p *parser) axis() (axisPattern, error) {
	shut, bracket := map[string]string{"[": "]", "{": "}"}[p.peek()]
	if !bracket {
		return p.part()
	}
	open := p.next()
	a, err := p.part()
	if err != nil {
		return a, err
	}
	if p.next() != shut {
		return a, p.errorf("%q is not closed", open)
	}
	a.mix = open[0]
	return a, nil
}

// part reads a name, a run, a number or a parenthesis.
func (p *parser) part() (axisPattern, error) {
	t := p.next()
	switch {
	case t == "":
		return axisPattern{}, p.errorf("ends early")
	case t == "(":
		return p.group()
	case t[0] >= '0' && t[0] <= '9':
		n, err := strconv.Atoi(t)
		if err != nil || n <= 0 {
			return axisPattern{}, p.errorf("bad number %q", t)
		}
		return axisPattern{op: patNumber, size: n}, nil
	case !unicode.IsLetter(rune(t[0])):
		return axisPattern{}, p.errorf("unexpected %q", t)
	}
	a := axisPattern{op: patName, name: strings.TrimRight(t, "'")}
	a.prime = a.name != t
	if p.peek() == "..." {
		p.next()
		a.op = patRest
	}
	return a, nil
}

// group reads what follows an opening parenthesis.
func (p *parser) group() (g axisPattern, err error) {
	layout := "" // the marks, and an x for each part
	for {
		switch t := p.peek(); t {
		case "":
			return g, p.errorf("parenthesis is not closed")
		case ")":
			p.next()
			g.op, err = p.layout(layout)
			return g, err
		case "+", ":":
			layout += p.next()
		default:
			a, err := p.axis()
			if err != nil {
				return g, err
			}
			if a.op == patRest {
				return g, p.errorf("a run of axes stands inside an axis")
			}
			g.parts = append(g.parts, a)
			layout += "x"
		}
	}
}

// layout tells a product, an index and a sum by how their parts and marks follow each other.
func (p *parser) layout(s string) (patOp, error) {
	switch {
	case s == "":
		return 0, p.errorf("empty parentheses")
	case strings.Trim(s, "x") == "":
		return patProd, nil
	case s == "x:x":
		return patIndexed, nil
	case strings.Contains(s, ":"):
		return 0, p.errorf("an index (g: i) has one factor on each side")
	case strings.Contains(s, "xx"):
		return 0, p.errorf("put products inside a sum into parentheses")
	case strings.ReplaceAll(s, "+x", "") != "x":
		return 0, p.errorf("a part of the sum is missing")
	}
	return patSum, nil
}

// names visits every letter of the axis; a bracket around a compound holds for all letters in it.
func (a axisPattern) names(f func(letter axisPattern)) {
	if a.op == patName || a.op == patRest {
		f(a)
	}
	for _, p := range a.parts {
		if p.mix == 0 {
			p.mix = a.mix
		}
		p.names(f)
	}
}
