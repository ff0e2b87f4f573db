package compress_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// Narrow a network to three quarters of its channels, comparing them by their
// weights.
func ExampleModel() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	wide, err := onnxio.Load("../testdata/cnn_a.onnx")
	if err != nil {
		log.Fatal(err)
	}
	narrow, report, err := compress.Model(context.Background(), wide, compress.Options{Keep: 0.75, Options: job.Options{NoData: true}})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range report.Spaces {
		fmt.Printf("%-11s %2d → %2d\n", s.Name, s.Before, s.After)
	}
	if err := onnxio.Save(context.Background(), filepath.Join(dir, "narrow.onnx"), narrow, onnxio.SaveOptions{}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// /conv1/Conv 12 →  9
	// /conv2/Conv 24 → 18
	// /conv3/Conv 32 → 24
	// /fc1/Gemm   48 → 36
	// /fc2/Gemm   10 → 10
}
