package engine_test

import (
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Every run of a profiled session tells each operator that was executed, once, and those in the
// branch of an If as part of it.
func TestProfile(t *testing.T) {
	enginetest.Require(t)
	body := func(op string) *onnxpb.GraphProto {
		return onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value("o_"+op)), onnxtest.Node(op, "h W", "o_"+op))
	}
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 2), onnxtest.TypedValue("c", onnxio.Bool)), onnxtest.Values(onnxtest.Value("z")),
		onnxtest.Floats("W", []int{1}, 10),
		onnxtest.Node("Softmax", "x", "h"),
		onnxtest.Node("If", "c", "y", onnxtest.Attr("then_branch", body("Add")), onnxtest.Attr("else_branch", body("Mul"))),
		onnxtest.Node("Softmax", "y", "z"),
	)
	s := open(t, m, engine.Options{Profile: true, Threads: 1})
	for range 3 {
		run(t, s, map[string]*engine.Value{"x": engine.Float32([]float32{1, -1}, 1, 2), "c": {Type: onnxio.Bool, I64: []int64{1}}})
	}
	runs, err := s.Profile()
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 3 {
		t.Fatalf("%d runs", len(runs))
	}
	for _, kernels := range runs {
		var ops []string
		for _, k := range kernels {
			ops = append(ops, k.Op)
			if k.Took < 0 || k.Name == "" {
				t.Errorf("%+v", k)
			}
		}
		if got := strings.Join(ops, " "); got != "Softmax If Softmax" {
			t.Errorf("operators: %s", got)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := open(t, mlp(), engine.Options{}).Profile(); err == nil || !strings.Contains(err.Error(), "no profile was asked for") {
		t.Errorf("not asked for: %v", err)
	}
}
