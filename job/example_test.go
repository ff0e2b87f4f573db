package job_test

import (
	"context"
	"fmt"
	"log"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// The same options say what a compression or a fusion works with: here no data, and nothing that
// does not have to be done. Its report says what was.
func ExampleOptions() {
	m, err := onnxio.Load("../testdata/mlp_a.onnx")
	if err != nil {
		log.Fatal(err)
	}
	o := job.Options{NoData: true, Lossless: job.Off}
	_, done, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Options: o})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("compared by %s, %d samples; parameters from %d to %d\n", done.By, done.Samples, done.Before.Params, done.After.Params)
	// Output: compared by weights, 0 samples; parameters from 52650 to 25818
}
