package onnxgo_test

import (
	"context"
	"fmt"
	"log"
	"os"

	onnx "github.com/owulveryck/onnx-go"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/onnxio/onnxgo"
)

// Decode a file through onnx-go, look at its layers and narrow it.
func Example() {
	data, err := os.ReadFile("../../testdata/cnn_a.onnx")
	if err != nil {
		log.Fatal(err)
	}
	backend := onnxgo.NewBackend()
	decoded := onnx.NewModel(backend)
	if err := decoded.UnmarshalBinary(data); err != nil {
		log.Fatal(err)
	}
	backend.SetInterface(decoded.Input, decoded.Output)

	m, err := backend.Model(13, map[string][]int{"input": {-1, 1, 28, 28}})
	if err != nil {
		log.Fatal(err)
	}
	g, err := m.Graph()
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range g.Linears() {
		fmt.Println(l.Node.GetOpType(), l.Weight.Name, g.Constant(l.Weight.Name).GetDims())
	}
	o := compress.Options{Keep: 0.75}
	o.NoData = true // merge channels by their weights
	narrow, report, err := compress.Model(context.Background(), m, o)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range report.Spaces {
		fmt.Println(s.Name, s.Before, "→", s.After)
	}
	if _, err := narrow.Encode(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Conv conv1.weight [12 1 3 3]
	// Conv conv2.weight [24 12 3 3]
	// Conv conv3.weight [32 24 3 3]
	// Gemm fc1.weight [48 288]
	// Gemm fc2.weight [10 48]
	// conv1.weight 12 → 9
	// conv2.weight 24 → 18
	// conv3.weight 32 → 24
	// fc1.weight 48 → 36
	// fc2.weight 10 → 10
}
