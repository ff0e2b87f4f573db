package onnxio_test

import (
	"fmt"
	"log"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Halve a weight, whatever type and place the file keeps it in.
func ExampleGraph_SetConstant() {
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", 1, 2)), onnxtest.Values(onnxtest.Value("y", 1, 2)),
		onnxtest.Initializer(onnxio.NewTensor("w", onnxio.Float16, []int{2, 2}, []float64{1, 2, 3, 4})),
		onnxtest.Node("MatMul", "x w", "h"),
		onnxtest.Node("Relu", "h", "y"),
	)
	g, err := m.Graph()
	if err != nil {
		log.Fatal(err)
	}
	for _, layer := range g.Linears() {
		w, err := m.Tensor(g.Constant(layer.Weight.Name))
		if err != nil {
			log.Fatal(err)
		}
		v := w.Float64()
		for i := range v {
			v[i] /= 2
		}
		w.SetFloat64(w.Dims, v)
		if err := g.SetConstant(w); err != nil {
			log.Fatal(err)
		}
		fmt.Println(onnxio.Label(layer.Node), layer.Weight.Name, w.Type, w.Dims, w.F32)
	}
	// Output:
	// MatMul "MatMul_h" w FLOAT16 [2 2] [0.5 1 1.5 2]
}
