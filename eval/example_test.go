//go:build cgo

package eval_test

import (
	"context"
	"fmt"
	"log"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/onnxio"
)

// Compare two networks that read digits, on labelled ones.
func ExampleModels() {
	digits, err := dataset.Open("../testdata/mnist_test.npz", dataset.Preprocess{
		Scale: 1.0 / 255, Mean: []float64{0.1307}, Std: []float64{0.3081},
	}, dataset.Options{})
	if err != nil {
		log.Fatal(err)
	}
	var models []*onnxio.Model
	for _, file := range []string{"../testdata/mlp_a.onnx", "../testdata/mlp_b.onnx"} {
		m, err := onnxio.Load(file)
		if err != nil {
			log.Fatal(err)
		}
		models = append(models, m)
	}
	results, err := eval.Models(context.Background(), models, digits, eval.Options{NoLatency: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range results {
		fmt.Printf("%d parameters, %.1f%% right of %d\n", r.Params, 100**r.Top1, r.Samples)
	}
	fmt.Printf("they agree on %.1f%%\n", 100**results[1].Agreement)
	// Output:
	// 52650 parameters, 97.9% right of 1000
	// 52650 parameters, 97.9% right of 1000
	// they agree on 98.4%
}
