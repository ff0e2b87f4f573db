package page_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
	"github.com/monge-ml/monge/report/page"
)

func Example() {
	a, err := onnxio.Load("../../testdata/resnet_a.onnx")
	if err != nil {
		log.Fatal(err)
	}
	b, err := onnxio.Load("../../testdata/cnn_a.onnx")
	if err != nil {
		log.Fatal(err)
	}
	found, err := diff.Models(context.Background(), a, b, diff.Options{})
	if err != nil {
		log.Fatal(err)
	}
	r := report.Compare([2]string{a.Path, b.Path}, report.Measured{}, report.Measured{}, found)
	p, err := page.Difference(r, page.About{Command: "an example"})
	if err != nil {
		log.Fatal(err)
	}
	var text strings.Builder
	if err := page.Render(&text, p); err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.HasPrefix(text.String(), "<!DOCTYPE html>"), strings.Contains(text.String(), "dropped"))
	// Output: true true
}
