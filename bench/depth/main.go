//go:build unix

// Command depth measures what the statistics of a compression cost, in forward passes of the wide
// model over the same images with the same threads. The cost of one pass does not depend on depth,
// so the ratio should not either.
//
//	go run ./bench/depth [-images N] [-keep F] MODEL...
//
// Images are noise, nothing is distilled, and channels are chosen by elimination, whose statistics
// come before those of the refit. Wall time is followed by processor time, which a busy machine
// distorts less. The last column compares what N images cost beyond N/2 images: it leaves out
// solves and whatever else does not depend on the data.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

func main() {
	images := flag.Int("images", 1000, "number of images")
	keep := flag.Float64("keep", 0.75, "share of the channels that every space keeps")
	threads := flag.Int("threads", 1, "threads for both")
	flag.Parse()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "model\tforward s\tCPU s\tcompress s\tCPU s\tchoice s\trefit statistics s\trefit solves s\trefit statistics/forward\tchoice/forward\tCPU per image/forward\t")
	for _, path := range flag.Args() {
		if err := measure(w, path, *images, *keep, *threads); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	w.Flush()
}

func measure(w *tabwriter.Writer, path string, images int, keep float64, threads int) error {
	ctx := context.Background()
	m, err := onnxio.Load(path)
	if err != nil {
		return err
	}
	data, err := noise(m, images)
	if err != nil {
		return err
	}
	var report *compress.Report
	var passes, runs [2]seconds
	for i, d := range []*dataset.Data{data, data.Sample(images/2, 1)} {
		if passes[i], err = best(3, func() error { return forward(ctx, m, d, threads) }); err != nil {
			return err
		}
		var r *compress.Report
		if runs[i], err = best(1, func() error {
			_, r, err = compress.Model(ctx, m, compress.Options{Keep: keep, Options: job.Options{Data: d, Tune: job.Off, Threads: threads, NoEval: true}})
			return err
		}); err != nil {
			return err
		}
		if i == 0 {
			report = r
		}
	}
	pass, whole := passes[0], runs[0]
	// What is neither refit nor its solves is, but for little, the choice of channels with its
	// statistics.
	choice := whole.wall - report.Refit.Statistics - report.Refit.Solves
	fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t%.1f\t\n", path, pass.wall, pass.cpu, whole.wall, whole.cpu,
		choice, report.Refit.Statistics, report.Refit.Solves, report.Refit.Statistics/pass.wall, choice/pass.wall,
		(whole.cpu-runs[1].cpu)/(pass.cpu-passes[1].cpu))
	return nil
}

// forward runs the model over the data.
func forward(ctx context.Context, m *onnxio.Model, data *dataset.Data, threads int) error {
	s, err := engine.Open(m, engine.Options{Threads: threads})
	if err != nil {
		return err
	}
	defer s.Close()
	return dataset.StreamSession(ctx, s, data, dataset.StreamOptions{}, func(int, int, map[string]*engine.Value) error { return nil })
}

// noise makes normally distributed images of the model's input size.
func noise(m *onnxio.Model, n int) (*dataset.Data, error) {
	inputs, err := engine.Inputs(m)
	if err != nil {
		return nil, err
	}
	in := inputs[0]
	dims := []int{n}
	size := n
	for _, d := range in.Dims[1:] {
		dims = append(dims, int(d))
		size *= int(d)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, size)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return dataset.New("noise", map[string]*engine.Value{in.Name: engine.Float32(v, dims...)}, nil)
}

// seconds of a run by two clocks.
type seconds struct{ wall, cpu float64 }

// best returns the least times of several runs.
func best(runs int, f func() error) (s seconds, err error) {
	for i := range runs {
		start, busy := time.Now(), cpuTime()
		if err := f(); err != nil {
			return s, err
		}
		now := seconds{time.Since(start).Seconds(), cpuTime() - busy}
		if i == 0 {
			s = now
		}
		s = seconds{min(s.wall, now.wall), min(s.cpu, now.cpu)}
	}
	return s, nil
}

func cpuTime() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
