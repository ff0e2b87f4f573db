package coupling_test

import (
	"testing"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// graph builds a model from text in the notation of onnxtest.Parse.
func graph(t testing.TB, text string) *onnxio.Model {
	t.Helper()
	m, err := onnxtest.Parse(text)
	if err != nil {
		t.Fatalf("test graph: %v", err)
	}
	return m
}
