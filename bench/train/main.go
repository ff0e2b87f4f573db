// Command train measures how fast a model is distilled and what memory that takes: images per
// second forwards, as the parent runs, and of whole steps (the parent's targets, forwards,
// backwards, update), with the model as its own parent and the child a copy with noise on its
// weights. Inputs are noise.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/memory"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/internal/tune"
	"github.com/monge-ml/monge/onnxio"
)

// settings are what the command line says.
type settings struct {
	batch, steps, threads int
	memory                int64
}

func main() {
	var s settings
	flag.IntVar(&s.batch, "batch", 16, "`SAMPLES` of one step")
	flag.IntVar(&s.steps, "steps", 6, "`STEPS` that are measured, after one that is not")
	flag.IntVar(&s.threads, "threads", 0, "`THREADS` of onnxruntime; 0: one for each core")
	flag.Int64Var(&s.memory, "memory", 0, "`BYTES` to get by with; 0: what is fast")
	flag.Parse()
	if flag.NArg() == 0 || s.batch < 1 || s.steps < 1 {
		fmt.Fprintln(os.Stderr, "usage: train [--batch N] [--steps N] [--threads N] [--memory BYTES] MODEL.onnx...")
		os.Exit(2)
	}
	for _, path := range flag.Args() {
		if err := s.measure(context.Background(), path); err != nil {
			fmt.Fprintf(os.Stderr, "train: %s: %v\n", path, err)
			os.Exit(1)
		}
	}
}

// measure prints the line of one model.
func (s settings) measure(ctx context.Context, path string) error {
	m, err := onnxio.Load(path)
	if err != nil {
		return err
	}
	if m, _, err = edit.FoldBatchNorm(m, nil); err != nil {
		return err
	}
	data, err := s.noise(m)
	if err != nil {
		return err
	}
	forwards, err := s.forwardRate(ctx, m, data)
	if err != nil {
		return err
	}
	trained, err := s.trainingRate(ctx, m, data)
	if err != nil {
		return err
	}
	peak, err := memory.Peak()
	if err != nil {
		return err
	}
	fmt.Printf("%-40s %8.1f forwards/s %8.2f trained/s %6d MB peak\n", path, forwards, trained, peak>>20)
	return nil
}

// noise makes as many samples as the steps take, and one step more.
func (s settings) noise(m *onnxio.Model) (*dataset.Data, error) {
	inputs, err := engine.Inputs(m)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	arrays := map[string]*engine.Value{}
	for _, in := range inputs {
		dims := []int{s.batch * (s.steps + 1)}
		for _, d := range in.Dims[1:] {
			dims = append(dims, int(max(d, 1)))
		}
		x := make([]float32, engine.Count(dims))
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		arrays[in.Name] = engine.Float32(x, dims...)
	}
	return dataset.New("noise", arrays, nil)
}

// forwardRate is the number of samples per second that the model predicts.
func (s settings) forwardRate(ctx context.Context, m *onnxio.Model, data *dataset.Data) (float64, error) {
	session, err := engine.Open(m, engine.Options{Threads: s.threads})
	if err != nil {
		return 0, err
	}
	defer session.Close()
	feed, err := data.For(session.Inputs())
	if err != nil {
		return 0, err
	}
	size := feed.BatchSize(s.batch)
	in, err := feed.Batch(0, size)
	if err != nil {
		return 0, err
	}
	if _, err := session.Run(ctx, in); err != nil { // what is allocated once
		return 0, err
	}
	runs, start := 0, time.Now()
	for ; runs < 3 || time.Since(start) < time.Second; runs++ {
		if _, err := session.Run(ctx, in); err != nil {
			return 0, err
		}
	}
	return float64(runs*size) / time.Since(start).Seconds(), nil
}

// trainingRate is the number of samples per second that a distillation goes through after its first
// step.
func (s settings) trainingRate(ctx context.Context, m *onnxio.Model, data *dataset.Data) (float64, error) {
	parent, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		return 0, err
	}
	child, err := shaken(m)
	if err != nil {
		return 0, err
	}
	var start time.Time
	rate := 0.0
	o := tune.Options{Data: data, Epochs: 1, HeldOut: data.Range(0, 1)}
	o.Batch, o.Threads, o.Memory = s.batch, s.threads, s.memory
	o.Progress = func(done, total int) {
		if done == 1 {
			start = time.Now()
		} else if done == total {
			rate = float64((total-1)*s.batch) / time.Since(start).Seconds()
		}
	}
	_, report, err := tune.Distill(ctx, child, teach.Parents{{Subject: parent, Share: 1}}, o)
	if err == nil && report.Note != "" {
		err = fmt.Errorf("not trained: %s", report.Note)
	}
	return rate, err
}

// shaken is a copy of a model with a little noise on the weights of its linear operators.
func shaken(m *onnxio.Model) (*onnxio.Model, error) {
	out := m.Clone()
	g, err := out.Graph()
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range g.Nodes {
		l, ok := g.Linear(n)
		if !ok || g.Constant(l.Weight.Name) == nil {
			continue
		}
		v, err := out.Tensor(g.Constant(l.Weight.Name))
		if err != nil {
			return nil, err
		}
		for i, x := range v.F32 {
			v.F32[i] = x * float32(1+0.02*rng.NormFloat64())
		}
		if err := g.SetConstant(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}
