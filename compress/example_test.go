//go:build cgo

package compress_test

import (
	"context"
	"fmt"
	"log"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// Narrow a network to half of its channels, those that explain most on a few hundred images.
func ExampleModel() {
	wide, err := onnxio.Load("../testdata/cnn_a.onnx")
	if err != nil {
		log.Fatal(err)
	}
	images, err := dataset.Open("../testdata/mnist_calib.npz", dataset.Preprocess{Scale: 1.0 / 255, Mean: []float64{0.1307}, Std: []float64{0.3081}}, dataset.Options{})
	if err != nil {
		log.Fatal(err)
	}
	o := compress.Options{Keep: 0.5}
	o.Data = images
	o.Tune = job.Off // without distillation, which takes a minute
	narrow, report, err := compress.Model(context.Background(), wide, o)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range report.Spaces {
		fmt.Printf("%-11s %2d → %2d\n", s.Name, s.Before, s.After)
	}
	fmt.Printf("refitted on %d images, %d are left to judge the result\n", report.Split.Fit.Len(), report.Split.Judge.Len())
	params, _ := narrow.Size()
	fmt.Println(params, "parameters")
	// Output:
	// /conv1/Conv 12 →  6
	// /conv2/Conv 24 → 12
	// /conv3/Conv 32 → 16
	// /fc1/Gemm   48 → 24
	// /fc2/Gemm   10 → 10
	// refitted on 450 images, 50 are left to judge the result
	// 6194 parameters
}

// Without any data channels are merged by their weights.
func ExampleModel_withoutData() {
	wide, err := onnxio.Load("../testdata/cnn_a.onnx")
	if err != nil {
		log.Fatal(err)
	}
	o := compress.Options{MACs: 0.6, Multiple: 4}
	o.NoData = true
	_, report, err := compress.Model(context.Background(), wide, o)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d of %d MACs are left\n", report.After.MACs, report.Before.MACs)
	// Output: 560312 of 945696 MACs are left
}
