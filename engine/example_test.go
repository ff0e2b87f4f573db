//go:build cgo

package engine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Run a model, and look at a tensor inside it.
func ExampleSession_Run() {
	m := onnxtest.Model( // y = relu(x·W)
		onnxtest.Values(onnxtest.Value("x", "N", 2)), onnxtest.Values(onnxtest.Value("y", "N", 2)),
		onnxtest.Initializer(onnxio.NewTensor("W", onnxio.Float, []int{2, 2}, []float64{1, -1, 2, 1})),
		onnxtest.Node("MatMul", "x W", "h"), onnxtest.Node("Relu", "h", "y"),
	)
	s, err := engine.Open(m, engine.Options{Outputs: []string{"h", "y"}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	fmt.Println(s.Inputs()[0])
	out, err := s.Run(context.Background(), map[string]*engine.Value{"x": engine.Float32([]float32{1, 0, 0, 1}, 2, 2)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out["h"].Dims, out["h"].F32)
	fmt.Println(out["y"].Dims, out["y"].F32)
	// Output:
	// x float [N,2]
	// [2 2] [1 -1 2 1]
	// [2 2] [1 0 2 1]
}
