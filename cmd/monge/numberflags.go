package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// parseNumber reads a number as people write it: 0.5, 1e-3, or a quotient such as 1/255.
func parseNumber(text string) (float64, error) {
	above, below, quotient := strings.Cut(text, "/")
	x, err := strconv.ParseFloat(strings.TrimSpace(above), 64)
	if quotient && err == nil {
		var y float64
		y, err = strconv.ParseFloat(strings.TrimSpace(below), 64)
		x /= y
	}
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("want a number, such as 0.5 or 1/255")
	}
	return x, nil
}

// perhapsShare says which share may have been meant by a number that is none, if it may be a
// percentage.
func perhapsShare(x float64) string {
	if !(x >= 2 && x <= 100) {
		return ""
	}
	return fmt.Sprintf("; did you mean %g?", x/100)
}

// perhapsPercent says which share a text means that ends with a percent sign.
func perhapsPercent(text string) string {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !percent || err != nil || !(x > 0 && x <= 100) {
		return ""
	}
	return fmt.Sprintf("; did you mean %g?", x/100)
}

// numberFlag adds a flag for a number that may be written as a quotient.
func numberFlag(fs *pflag.FlagSet, p *float64, name, usage string) {
	fs.Func(name, usage, func(text string) (err error) {
		*p, err = parseNumber(text)
		return err
	})
}

// numbersFlag adds a flag for a list of such numbers, with commas between them.
func numbersFlag(fs *pflag.FlagSet, p *[]float64, name, usage string) {
	fs.Func(name, usage, func(text string) error {
		*p = nil
		for _, part := range strings.Split(text, ",") {
			x, err := parseNumber(part)
			if err != nil {
				return fmt.Errorf("%q: want numbers with commas between them, such as 0.485,0.456,0.406 or 127.5/255", strings.TrimSpace(part))
			}
			*p = append(*p, x)
		}
		return nil
	})
}
