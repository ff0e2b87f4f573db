package coupling

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// What the parser reads prints as it was written, up to blanks and primes.
func TestPatternRoundTrip(t *testing.T) {
	for _, s := range []string{
		"n c s..., c, c, c, c -> n c s...",
		"n (g: i) s..., (g: o) i k..., (g: o) -> n (g: o) t...",
		"b... {c}, c, c -> b... {c}",
		"n [c] s... -> n [c] s...",
		"[c...] -> [c...]",
		"n (P Q c) h w -> n c (h P) (w Q)",
		"t n i, D (4 h) i, D (8 h) -> t D n h, D n h",
		"a (b + c), b, (c (d e)) -> (a b) (c d) e",
		"((a b) + c) -> (a + (b c) + d)",
		"m i, i -> m",
		"i, i ->",
		"t n i, D (4 h) i, D (4 h) h' -> t D n h",
		"n (g: {c}) s..., (g: c) -> n (g: {c}) {s...}",
	} {
		p, err := parsePattern(s)
		if err != nil {
			t.Error(err)
			continue
		}
		if d := cmp.Diff(s, p.String()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

func TestPatternErrors(t *testing.T) {
	for s, want := range map[string]string{
		"a b":                       `axis expression "a b" has no ->`,
		"a -> b -> c":               `axis expression "a -> b -> c" has two ->`,
		"(a b -> a":                 `axis expression "(a b -> a": parenthesis is not closed`,
		"a) -> a":                   `axis expression "a) -> a": unexpected ")"`,
		"[a -> a":                   `axis expression "[a -> a": "[" is not closed`,
		"{a] -> a":                  `axis expression "{a] -> a": "{" is not closed`,
		"a ? -> a":                  `axis expression "a ? -> a": unexpected "?"`,
		"(a b + c) -> a":            `axis expression "(a b + c) -> a": put products inside a sum into parentheses`,
		"(a + b c) -> a":            `axis expression "(a + b c) -> a": put products inside a sum into parentheses`,
		"(g: i o) -> g":             `axis expression "(g: i o) -> g": an index (g: i) has one factor on each side`,
		"(: i) -> i":                `axis expression "(: i) -> i": an index (g: i) has one factor on each side`,
		"0 -> a":                    `axis expression "0 -> a": bad number "0"`,
		"99999999999999999999 -> a": `axis expression "99999999999999999999 -> a": bad number "99999999999999999999"`,
		"() -> a":                   `axis expression "() -> a": empty parentheses`,
		"(a + ) -> a":               `axis expression "(a + ) -> a": a part of the sum is missing`,
		"... -> a":                  `axis expression "... -> a": unexpected "..."`,
		"(s... c) -> s... c":        `axis expression "(s... c) -> s... c": a run of axes stands inside an axis`,
	} {
		if p, err := parsePattern(s); err == nil || err.Error() != want {
			t.Errorf("%q: %v, error %v, want %s", s, p, err, want)
		}
	}
}

// No text makes the parser panic, and what it accepts it reads again.
func TestPatternParsesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b'", "s...", "4", "(", ")", "[", "]", "{", "}", "+", ":", ",", "->", " ", "é", "-"})).Draw(t, "tokens")
		s := ""
		for _, tok := range tokens {
			s += tok + " "
		}
		p, err := parsePattern(s)
		if err != nil {
			return
		}
		again, err := parsePattern(p.String())
		if err != nil || again.String() != p.String() {
			t.Fatalf("%q prints as %q, which reads as %v (%v)", s, p, again, err)
		}
	})
}

// Every constant expression of the table parses.
func TestTableParses(t *testing.T) {
	for _, op := range table() {
		n := 0
		for _, set := range []bool{op.axes != "", op.axesOf != nil, op.apply != nil} {
			if set {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s has %d rules", op.names, n)
		}
		if op.axes == "" {
			continue
		}
		if _, err := parsePattern(op.axes); err != nil {
			t.Errorf("%s: %v", op.names, err)
		}
	}
}

// String prints the expression as it is written.
func (p *pattern) String() string {
	side := func(tensors [][]axisPattern) string {
		var out []string
		for _, axes := range tensors {
			out = append(out, join(axes, " "))
		}
		return strings.Join(out, ", ")
	}
	return strings.TrimSpace(side(p.in) + " -> " + side(p.out))
}

func (a axisPattern) String() string {
	s := a.name
	if a.prime {
		s += "'"
	}
	switch a.op {
	case patRest:
		s += "..."
	case patNumber:
		s = strconv.Itoa(a.size)
	case patProd:
		s = "(" + join(a.parts, " ") + ")"
	case patIndexed:
		s = "(" + join(a.parts, ": ") + ")"
	case patSum:
		s = "(" + join(a.parts, " + ") + ")"
	}
	switch a.mix {
	case '[':
		return "[" + s + "]"
	case '{':
		return "{" + s + "}"
	}
	return s
}

func join(axes []axisPattern, sep string) string {
	parts := make([]string, len(axes))
	for i, a := range axes {
		parts[i] = a.String()
	}
	return strings.Join(parts, sep)
}
