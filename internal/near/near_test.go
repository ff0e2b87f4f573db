package near

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	flags := []string{"keep", "keep-bn", "keep-residual", "macs", "max-drop", "mean", "input-shape", "q"}
	for word, want := range map[string][]string{
		"kep":         {"keep"},
		"keep":        {"keep"},
		"MACS":        {"macs"},
		"max":         {"max-drop"},
		"input_shape": {"input-shape"},
		"inputshapes": {"input-shape"},
		"zzzzzz":      nil,
		"x":           nil,
		"":            nil,
	} {
		if diff := cmp.Diff(want, Names(word, flags, 2)); diff != "" {
			t.Errorf("%q: %s", word, diff)
		}
	}
}
