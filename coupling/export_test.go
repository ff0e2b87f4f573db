package coupling

import (
	"maps"
	"path"
	"slices"
)

// OpNames lists the operators that have a rule.
func OpNames() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(table())) {
		out = append(out, path.Base(name))
	}
	return out
}
