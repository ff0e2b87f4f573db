// Package near finds what a mistyped name was meant to be.
package near

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Names returns those of names that are nearest to a mistyped word, at most most of them: names
// that begin with the word, or differ from it in at most a third of its letters (one in a short
// word). Upper and lower case are the same.
func Names(word string, names []string, most int) []string {
	type match struct {
		name     string
		distance int
	}
	word = strings.ToLower(word)
	limit := max(1, len(word)/3)
	var found []match
	for _, name := range names {
		lower := strings.ToLower(name)
		d := levenshtein.ComputeDistance(word, lower)
		if word != "" && strings.HasPrefix(lower, word) {
			d = min(d, 1)
		}
		if d <= limit && d < len(word) {
			found = append(found, match{name, d})
		}
	}
	slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(a.distance, b.distance) })
	var out []string
	for _, m := range found {
		if m.distance == found[0].distance && len(out) < most {
			out = append(out, m.name)
		}
	}
	return out
}
