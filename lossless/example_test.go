package lossless_test

import (
	"context"
	"fmt"
	"log"

	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Of four hidden units one is always zero, one is constant and one repeats another: one is enough.
func ExampleStrip() {
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 2)), onnxtest.Values(onnxtest.Value("y", "N", 1)),
		onnxtest.Floats("w", []int{2, 4}, 1, 0, 0, 1, 2, 0, 0, 2),
		onnxtest.Floats("b", []int{4}, 0, -1, 3, 0),
		onnxtest.Node("Gemm", "x w b", "g"),
		onnxtest.Node("Relu", "g", "h"),
		onnxtest.Floats("v", []int{4, 1}, 1, 5, 2, 4),
		onnxtest.Floats("c", []int{1}, 0.5),
		onnxtest.Node("Gemm", "h v c", "y"),
	)
	small, report, err := lossless.Strip(context.Background(), m, lossless.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range report.Spaces {
		fmt.Printf("%s: %d → %d, %d constant, %d duplicate\n", s.Name, s.Before, s.After, s.Constant, s.Duplicate)
	}
	g, err := small.Graph()
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range g.Linears() {
		for _, p := range []onnxio.Param{l.Weight, l.Bias} {
			t, err := small.Tensor(g.Constant(p.Name))
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(p.Name, t.Dims, t.F32)
		}
	}
	// Output:
	// Gemm_g: 4 → 1, 2 constant, 1 duplicate
	// w [2 1] [1 2]
	// b [1] [0]
	// v [1 1] [5]
	// c [1] [6.5]
}
