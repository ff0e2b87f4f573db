package report_test

import (
	"log"
	"os"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// A result prints itself for a person, and is written as JSON for a program.
func ExampleJSON() {
	m, err := onnxio.Load("../testdata/mlp_a.onnx")
	if err != nil {
		log.Fatal(err)
	}
	s, err := report.StorageOf(m)
	if err != nil {
		log.Fatal(err)
	}
	r := &report.Conversion{Model: "a.onnx", Output: "b.onnx", Before: s, After: s}
	r.Print(os.Stdout)
	if err := report.JSON(os.Stdout, r.After); err != nil {
		log.Fatal(err)
	}
	// Output:
	// model file  data files  weights inside  outside
	// before      211 kB         0 B               6        0
	// after       211 kB         0 B               6        0
	//
	// b.onnx written in 0s
	// {
	//   "file_bytes": 211366,
	//   "external_bytes": 0,
	//   "tensors": 6,
	//   "external_tensors": 0,
	//   "data_files": []
	// }
}
