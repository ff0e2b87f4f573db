//go:build cgo

package fuse_test

import (
	"context"
	"fmt"
	"log"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// Fuse two networks that were trained apart. With images it is measured which way serves best.
func ExampleModels() {
	var models []*onnxio.Model
	for _, path := range []string{"../testdata/mlp_a.onnx", "../testdata/mlp_b.onnx"} {
		m, err := onnxio.Load(path)
		if err != nil {
			log.Fatal(err)
		}
		models = append(models, m)
	}
	images, err := dataset.Open("../testdata/mnist_calib.npz", dataset.Preprocess{Scale: 1.0 / 255, Mean: []float64{0.1307}, Std: []float64{0.3081}}, dataset.Options{Limit: 150})
	if err != nil {
		log.Fatal(err)
	}
	var o fuse.Options
	o.Data = images
	o.Tune = job.Off // without distillation, which takes a minute
	_, report, err := fuse.Models(context.Background(), models, o)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("method %s, %d candidates were measured\n", report.Method, len(report.Candidates))
	// Output: method union, 9 candidates were measured
}
