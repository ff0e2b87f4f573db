package admit_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/admit"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// calling is a model of functions in a row each of which calls the next a number of times, the last
// one the first if it shall go on.
func calling(functions, times int, around bool) *onnxio.Model {
	call := func(name string) *onnxpb.NodeProto {
		return &onnxpb.NodeProto{Domain: new("own"), OpType: new(name), Input: []string{"x"}, Output: []string{"y"}}
	}
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", 4)), onnxtest.Values(onnxtest.Value("y", 4)))
	m.Proto.Graph.Node = []*onnxpb.NodeProto{call("f0")}
	for i := range functions {
		f := &onnxpb.FunctionProto{Domain: new("own"), Name: new(fmt.Sprint("f", i)), Input: []string{"x"}, Output: []string{"y"}}
		next := call(fmt.Sprint("f", i+1))
		switch {
		case i == functions-1 && around:
			next = call("f0")
		case i == functions-1:
			next = &onnxpb.NodeProto{OpType: new("Relu"), Input: []string{"x"}, Output: []string{"y"}}
		}
		for range times {
			f.Node = append(f.Node, next)
		}
		m.Proto.Functions = append(m.Proto.Functions, f)
	}
	return m
}

// Functions that call others twice double what there is with each: onnxruntime, which writes them
// out, would not come to an end.
func TestFunctions(t *testing.T) {
	for name, c := range map[string]struct {
		m     *onnxio.Model
		large bool
	}{
		"doubled forty times":    {calling(40, 2, false), true},
		"doubled thousand times": {calling(2000, 2, false), true},
		"a chain":                {calling(3000, 1, false), false},
		"doubled ten times":      {calling(10, 2, false), false},
		"without end":            {calling(5, 1, true), false}, // onnxruntime refuses these
	} {
		if err := admit.Model(t.Context(), c.m, admit.Options{}); errors.Is(err, engine.ErrMemory) != c.large {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
