package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

type exploreFlags struct {
	at        []float64
	evalData  string
	noLatency bool
	widths    widthFlags
	run       runFlags
}

func (a *app) exploreCommand() *cobra.Command {
	f := exploreFlags{at: []float64{0.9, 0.75, 0.5, 0.25}, run: runFlags{lossless: true, samples: 200, tune: -1}}
	cmd := &cobra.Command{
		Use:               "explore MODEL --data D -o DIR",
		Short:             "Make a model narrower to several degrees, and tell what each costs",
		Long:              exploreHelp,
		Example:           "  monge explore model.onnx --data images.npz --scale 1/255 -o models\n  monge explore model.onnx --data images/ -o models --at 0.8,0.6,0.4",
		Args:              takes(1, 1, "one model"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return a.explore(cmd.Context(), args[0], &f)
		}),
	}
	fs := cmd.Flags()
	fs.StringVarP(&f.run.output.path, "output", "o", "", "`DIR` that the models and explore.json are written to; it is made if there is none")
	outputGroup.in(cmd)
	numbersFlag(fs, &f.at, "at", "`LIST` of the shares of the multiply-accumulates that models are made for")
	f.widths.add(cmd)
	widthGroup.in(cmd)
	f.run.data.add(cmd, &f.run.shapes, "`PATH` of a data set to work with; see monge --help")
	f.run.addSamples(cmd)
	f.run.addMemory(cmd)
	refitGroup.in(cmd)
	fs.StringVar(&f.evalData, "eval-data", "", "`PATH` of a data set that the models are judged on (default: samples held out of --data)")
	fs.BoolVar(&f.noLatency, "no-latency", false, "do not measure latency")
	f.run.task.add(cmd)
	measureGroup.in(cmd)
	return cmd
}

// check finds mistakes that need no file to be seen.
func (f *exploreFlags) check(cmd *cobra.Command) error {
	bad := slices.IndexFunc(f.at, func(x float64) bool { return !(x > 0 && x <= 1) })
	if bad >= 0 {
		return usagef("--at has %g: want shares above 0, up to 1", f.at[bad])
	}
	slices.SortFunc(f.at, func(a, b float64) int { return cmp.Compare(b, a) })
	f.at = slices.Compact(f.at)
	return cmp.Or(
		usageIf(len(f.at) == 0, "--at has no share"),
		usageIf(f.run.output.path == "", "-o is missing: which folder shall the models go to?"),
		usageIf(!f.run.data.given(), "--data is missing: the models are fitted and judged on it"),
		usageIf(f.run.refitSamples < 0, "--refit-samples is %d: want a positive number, or 0 for all", f.run.refitSamples),
		f.run.data.check(cmd),
	)
}

// paths are those of the models, and last that of the table.
func (f *exploreFlags) paths(model string) []string {
	name := strings.TrimSuffix(filepath.Base(model), filepath.Ext(model))
	var out []string
	for _, share := range f.at {
		out = append(out, filepath.Join(f.run.output.path, fmt.Sprintf("%s-%g.onnx", name, share)))
	}
	return append(out, filepath.Join(f.run.output.path, "explore.json"))
}

func (a *app) explore(ctx context.Context, path string, f *exploreFlags) (err error) {
	if err := a.named(); err != nil {
		return err
	}
	dir := f.run.output.path
	if os.Mkdir(dir, 0o777) == nil {
		defer func() {
			if err != nil {
				_ = os.Remove(dir) // if nothing is in it
			}
		}()
	}
	files := make([]outputFlags, len(f.at)+1)
	for i, to := range f.paths(path) {
		files[i] = outputFlags{path: to, final: true}
		if err := files[i].check(a, path, f.run.data.path, f.run.data.classes, f.evalData); err != nil {
			return err
		}
	}
	models, common, err := f.run.load(a, []string{path})
	if err != nil {
		return err
	}
	if common.EvalData, err = f.run.evalSet(a, models[0], f.evalData); err != nil {
		return err
	}
	for i := range files {
		if err := files[i].readsAll(ctx, a, models, common.Data, common.EvalData); err != nil {
			return err
		}
	}
	done, err := compress.Explore(ctx, models[0], compress.Options{
		Options: common, Exclude: f.widths.exclude, KeepResidual: f.widths.keepResidual, Multiple: int(f.widths.multiple),
	}, f.at)
	if err != nil {
		return in(path, err)
	}
	a.remark(&done.Report)
	r, err := f.save(ctx, a, models[0], done, files)
	if err != nil {
		return err
	}
	return a.done(r)
}

// save writes the models and the table.
func (f *exploreFlags) save(ctx context.Context, a *app, original *onnxio.Model, done *compress.Exploration, files []outputFlags) (*report.Exploration, error) {
	whole, err := measure(original, done.Shapes)
	if err != nil {
		return nil, in(original.Path, err)
	}
	models, sizes := []*onnxio.Model{original}, []report.Size{whole}
	for i, p := range done.Points {
		size, err := files[i].save(ctx, a, p.Model, done.Shapes, whole.Bytes)
		if err != nil {
			return nil, err
		}
		models, sizes = append(models, p.Model), append(sizes, size)
	}
	r := report.Explore(original.Path, f.run.output.path, done, f.paths(original.Path), sizes)
	if !f.noLatency {
		timings, err := eval.Latencies(ctx, models, eval.LatencyOptions{Threads: a.threads, Data: done.Split.Judge, Shapes: done.Shapes})
		if err != nil {
			a.note("latency was not measured: %s", oneLine(err))
		}
		for i, t := range timings {
			q := &r.Before.Quality
			if i > 0 {
				q = &r.Points[i-1].Quality
			}
			q.LatencyMS, r.Threads = &t.MedianMS, t.Threads
		}
	}
	r.Warnings, r.Cost = a.said(), a.cost()
	table := besideFlag{out: files[len(files)-1]}
	return r, table.write(ctx, a, func(w io.Writer) error { return report.JSON(w, r) })
}
