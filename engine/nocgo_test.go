//go:build !cgo

package engine_test

import (
	"errors"
	"testing"

	"github.com/monge-ml/monge/engine"
)

// TestNoCgo: without cgo whatever runs a model says what to install.
func TestNoCgo(t *testing.T) {
	if _, err := engine.Open(mlp(), engine.Options{}); !errors.Is(err, engine.ErrNoCgo) {
		t.Errorf("Open: %v", err)
	}
	d, _ := points(t, 4)
	if err := engine.Stream(t.Context(), mlp(), d, []string{"y"}, engine.StreamOptions{}, nil); !errors.Is(err, engine.ErrNoCgo) {
		t.Errorf("Stream: %v", err)
	}
	if _, err := engine.Evaluate(t.Context(), nil, d, engine.EvalOptions{}); err != nil {
		t.Errorf("Evaluate of nothing: %v", err)
	}
	if lib, _ := engine.Find(); lib.Path != "" {
		t.Errorf("Find: %v", lib)
	}
}
