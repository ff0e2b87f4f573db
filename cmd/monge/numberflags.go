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
