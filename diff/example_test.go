package diff_test

import (
	"context"
	"fmt"
	"log"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// What compress does to a model.
func ExampleModels() {
	wide, err := onnxio.Load("../testdata/mlp_a.onnx")
	if err != nil {
		log.Fatal(err)
	}
	narrow, _, err := compress.Model(context.Background(), wide, compress.Options{Keep: 0.5, Options: job.Options{NoData: true}})
	if err != nil {
		log.Fatal(err)
	}
	r, err := diff.Models(context.Background(), wide, narrow, diff.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Verdict)
	for _, s := range r.Spaces {
		if s.Before != s.After {
			fmt.Printf("%s: %d → %d\n", s.Name, s.Before, s.After)
		}
	}
	// Output:
	// the same network, 2 of 3 layers narrower, 5 of 6 weights changed
	// /fc1/Gemm: 64 → 32
	// /fc2/Gemm: 32 → 16
}
