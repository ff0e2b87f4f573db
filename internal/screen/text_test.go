package screen

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestName(t *testing.T) {
	for name, want := range map[string]string{
		"layer4/conv":        "layer4/conv",
		"größe 1":            "größe 1",
		"卷积":                 "卷积",
		"a\x1b[2Jb":          `"a\x1b[2Jb"`,
		"a\nb":               `"a\nb"`,
		"bell\a":             `"bell\a"`,
		"\u202eevil":         `"\u202eevil"`,
		"\u009b2J":           `"\u009b2J"`,
		"broken \xff":        `"broken \xff"`,
		"replacement \ufffd": "replacement \ufffd",
	} {
		if got := Name(name); got != want {
			t.Errorf("Name(%q) = %s, want %s", name, got, want)
		}
	}
}

func TestEscape(t *testing.T) {
	if got, want := Escape("a\x1b[2J\tb\n\xff\u009b \ufffd"), `a\x1b[2J\tb`+"\n"+`\xff\u009b `+"\ufffd"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"layer", 5, "layer"},
		{"model/layer4/conv", 11, "model…/conv"},
		{"abcdef", 1, "…"},
		{"abcdef", 0, ""},
		{"卷积卷积卷积", 7, "卷…卷积"},
	} {
		if got := Shorten(c.text, c.width); got != c.want {
			t.Errorf("Shorten(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s, width := Name(rapid.String().Draw(t, "text")), rapid.IntRange(0, 30).Draw(t, "width")
		if got := Shorten(s, width); Width(got) > width {
			t.Fatalf("%q takes %d columns of %d", got, Width(got), width)
		}
	})
}

func TestWrap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-zé—]{1,12}`), 1, 30).Draw(t, "words")
		width, indent := rapid.IntRange(20, 40).Draw(t, "width"), rapid.IntRange(0, 6).Draw(t, "indent")
		text := strings.Join(words, " ")
		got := Wrap(text, width, indent)
		for i, line := range strings.Split(got, "\n") {
			if Width(line) > width {
				t.Fatalf("line %d takes %d columns of %d", i, Width(line), width)
			}
			if i > 0 && !strings.HasPrefix(line, strings.Repeat(" ", indent)) {
				t.Fatalf("line %d is not indented: %q", i, line)
			}
		}
		if diff := cmp.Diff(words, strings.Fields(got)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestReflow(t *testing.T) {
	text := `A paragraph of
two lines.

  monge compress model.onnx -o half.onnx --keep 0.5
  term     what it
           means
  another  one

The end.`
	want := `A paragraph of two
lines.

  monge compress model.onnx -o half.onnx --keep 0.5
  term     what it
           means
  another  one

The end.`
	if diff := cmp.Diff(want, Reflow(text, 20)); diff != "" {
		t.Error(diff)
	}
	if wide := Reflow(text, 100); !strings.Contains(wide, "A paragraph of two lines.\n") || !strings.Contains(wide, "  term     what it means\n") {
		t.Error(wide)
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\x1b[31m\xff")
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{Name(s), Escape(s)} {
			if !utf8.ValidString(got) || strings.ContainsAny(got, "\x1b\a\b\r\t\x7f\u009b\u202e") {
				t.Errorf("%q became %q", s, got)
			}
		}
	})
}
