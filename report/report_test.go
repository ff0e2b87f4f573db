package report

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/monge-ml/monge/internal/screen"
)

func TestTable(t *testing.T) {
	tb := newTable("<name", "n", "empty", "<why")
	tb.add("aé", "1", "", "")
	tb.add("b", "1,000", "", "since")
	var b strings.Builder
	tb.print(&b)
	want := "name      n  why\n" +
		"aé        1\n" +
		"b     1,000  since\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %s, want %s", n, got, want)
		}
	}
	if got := shape([]int64{-1, 3, -1}, []string{"N", "", ""}); got != "[N,3,?]" {
		t.Error(got)
	}
	if got := ofWhole(1, 0); got != "" {
		t.Error(got)
	}
}

// On a terminal lines fit, whatever is in a table, and numbers are never cut.
func TestTablesFitTheTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.IntRange(40, 120).Draw(t, "columns")
		name := rapid.OneOf(rapid.StringMatching(`(StatefulPartitionedCall/){1,40}[a-z]{1,9}`), rapid.StringMatching(`[a-z/.]{0,20}(, [a-z]{1,9}){0,60}`), rapid.String())
		tb := newTable("<model", "top-1", "=shape", "agreement", "<why", "params", "latency")
		var numbers []string
		for range rapid.IntRange(1, 5).Draw(t, "rows") {
			n := []string{
				rapid.StringMatching(`[0-9]{1,3}\.[0-9]{2}%`).Draw(t, "top-1"), rapid.StringMatching(`\[[0-9]{1,4},[0-9]{1,4}\]`).Draw(t, "shape"),
				rapid.StringMatching(`[0-9]{1,3}\.[0-9]{2}%`).Draw(t, "agreement"), rapid.StringMatching(`[0-9]{1,6}`).Draw(t, "params"),
			}
			numbers = append(numbers, n...)
			tb.add(name.Draw(t, "name"), n[0], n[1], n[2], name.Draw(t, "why"), n[3], "")
		}
		var b strings.Builder
		tb.print(screen.NewWriter(&b, columns))
		for line := range strings.Lines(b.String()) {
			if n := screen.Width(strings.TrimSuffix(line, "\n")); n > columns {
				t.Fatalf("%d columns of %d: %q", n, columns, line)
			}
			if strings.ContainsAny(line, "\x1b\a\r\u009b") {
				t.Fatalf("control characters in %q", line)
			}
		}
		words := strings.Fields(b.String())
		for _, n := range numbers {
			if !slices.Contains(words, n) {
				t.Fatalf("%s is not there whole:\n%s", n, b.String())
			}
		}
	})
}

func TestTableSharesPrefix(t *testing.T) {
	tb := newTable("<layer", "n", "<weights")
	tb.add("model/stage/conv1/BiasAdd", "1", "model/stage/conv1/w, model/stage/conv2/w, model/stage/conv3/w")
	tb.add("model/stage/conv2/BiasAdd", "22", "model/stage/conv2/w")
	var b strings.Builder
	w := screen.NewWriter(&b, 40)
	tb.print(w)
	want := "layer, weights: all begin with\n  model/stage/, which is left out\n" +
		"layer           n  weights\n" +
		"conv1/BiasAdd   1  conv1/w, conv2/w, +1\n" +
		"conv2/BiasAdd  22  conv2/w\n"
	if diff := cmp.Diff(want, b.String()); diff != "" || !w.Shortened {
		t.Error(diff, w.Shortened)
	}
}

// In files and pipes names are whole, and one that is very long does not move the other rows.
func TestTablesInFilesAreWhole(t *testing.T) {
	long := strings.Repeat("model/conv;", 80)
	tb := newTable("<layer", "n")
	tb.add(long, "1")
	tb.add("b", "22")
	var b strings.Builder
	tb.print(&b)
	lines := strings.Split(b.String(), "\n")
	if !strings.HasPrefix(lines[1], long) || len(lines[2]) > mostText+4 {
		t.Error(b.String())
	}
}
