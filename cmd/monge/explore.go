package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
	"github.com/monge-ml/monge/report/page"
)

type exploreFlags struct {
	at        []float64
	merge     bool
	evalData  string
	noLatency bool
	metric    metricFlags
	page      pageFlags
	widths    widthFlags
	run       runFlags
	settings  string // flags that the models depend on
}

func (a *app) exploreCommand() *cobra.Command {
	f := exploreFlags{at: []float64{0.9, 0.75, 0.5, 0.25}, run: runFlags{lossless: true, samples: 200, tune: -1}}
	cmd := &cobra.Command{
		Use:               "explore (MODEL --data D -o DIR | --merge DIR DIR...)",
		Short:             "Make a model narrower to several degrees, and tell what each costs",
		Long:              exploreHelp,
		Example:           "  monge explore model.onnx --data images.npz --scale 1/255 -o models\n  monge explore model.onnx --data images/ -o models --at 0.8,0.6,0.4 \\\n      --metric 'python map.py {model}' --report curve.html\n  monge explore --merge job1 job2 -o all",
		Args:              takes(1, math.MaxInt, "one model, or with --merge folders"),
		ValidArgsFunction: completeModels,
		RunE: running(func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, args); err != nil {
				return err
			}
			if f.merge {
				return a.merge(cmd.Context(), args, &f)
			}
			return a.explore(cmd.Context(), args[0], &f)
		}),
	}
	fs := cmd.Flags()
	fs.StringVarP(&f.run.output.path, "output", "o", "", "`DIR` that the models and explore.json are written to; it is made if there is none, and models that are there already are not made again")
	fs.BoolVar(&f.merge, "merge", false, "make nothing: the arguments are folders of explorations of one model on the same data, of which one table becomes")
	f.page.add(cmd)
	outputGroup.in(cmd)
	numbersFlag(fs, &f.at, "at", "`LIST` of the shares of the multiply-accumulates that models are made for")
	f.widths.add(cmd)
	widthGroup.in(cmd)
	f.run.data.add(cmd, &f.run.shapes, "`PATH` of a data set to work with; see monge --help")
	f.run.addSamples(cmd)
	f.run.addMemory(cmd)
	refitGroup.in(cmd)
	fs.StringVar(&f.evalData, "eval-data", "", "`PATH` of a data set that the models are judged on (default: samples held out of --data)")
	f.metric.add(cmd, "the knee and the front are then found by it")
	fs.BoolVar(&f.noLatency, "no-latency", false, "do not measure latency")
	f.run.task.add(cmd)
	measureGroup.in(cmd)
	return cmd
}

// notInSettings are the flags that neither the models nor what is said of them depend on, or that are told
// in another way.
var notInSettings = []string{
	"at", "output", "merge", "report", "data", "eval-data", "classes", "memory", "batch", "no-latency", "metric-time",
	"json", "quiet", "threads", "preset", "scale", "mean", "std",
}

// check finds mistakes that need no file to be seen.
func (f *exploreFlags) check(cmd *cobra.Command, args []string) error {
	if f.merge {
		err := usageIf(len(args) < 2, "--merge takes two folders or more")
		cmd.Flags().Visit(func(g *pflag.Flag) {
			if err == nil && !slices.Contains([]string{"merge", "output", "report", "json", "quiet", "threads"}, g.Name) {
				err = usagef("--%s has no place beside --merge, which makes no models", g.Name)
			}
		})
		return err
	}
	bad := slices.IndexFunc(f.at, func(x float64) bool { return !(x > 0 && x <= 1) })
	if bad >= 0 {
		return usagef("--at has %g: want shares above 0, up to 1%s", f.at[bad], perhapsShare(f.at[bad]))
	}
	slices.SortFunc(f.at, func(a, b float64) int { return cmp.Compare(b, a) })
	f.at = slices.Compact(f.at)
	settings := []string{}
	cmd.Flags().Visit(func(g *pflag.Flag) {
		if !slices.Contains(notInSettings, g.Name) {
			settings = append(settings, fmt.Sprintf("--%s %s", g.Name, g.Value))
		}
	})
	slices.Sort(settings)
	f.settings = strings.Join(settings, " ")
	return cmp.Or(
		usageIf(len(args) != 1, "explore takes one model, got %d; --merge takes folders", len(args)),
		usageIf(len(f.at) == 0, "--at has no share"),
		usageIf(f.run.output.path == "", "-o is missing: which folder shall the models go to?"),
		usageIf(!f.run.data.given(), "--data is missing: the models are fitted and judged on it"),
		usageIf(f.run.refitSamples < 0, "--refit-samples is %d: want a positive number, or 0 for all", f.run.refitSamples),
		f.metric.check(cmd),
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
	return append(out, filepath.Join(f.run.output.path, tableName))
}

func (a *app) explore(ctx context.Context, path string, f *exploreFlags) (err error) {
	if err := a.named(); err != nil {
		return err
	}
	dir := f.run.output.path
	if err := f.page.check(a, "", path, f.run.data.path, f.run.data.classes, f.evalData); err != nil {
		return err
	}
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
	if err := f.page.reads(a, models, common.Data, common.EvalData); err != nil {
		return err
	}
	e := &exploration{exploreFlags: f, a: a, original: models[0], files: files, shapes: dataset.Shapes(models[0], common.Data, common.InputShapes)}
	if err := e.identify(ctx, common.Data, common.EvalData); err != nil {
		return err
	}
	pieces := e.pieces()
	e.asked = pieces.Original
	of, left := "the original", len(f.at)-len(e.known)
	if e.asked != nil {
		of, left = "the first model", left-1
	}
	metric := f.metric.metric(a, of, fmt.Sprintf("%s to come", callsText(left)))
	if measure := metric.Measure; metric.Given() {
		metric.Measure = func(ctx context.Context, path string) (float64, error) {
			x, err := measure(ctx, path)
			if e.asked == nil { // the original comes first
				e.asked = &x
			}
			return x, err
		}
	}
	done, err := compress.Explore(ctx, models[0], compress.Options{
		Options: common, Exclude: f.widths.exclude, KeepResidual: f.widths.keepResidual, Multiple: int(f.widths.multiple), Metric: metric,
	}, f.at, pieces)
	if err != nil {
		return in(path, err)
	}
	a.remark(&done.Report)
	r, err := e.table(ctx, done)
	if err != nil {
		return err
	}
	if err := f.page.show(ctx, a, r); err != nil {
		return err
	}
	return a.done(r)
}

func callsText(n int) string {
	if n == 1 {
		return "1 call"
	}
	return fmt.Sprintf("%d calls", n)
}

// show writes a page about an exploration, if one is wanted.
func (p *pageFlags) show(ctx context.Context, a *app, r *report.Exploration) error {
	if !p.given() {
		return nil
	}
	content, err := page.Exploration(r, a.about())
	if err != nil {
		return err
	}
	return p.render(ctx, a, content)
}

// An exploration is one that is under way.
type exploration struct {
	*exploreFlags
	a        *app
	original *onnxio.Model
	files    []outputFlags // of the points, and of the table
	known    []string      // models that were there already
	asked    *float64      // what the metric says of the original
	shapes   map[string][]int
	modelSum string
	dataSum  string
}

// pieceKey is where a model of an exploration says what it was made of.
const pieceKey = "monge.explore"

// A piece is what a model of an exploration says of itself, so that it is not made again.
type piece struct {
	Key      string   `json:"key"` // of all that it depends on
	Seconds  float64  `json:"seconds"`
	Metric   *float64 `json:"metric,omitempty"`
	Original *float64 `json:"original,omitempty"` // what the metric says of that
}

// identify takes the hashes of what is read.
func (e *exploration) identify(ctx context.Context, data ...*dataset.Data) error {
	list, err := filesOf([]*onnxio.Model{e.original})
	if err != nil {
		return err
	}
	if e.modelSum, err = sum(ctx, list, false); err != nil {
		return err
	}
	if list, err = filesOf(nil, data...); err != nil {
		return err
	}
	if e.run.data.classes != "" {
		if info, err := os.Stat(e.run.data.classes); err == nil && info.Mode().IsRegular() {
			list = append(list, e.run.data.classes)
		} else {
			e.settings += " --classes " + e.run.data.classes
		}
	}
	p := e.run.data.preprocess(nil)
	e.settings = strings.TrimSpace(fmt.Sprintf("%s --scale %g --mean %v --std %v", e.settings, p.Scale, p.Mean, p.Std))
	e.dataSum, err = sum(ctx, list, true)
	return err
}

// sum is the SHA-256 of some files, with their names and folders' names if these count; "" if one of
// them is a stream, which is read once.
func sum(ctx context.Context, paths []string, named bool) (string, error) {
	h := sha256.New()
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		if !info.Mode().IsRegular() {
			return "", nil
		}
		if named {
			fmt.Fprintf(h, "%q %q %d\n", filepath.Base(filepath.Dir(path)), filepath.Base(path), info.Size())
		}
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// key stands for all that the model of a share depends on.
func (e *exploration) key(share float64) string {
	text := fmt.Sprintf("%s\n%s\n%s\n%s\n%g", e.a.version, e.modelSum, e.dataSum, e.settings, share)
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
}

// pieces looks for models that an exploration which was stopped has left.
func (e *exploration) pieces() compress.Pieces {
	var out compress.Pieces
	known := map[float64]*compress.Point{}
	for i, share := range e.at {
		if e.modelSum == "" || e.dataSum == "" {
			break
		}
		m, err := onnxio.Load(e.files[i].path)
		if err != nil {
			continue
		}
		var p piece
		text, _ := m.Metadata(pieceKey)
		if json.Unmarshal([]byte(text), &p) != nil || p.Key != e.key(share) || e.metric.given() && (p.Metric == nil || p.Original == nil) {
			continue
		}
		size, err := measure(m, e.shapes)
		if err != nil {
			continue
		}
		known[share] = &compress.Point{Share: share, Model: m, Size: compress.Size{Params: size.Params, MACs: size.MACs, Open: size.OpenDims}, Seconds: p.Seconds}
		known[share].Result.Metric = p.Metric
		out.Original = p.Original
		e.known = append(e.known, e.files[i].path)
	}
	if len(e.known) > 0 && !e.a.quiet {
		e.a.say(fmt.Sprintf("%s: made before, of the same model, data and settings; not made again", strings.Join(e.known, ", ")))
	}
	out.Known = func(share float64) *compress.Point { return known[share] }
	out.Made = e.keep
	return out
}

// keep writes the model of a point, so that it need not be made again whatever becomes of the others.
func (e *exploration) keep(ctx context.Context, p *compress.Point) error {
	i := slices.Index(e.at, p.Share)
	told := piece{Key: e.key(p.Share), Seconds: p.Seconds, Metric: p.Result.Metric}
	told.Original = e.asked
	text, err := json.Marshal(told)
	if err != nil {
		return err
	}
	p.Model = p.Model.Clone()
	for _, m := range metadata(e.a) {
		p.Model.SetMetadata(m.key, m.value)
	}
	p.Model.SetMetadata(pieceKey, string(text))
	return e.files[i].write(ctx, e.a, p.Model, onnxio.SaveOptions{}, nil)
}

// table measures the models, and writes what is said of them.
func (e *exploration) table(ctx context.Context, done *compress.Exploration) (*report.Exploration, error) {
	a := e.a
	models := []*onnxio.Model{e.original}
	for _, p := range done.Points {
		models = append(models, p.Model)
	}
	var sizes []report.Size
	for _, m := range models {
		size, err := measure(m, done.Shapes)
		if err != nil {
			return nil, in(m.Path, err)
		}
		sizes = append(sizes, size)
	}
	r := report.Explore(e.original.Path, e.run.output.path, done, e.paths(e.original.Path), sizes)
	r.ModelSHA256, r.DataSHA256, r.Settings, r.Metric = e.modelSum, e.dataSum, e.settings, e.metric.told
	if !e.noLatency {
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
	table := besideFlag{out: e.files[len(e.files)-1]}
	return r, table.write(ctx, a, func(w io.Writer) error { return report.JSON(w, r) })
}

// tableName is the file of an exploration's table in its folder.
const tableName = "explore.json"

// merge makes one table of several.
func (a *app) merge(ctx context.Context, folders []string, f *exploreFlags) (err error) {
	var inputs []string
	var all []*report.Exploration
	for _, dir := range folders {
		path := filepath.Join(dir, tableName)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: there is no %s: perhaps that run has not ended; the same command again goes on where it stopped", dir, tableName)
		}
		if err != nil {
			return err
		}
		r := &report.Exploration{}
		if err := json.Unmarshal(text, r); err != nil {
			return fmt.Errorf("%s: it is no table of monge explore: %w", path, err)
		}
		for i, p := range r.Points { // the folder may have been moved since
			here := filepath.Join(dir, filepath.Base(p.Model))
			if _, err := os.Stat(here); err == nil {
				r.Points[i].Model = here
			}
		}
		inputs, all = append(inputs, path), append(all, r)
	}
	r, err := report.Merge(folders, all)
	if err != nil {
		return err
	}
	if err := f.page.check(a, "", inputs...); err != nil {
		return err
	}
	if dir := f.run.output.path; dir != "" {
		if os.Mkdir(dir, 0o777) == nil {
			defer func() {
				if err != nil {
					_ = os.Remove(dir) // if nothing is in it
				}
			}()
		}
		table := besideFlag{out: outputFlags{path: filepath.Join(dir, tableName), final: true}}
		if err := table.out.check(a, inputs...); err != nil {
			return err
		}
		r.Output, r.Cost = dir, a.cost()
		if err := table.write(ctx, a, func(w io.Writer) error { return report.JSON(w, r) }); err != nil {
			return err
		}
	}
	r.Cost = a.cost()
	if err := f.page.show(ctx, a, r); err != nil {
		return err
	}
	return a.done(r)
}
