// Picture draws docs/frontier.svg: a small network of testdata at several shares of its
// multiply-accumulates, narrowed with unlabelled images, with made-up inputs and by weights alone,
// without a distillation, on 1,000 test images.
//
//	go run ./bench/picture > docs/frontier.svg
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

var (
	shares = []float64{0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15}
	digits = dataset.Preprocess{Scale: 1. / 255, Mean: []float64{0.1307}, Std: []float64{0.3081}}
)

// A curve is a way to narrow, with what came of it: shares of the multiply-accumulates, and top-1.
type curve struct {
	name, colour string
	o            job.Options
	x, y         []float64
}

func main() {
	log.SetFlags(0)
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	m, err := onnxio.Load("testdata/resnet_a.onnx")
	if err != nil {
		return err
	}
	images, err := dataset.Open("testdata/mnist_calib.npz", digits, dataset.Options{})
	if err != nil {
		return err
	}
	test, err := dataset.Open("testdata/mnist_test.npz", digits, dataset.Options{})
	if err != nil {
		return err
	}
	curves := []*curve{
		{name: "500 images without labels", colour: "#1769aa", o: job.Options{Data: images, Tune: job.Off, NoEval: true}},
		{name: "made-up inputs", colour: "#b3541e", o: job.Options{Tune: job.Off, NoEval: true}},
		{name: "weights alone", colour: "#777777", o: job.Options{NoData: true}},
	}
	for _, c := range curves {
		models := []*onnxio.Model{m}
		c.x = []float64{1}
		for _, share := range shares {
			out, r, err := compress.Model(ctx, m, compress.Options{MACs: share, Options: c.o})
			if err != nil {
				return err
			}
			models = append(models, out)
			c.x = append(c.x, float64(r.After.MACs)/float64(r.Before.MACs))
		}
		results, err := eval.Models(ctx, models, test, eval.Options{NoLatency: true})
		if err != nil {
			return err
		}
		for _, r := range results {
			c.y = append(c.y, *r.Top1)
		}
		fmt.Fprintf(os.Stderr, "%s: %.2f of the multiply-accumulates, top-1 %.3f\n", c.name, c.x, c.y)
	}
	fmt.Print(draw(curves))
	return nil
}

// The plot in pixels.
const (
	width, height                  = 720, 380
	left, right, top, bottom       = 70, 20, 20, 60
	plotWidth, plotHeight, pointAt = width - left - right, height - top - bottom, 3
)

func draw(curves []*curve) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	x := func(v float64) float64 { return left + plotWidth*(1-v) } // from all to nothing
	y := func(v float64) float64 { return top + plotHeight*(1-v) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="14">`, width, height)
	p(`<title>Accuracy of a narrowed network over its multiply-accumulates</title>`)
	p(`<rect width="%d" height="%d" fill="#ffffff"/>`, width, height)
	for i := 0; i <= 5; i++ {
		v := float64(i) / 5
		p(`<path d="M%.0f %.1fH%d" stroke="#dddddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#333333">%.0f %%</text>`, float64(left), y(v), width-right, left-8, y(v)+5, 100*v)
		p(`<text x="%.1f" y="%d" text-anchor="middle" fill="#333333">%.0f %%</text>`, x(v), height-bottom+20, 100*v)
	}
	p(`<text x="%d" y="%d" text-anchor="middle" fill="#333333">multiply-accumulates that are left</text>`, left+plotWidth/2, height-14)
	p(`<text transform="translate(18 %d) rotate(-90)" text-anchor="middle" fill="#333333">right of 1,000 test images</text>`, top+plotHeight/2)
	for i, c := range curves {
		var path strings.Builder
		for k := range c.x {
			fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[k == 0], x(c.x[k]), y(c.y[k]))
		}
		p(`<path d="%s" fill="none" stroke="%s" stroke-width="2.5"/>`, &path, c.colour)
		for k := range c.x {
			p(`<circle cx="%.1f" cy="%.1f" r="%d" fill="%s"/>`, x(c.x[k]), y(c.y[k]), pointAt, c.colour)
		}
		at := height - bottom - 70 + 22*i
		p(`<path d="M%d %dh26" stroke="%s" stroke-width="2.5"/><text x="%d" y="%d" fill="#333333">%s</text>`, left+16, at-5, c.colour, left+50, at, c.name)
	}
	p(`</svg>`)
	return b.String()
}
