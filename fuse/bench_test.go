package fuse_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// perceptron makes a network of the shape of the MNIST pair in the paper's experiments,
// 784-400-200-100-10 without biases, with random weights.
func perceptron(seed uint64) *onnxio.Model {
	rng := rand.New(rand.NewPCG(seed, 1))
	widths := []int{784, 400, 200, 100, 10}
	ptr := func(s string) *string { return &s }
	g := &onnxpb.GraphProto{Name: ptr("perceptron")}
	g.Input = []*onnxpb.ValueInfoProto{onnxio.NewValueInfo("x", onnxpb.TensorProto_FLOAT, "N", widths[0])}
	x := "x"
	node := func(op, out string, in ...string) {
		g.Node = append(g.Node, &onnxpb.NodeProto{OpType: ptr(op), Name: ptr(out), Input: in, Output: []string{out}})
		x = out
	}
	for l := range len(widths) - 1 {
		w := make([]float64, widths[l]*widths[l+1])
		for i := range w {
			w[i] = rng.NormFloat64() / float64(widths[l])
		}
		name := fmt.Sprint("w", l)
		g.Initializer = append(g.Initializer, onnxio.NewTensor(name, onnxio.Float, []int{widths[l], widths[l+1]}, w).Proto())
		node("MatMul", fmt.Sprint("h", l), x, name)
		if l < len(widths)-2 {
			node("Relu", fmt.Sprint("r", l), x)
		}
	}
	g.Output = []*onnxpb.ValueInfoProto{onnxio.NewValueInfo(x, onnxpb.TensorProto_FLOAT, "N", 10)}
	ir, version := int64(8), int64(17)
	return &onnxio.Model{Proto: &onnxpb.ModelProto{
		IrVersion: &ir, Graph: g, OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: ptr(""), Version: &version}},
	}}
}

// BenchmarkPerceptrons aligns and averages two networks, reading and writing apart. By activations,
// two sessions are opened at the same time, which is then done once more alone: align+average-ms is
// what is left without it, and sessions-ms what it takes.
func BenchmarkPerceptrons(b *testing.B) {
	ctx := context.Background()
	models := []*onnxio.Model{perceptron(1), perceptron(2)}
	rng := rand.New(rand.NewPCG(3, 1))
	x := make([]float32, 200*784)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	data, err := dataset.New("noise", map[string]*engine.Value{"x": engine.Float32(x, 200, 784)}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("weights", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := fuse.Models(ctx, models, fuse.Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	if _, err := engine.Available(); err != nil {
		b.Skip(err)
	}
	b.Run("activations", func(b *testing.B) {
		o := fuse.Options{Options: job.Options{Align: "activations", Data: data, Refit: job.Off}}
		var all, sessions time.Duration
		for b.Loop() {
			from := time.Now()
			if _, _, err := fuse.Models(ctx, models, o); err != nil {
				b.Fatal(err)
			}
			between := time.Now()
			var wait sync.WaitGroup
			for _, m := range models {
				wait.Go(func() {
					s, err := engine.Open(m, engine.Options{Outputs: []string{"h0", "h1", "h2"}})
					if err != nil {
						b.Error(err)
						return
					}
					s.Close()
				})
			}
			wait.Wait()
			all += between.Sub(from)
			sessions += time.Since(between)
		}
		ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 / float64(b.N) }
		b.ReportMetric(ms(all-sessions), "align+average-ms")
		b.ReportMetric(ms(sessions), "sessions-ms")
	})
}
