package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
	for n, want := range map[int64]string{
		0: "0", 7: "7", 999: "999", 1000: "1.00k", 1234: "1.23k", 9994: "9.99k", 38266: "38.3k", 99950: "100k", 999499: "999k", 999500: "1.00M",
		7_634_123_456: "7.63G", 1<<63 - 1: "9.22E",
	} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{12: "12 B", 1500: "1.50 kB", 99_750: "99.8 kB", 6_170_000: "6.17 MB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
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
