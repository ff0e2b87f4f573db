package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// parseNumber reads a number as people write it: 0.5, 1e-3, or a quotient such
// as 1/255.
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

// A numberFlag is a number that may be written as a quotient.
type numberFlag struct{ value float64 }

func (n *numberFlag) Type() string { return "float" }

// String is the number; "" for 0, which help then leaves out.
func (n *numberFlag) String() string {
	if n.value == 0 {
		return ""
	}
	return strconv.FormatFloat(n.value, 'g', -1, 64)
}

func (n *numberFlag) Set(text string) (err error) {
	n.value, err = parseNumber(text)
	return err
}

// A numbersFlag is a list of such numbers, with commas between them.
type numbersFlag struct{ values []float64 }

func (n *numbersFlag) Type() string { return "list" }

func (n *numbersFlag) String() string {
	parts := make([]string, len(n.values))
	for i, x := range n.values {
		parts[i] = strconv.FormatFloat(x, 'g', -1, 64)
	}
	return strings.Join(parts, ",")
}

func (n *numbersFlag) Set(text string) error {
	n.values = nil
	for _, part := range strings.Split(text, ",") {
		x, err := parseNumber(part)
		if err != nil {
			return fmt.Errorf("%q: want numbers with commas between them, such as 0.485,0.456,0.406 or 127.5/255", strings.TrimSpace(part))
		}
		n.values = append(n.values, x)
	}
	return nil
}
