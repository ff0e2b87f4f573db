package main

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/diff"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
	"github.com/monge-ml/monge/report/page"
)

type evalFlags struct {
	data      dataFlags
	shapes    shapeFlags
	task      taskFlags
	runs      int
	noLatency bool
	metric    metricFlags
	page      pageFlags
}

func (a *app) evalCommand() *cobra.Command {
	var f evalFlags
	cmd := &cobra.Command{
		Use:               "eval MODEL [MODEL...] --data D",
		Short:             "Compare models on data: accuracy, agreement, size, latency",
		Long:              evalHelp,
		Example:           evalExamples,
		Args:              takes(1, math.MaxInt, "one model or more"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(
				usageIf(f.data.path == "", "--data is missing (--data none measures size and latency alone)"),
				usageIf(f.runs < 0, "--runs is %d: want a positive number, or 0 for %d", f.runs, eval.MinRuns),
				f.metric.check(cmd),
				f.data.check(cmd),
			); err != nil {
				return err
			}
			return a.eval(cmd.Context(), args, &f)
		}),
	}
	f.page.add(cmd)
	outputGroup.in(cmd)
	f.data.add(cmd, &f.shapes, "`PATH` of a data set to run (none: size and latency alone); see monge --help")
	cmd.Flags().IntVar(&f.runs, "runs", 0, "least number of timed runs (0: 30)")
	cmd.Flags().Var(&f.data.memory, "memory", "refuse models that take more than `BYTES` of memory, as in 8GB, for one sample, and data that do (default: 4GB, and what is free)")
	cmd.Flags().BoolVar(&f.noLatency, "no-latency", false, "do not measure latency")
	f.metric.add(cmd, "it is asked for every model")
	f.task.add(cmd)
	measureGroup.in(cmd)
	return cmd
}

func (a *app) eval(ctx context.Context, paths []string, f *evalFlags) error {
	if err := a.named(); err != nil {
		return err
	}
	f.data.bound(a)
	if err := f.page.check(a, "", append([]string{f.data.path, f.data.classes}, paths...)...); err != nil {
		return err
	}
	models, shapes, err := f.shapes.load(paths)
	if err != nil {
		return err
	}
	metric := f.metric.metric(a, "the first model", fmt.Sprintf("%s to come", callsText(len(models)-1)))
	r := &report.Evaluation{Metric: f.metric.told}
	var evals []eval.Result
	var data *dataset.Data
	if f.data.given() {
		if data, err = f.data.open(a, models[0]); err != nil {
			return err
		}
	}
	if err := f.page.reads(a, models, data); err != nil {
		return err
	}
	if data != nil {
		data, evals, shapes, err = a.evalData(ctx, models, data, shapes, f, r)
	} else {
		evals, err = a.evalLatency(ctx, models, shapes, f)
	}
	if err != nil {
		return err
	}
	for i, e := range evals {
		if metric.Given() {
			x, err := metric.File(ctx, paths[i])
			if err != nil {
				return in(paths[i], err)
			}
			e.Metric = &x
		}
		j := report.Judge(e)
		if data != nil {
			j.Changes = eval.Changes(evals[0], e, data)
		}
		if size, err := measure(models[i], shapes); err == nil {
			j.MACs, j.OpenDims = &size.MACs, size.OpenDims
		} else {
			a.warn("MACs are not known: %s", oneLine(in(paths[i], err)))
		}
		if e.Reduced || e.Latency != nil && e.Latency.Reduced {
			a.note("%s: onnxruntime's optimiser fails on it: it ran with fewer optimisations", paths[i])
		}
		if e.Latency != nil {
			r.Threads = e.Latency.Threads
		}
		r.Models = append(r.Models, j)
	}
	r.Warnings, r.Cost = a.said(), a.cost()
	if f.page.given() {
		if err := f.show(ctx, a, r, models, data, shapes); err != nil {
			return err
		}
	}
	return a.show(r)
}

// show writes a page.
func (f *evalFlags) show(ctx context.Context, a *app, r *report.Evaluation, models []*onnxio.Model, data *dataset.Data, shapes map[string][]int) (err error) {
	var stages []diff.Stage
	if len(models) == 2 {
		if stages, err = page.Stages(ctx, models[0], models[1], shapes); err != nil {
			return err
		}
	}
	samples := make([]*page.Samples, len(models)-1)
	for i := range samples {
		if samples[i], err = page.Changed(r.Models[i+1].Changes, models[0], data); err != nil {
			return err
		}
	}
	p, err := page.Evaluation(r, stages, samples, a.about())
	if err != nil {
		return err
	}
	return f.page.render(ctx, a, p)
}

// evalData runs the models on data, and returns those that they ran on.
func (a *app) evalData(ctx context.Context, models []*onnxio.Model, data *dataset.Data, shapes map[string][]int, f *evalFlags, r *report.Evaluation) (_ *dataset.Data, _ []eval.Result, _ map[string][]int, err error) {
	if data, err = f.data.whole(ctx, a, models, data); err != nil {
		return nil, nil, nil, err
	}
	given, err := f.task.tasks(models[0])
	if err != nil {
		return nil, nil, nil, err
	}
	r.Data, r.Samples = f.data.path, data.Len()
	o := eval.Options{Runs: f.runs, NoLatency: f.noLatency, StreamOptions: a.stream("running the models", f.data.batch)}
	if r.Tasks, err = eval.FindTasks(ctx, models[:1], data, given, o.StreamOptions); err != nil {
		return nil, nil, nil, err
	}
	o.Outputs = r.Tasks
	for _, m := range models {
		shapes = dataset.Shapes(m, data, shapes)
	}
	evals, err := eval.Models(ctx, models, data, o)
	if err == nil && evals[0].Doubt != "" {
		a.warn("%s: labels are not used: %s", data.Name(), evals[0].Doubt)
		data = data.Unlabelled()
	}
	return data, evals, shapes, err
}

// evalLatency measures what can be had without data.
func (a *app) evalLatency(ctx context.Context, models []*onnxio.Model, shapes map[string][]int, f *evalFlags) ([]eval.Result, error) {
	evals := make([]eval.Result, len(models))
	for i, m := range models {
		evals[i].Model = m.Path
		evals[i].Params, evals[i].Bytes = m.Size()
		if f.noLatency {
			continue
		}
		if err := needShapes(m, shapes); err != nil {
			return nil, err
		}
	}
	if f.noLatency {
		return evals, nil
	}
	if err := eval.Admit(ctx, models, eval.AdmitOptions{Shapes: shapes, Trial: a.trial}); err != nil {
		return nil, err
	}
	timings, err := eval.Latencies(ctx, models, eval.LatencyOptions{Threads: a.threads, Runs: f.runs, Shapes: shapes})
	for i := range timings {
		evals[i].Latency = &timings[i]
	}
	return evals, err
}
