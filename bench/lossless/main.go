// Lossless strips models of what they do not need and prints one table: what went, how far the
// outputs moved, and latency before and after, measured in turns in one process.
//
//	go run ./bench/lossless [-shape name=1x3x320x320] model.onnx ...
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
)

func main() {
	threads := flag.Int("threads", 1, "threads of onnxruntime")
	verbose := flag.Bool("v", false, "print notes and what was left")
	shapes := map[string][]int{}
	flag.Func("shape", "shape of an input with free sizes, as in name=1x3x320x320", func(s string) error {
		name, dims, _ := strings.Cut(s, "=")
		for d := range strings.SplitSeq(dims, "x") {
			n, err := strconv.Atoi(d)
			if err != nil {
				return err
			}
			shapes[name] = append(shapes[name], n)
		}
		return nil
	})
	flag.Parse()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "model\tunread\tconstant\tduplicate\tnodes\tinitializers\tflushed\tparams\t\tdiff\ttolerance\tlatency\t")
	failed := false
	for _, path := range flag.Args() {
		if err := one(w, path, shapes, *threads, *verbose); err != nil {
			fmt.Fprintf(w, "%s\t%v\n", filepath.Base(path), err)
			failed = true
		}
	}
	w.Flush()
	if failed {
		os.Exit(1)
	}
}

func one(w *tabwriter.Writer, path string, shapes map[string][]int, threads int, verbose bool) error {
	ctx := context.Background()
	m, err := onnxio.Load(path)
	if err != nil {
		return err
	}
	out, r, err := lossless.Strip(ctx, m, lossless.Options{InputShapes: shapes, Threads: threads})
	if err != nil {
		return err
	}
	// In turns, and the best of three: another program may want the cores.
	ms := [2]float64{math.Inf(1), math.Inf(1)}
	for range 3 {
		for i, m := range []*onnxio.Model{m, out} {
			t, err := eval.Latency(ctx, m, eval.LatencyOptions{Threads: threads, Shapes: shapes})
			if err != nil {
				return err
			}
			ms[i] = min(ms[i], t.MedianMS)
		}
	}
	diff, tolerance := "", ""
	if r.Check != nil {
		diff, tolerance = fmt.Sprintf("%.2g", r.Check.Diff), fmt.Sprintf("%.2g", r.Check.Tolerance)
	}
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%.3g ms\t%.3g ms\n", filepath.Base(path), r.Unread, r.Constant, r.Duplicate,
		len(r.UnusedNodes), len(r.UnusedInitializers), r.FlushedValues(), r.ParamsBefore, r.ParamsAfter, diff, tolerance, ms[0], ms[1])
	if verbose {
		for _, l := range r.Left {
			fmt.Fprintf(os.Stderr, "%s: %s: %d left: %s\n", filepath.Base(path), l.Space, l.Channels, l.Reason)
		}
		for _, n := range r.Notes {
			fmt.Fprintf(os.Stderr, "%s: %s\n", filepath.Base(path), n)
		}
	}
	return nil
}
