package fuse_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/align"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// perceptron makes a network of the shape of the MNIST pair in the paper's
// experiments, 784-400-200-100-10 without biases, with random weights.
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

// BenchmarkPerceptrons aligns and averages two networks, reading and writing
// apart. By activations it includes opening two sessions, which sessions
// measures alone.
func BenchmarkPerceptrons(b *testing.B) {
	ctx := context.Background()
	models := []*onnxio.Model{perceptron(1), perceptron(2)}
	rng := rand.New(rand.NewPCG(3, 1))
	x := make([]float32, 200*784)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	data, err := engine.NewData("noise", map[string]*engine.Value{"x": engine.Float32(x, 200, 784)}, nil)
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, o fuse.Options) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := fuse.Models(ctx, models, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("weights", fuse.Options{})
	if _, err := engine.Available(); err != nil {
		b.Skip(err)
	}
	run("activations", fuse.Options{Align: align.Options{By: align.Activations, Data: data}, Refit: fuse.RefitOff})
	b.Run("sessions", func(b *testing.B) {
		for b.Loop() {
			for _, m := range models {
				s, err := engine.Open(m, engine.Options{Outputs: []string{"h0", "h1", "h2"}})
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		}
	})
}
