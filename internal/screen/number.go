package screen

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Count prints a number of things with three digits or more and a decimal prefix: 812, 38.3k,
// 7.63G.
func Count(n int64) string {
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
	return Digits(x) + prefix
}

// Digits prints a number below 1000 with three digits.
func Digits(x float64) string {
	decimals := 0
	switch { // by what the number is once rounded
	case x < 9.995:
		decimals = 2
	case x < 99.95:
		decimals = 1
	}
	return strconv.FormatFloat(x, 'f', decimals, 64)
}

// Bytes prints a number of bytes with a decimal prefix.
func Bytes(n int64) string {
	s := Count(n)
	if unit := s[len(s)-1]; unit >= '0' && unit <= '9' {
		return s + " B"
	}
	return s[:len(s)-1] + " " + s[len(s)-1:] + "B"
}

// Plural prints a number with its noun: 1 channel, 2 channels.
func Plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(n, " ", noun)
}

// Duration prints ten minutes as 10m, not 10m0s.
func Duration(t time.Duration) string {
	text := t.String()
	for _, end := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, end) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// Grouped writes a number with commas between thousands.
func Grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
