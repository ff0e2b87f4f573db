//go:build !cgo

package engine_test

import (
	"errors"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
)

// TestNoCgo: without cgo whatever runs a model says what to install.
func TestNoCgo(t *testing.T) {
	if _, err := engine.Open(mlp(), engine.Options{}); !errors.Is(err, engine.ErrNoCgo) {
		t.Errorf("Open: %v", err)
	}
	d, err := dataset.New("points", map[string]*engine.Value{"x": engine.Float32(make([]float32, 12), 4, 3)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := dataset.Stream(t.Context(), mlp(), d, []string{"y"}, dataset.StreamOptions{}, nil); !errors.Is(err, engine.ErrNoCgo) {
		t.Errorf("Stream: %v", err)
	}
	if _, err := eval.Models(t.Context(), nil, d, eval.Options{}); err != nil {
		t.Errorf("Models of nothing: %v", err)
	}
	if lib, _ := engine.Find(); lib.Path != "" {
		t.Errorf("Find: %v", lib)
	}
}
