//go:build cgo

package dataset_test

import (
	"context"
	"fmt"
	"log"
	"slices"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// Count the digits that a network reads right.
func ExampleStream() {
	digits, err := dataset.Open("../testdata/mnist_test.npz", dataset.Preprocess{
		Scale: 1.0 / 255, Mean: []float64{0.1307}, Std: []float64{0.3081},
	}, dataset.Options{Limit: 100, Seed: dataset.FileOrder})
	if err != nil {
		log.Fatal(err)
	}
	m, err := onnxio.Load("../testdata/mlp_a.onnx")
	if err != nil {
		log.Fatal(err)
	}
	labels, right := digits.Labels(), 0
	output := m.Proto.Graph.Output[0].GetName()
	err = dataset.Stream(context.Background(), m, digits, []string{output}, dataset.StreamOptions{},
		func(_, n int, values map[string]*engine.Value) error {
			scores := values[output]
			for i := range n {
				row := engine.Rows(scores, i, i+1).F32
				if slices.Index(row, slices.Max(row)) == labels[i] {
					right++
				}
			}
			labels = labels[n:]
			return nil
		})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d of %d\n", right, digits.Len())
	// Output: 98 of 100
}
