package screen

import (
	"testing"
	"time"
)

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 7: "7", 999: "999", 1000: "1.00k", 1234: "1.23k", 9994: "9.99k", 38266: "38.3k", 99950: "100k", 999499: "999k", 999500: "1.00M",
		7_634_123_456: "7.63G", 1<<63 - 1: "9.22E",
	} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{12: "12 B", 1500: "1.50 kB", 99_750: "99.8 kB", 6_170_000: "6.17 MB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Second: "1s", 90 * time.Second: "1m30s", 19 * time.Minute: "19m", 2 * time.Hour: "2h", 150 * time.Minute: "2h30m"} {
		if got := Duration(d); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 outputs", 1: "1 output", 2: "2 outputs"} {
		if got := Plural(n, "output"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
