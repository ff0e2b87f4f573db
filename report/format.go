package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/monge-ml/monge/internal/screen"
)

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
