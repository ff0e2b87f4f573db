package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/monge-ml/monge/internal/screen"
)

// count prints a number of things with three digits or more and a decimal prefix: 812, 38.3k,
// 7.63G.
func count(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	x, prefix := float64(n), ""
	for _, p := range []string{"k", "M", "G", "T", "P", "E"} {
		if x < 999.5 {
			break
		}
		x, prefix = x/1000, p
	}
	return digits(x) + prefix
}

// digits prints a number below 1000 with three digits.
func digits(x float64) string {
	decimals := 0
	switch { // by what the number is once rounded
	case x < 9.995:
		decimals = 2
	case x < 99.95:
		decimals = 1
	}
	return strconv.FormatFloat(x, 'f', decimals, 64)
}

// size prints a number of bytes with a decimal prefix.
func size(n int64) string {
	s := count(n)
	if unit := s[len(s)-1]; unit >= '0' && unit <= '9' {
		return s + " B"
	}
	return s[:len(s)-1] + " " + s[len(s)-1:] + "B"
}

func grouped(n int64) string { return screen.Grouped(n) }

func percent(share float64) string {
	if math.IsNaN(share) {
		return "NaN"
	}
	return fmt.Sprintf("%.2f%%", 100*share)
}

// ofWhole prints a part as a share of the whole; "" where there is no whole.
func ofWhole(part, whole int64) string {
	if whole == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(whole))
}

// optional prints a number that may be missing.
func optional(x *float64, print func(float64) string) string {
	if x == nil {
		return ""
	}
	return print(*x)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond).String()
}

// shape prints sizes as in [N,3,32,32]; free ones by name, or as ?.
func shape(dims []int64, names []string) string {
	if dims == nil {
		return "[...]"
	}
	parts := make([]string, len(dims))
	for i, d := range dims {
		switch {
		case d >= 0:
			parts[i] = strconv.FormatInt(d, 10)
		case i < len(names) && names[i] != "":
			parts[i] = names[i]
		default:
			parts[i] = "?"
		}
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// plural prints a number with its noun.
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return grouped(int64(n)) + " " + noun
}
