//go:build cgo

// Command zoo shows, for all ONNX files in some folders, how much of them can be narrowed, what
// cannot and why, and what becomes of them when every space keeps 90, 75 and 50 % of its channels
// without any data. See README.md.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

type options struct {
	keep    []float64
	shapes  map[string][]int // sizes of inputs, by name
	values  map[string]float64
	threads int
}

func main() {
	o := options{keep: []float64{0.9, 0.75, 0.5}, shapes: map[string][]int{}, values: map[string]float64{}}
	jsonFile := flag.String("json", "", "write all results to `FILE`")
	flag.IntVar(&o.threads, "threads", 1, "threads of onnxruntime")
	flag.Func("shape", "`NAME=1x3x32x32`: sizes of an input with free dimensions (may be repeated)", o.addShape)
	flag.Func("value", "`NAME=V`: fill an input with a number instead of random ones (may be repeated)", o.addValue)
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: zoo [flags] FOLDER...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	failed, err := run(flag.Args(), o, *jsonFile, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "zoo: "+err.Error())
		os.Exit(1)
	}
	if failed {
		os.Exit(1)
	}
}

func (o *options) addShape(s string) error {
	name, list, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("want NAME=1x3")
	}
	var shape []int
	for _, d := range strings.Split(list, "x") {
		n, err := strconv.Atoi(d)
		if err != nil {
			return err
		}
		shape = append(shape, n)
	}
	o.shapes[name] = shape
	return nil
}

func (o *options) addValue(s string) error {
	name, v, _ := strings.Cut(s, "=")
	x, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return fmt.Errorf("want NAME=NUMBER")
	}
	o.values[name] = x
	return nil
}

// result is what was found out about one model.
type result struct {
	Model  string  `json:"model"`
	Params int64   `json:"params"`
	MACs   int64   `json:"macs"`
	Share  float64 `json:"narrowable_share"`
	Spaces int     `json:"spaces"`
	// Frozen counts the spaces that may not change by reason, Rigid those that may be permuted
	// only.
	Frozen map[string]int `json:"frozen"`
	Rigid  map[string]int `json:"rigid"`
	Narrow []narrow       `json:"narrow"`
	Error  string         `json:"error,omitempty"`
}

// narrow is what became of a model that keeps a share of its channels.
type narrow struct {
	Keep   float64 `json:"keep"`
	Params int64   `json:"params"`
	MACs   int64   `json:"macs"`
	// Cosine with the original, the least of all outputs.
	Cosine float64 `json:"cosine"`
	// Latency is that of the narrow model over that of the original, medians of alternating runs.
	Latency float64 `json:"latency_ratio"`
	Error   string  `json:"error,omitempty"`
}

// run goes through all models below the folders and reports whether one failed.
func run(folders []string, o options, jsonFile string, out, progress io.Writer) (failed bool, err error) {
	var all []*result
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".onnx" {
				return err
			}
			fmt.Fprintln(progress, path)
			r := &result{Model: path}
			if err := r.examine(path, o); err != nil {
				r.Error = err.Error()
			}
			all = append(all, r)
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	for _, r := range all {
		failed = failed || r.Error != "" || slices.ContainsFunc(r.Narrow, func(n narrow) bool { return n.Error != "" })
	}
	print(out, all)
	if jsonFile == "" {
		return failed, nil
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return failed, err
	}
	return failed, os.WriteFile(jsonFile, append(text, '\n'), 0o644)
}

func (r *result) examine(path string, o options) error {
	m, err := onnxio.Load(path)
	if err != nil {
		return err
	}
	shapes := o.shapesOf(m)
	s, err := edit.NewSubject(m, coupling.Options{InputShapes: shapes})
	if err != nil {
		return err
	}
	r.Params, r.Share, r.Spaces = s.Analysis.Params(nil), s.Analysis.NarrowableShare(), len(s.Analysis.Spaces)
	r.MACs, _ = s.Analysis.MACs(nil)
	r.Frozen, r.Rigid = map[string]int{}, map[string]int{}
	for _, sp := range s.Analysis.Spaces {
		switch {
		case sp.Frozen:
			r.Frozen[sp.Reason]++
		case sp.Rigid != "":
			r.Rigid[sp.Rigid]++
		}
	}
	session, err := engine.Open(m, engine.Options{Threads: o.threads, Strict: true})
	if err != nil {
		return err
	}
	defer session.Close()
	feeds := o.feeds(session.Inputs())
	want, err := session.Run(context.Background(), feeds)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "zoo-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, keep := range o.keep {
		n := narrow{Keep: keep}
		if err := n.make(m, filepath.Join(dir, "narrow.onnx"), compress.Options{Keep: keep, Options: job.Options{NoData: true, InputShapes: shapes}}, o, session, feeds, want); err != nil {
			n.Error = err.Error()
		}
		r.Narrow = append(r.Narrow, n)
	}
	return nil
}

// make compresses, writes and reads the model, and runs it beside the original.
func (n *narrow) make(m *onnxio.Model, path string, c compress.Options, o options, wide *engine.Session, feeds, want map[string]*engine.Value) error {
	small, report, err := compress.Model(context.Background(), m, c)
	if err != nil {
		return err
	}
	n.Params, n.MACs = report.After.Params, report.After.MACs
	if err := onnxio.Save(context.Background(), path, small, onnxio.SaveOptions{}); err != nil {
		return err
	}
	if small, err = onnxio.Load(path); err != nil {
		return err
	}
	session, err := engine.Open(small, engine.Options{Threads: o.threads, Strict: true})
	if err != nil {
		return err
	}
	defer session.Close()
	have, err := session.Run(context.Background(), feeds)
	if err != nil {
		return err
	}
	if n.Cosine, err = cosine(want, have); err != nil {
		return err
	}
	n.Latency, err = ratio(session, wide, feeds)
	return err
}

// cosine is the least of all outputs, which must have the same names and shapes.
func cosine(want, have map[string]*engine.Value) (float64, error) {
	least := 1.0
	if len(want) != len(have) {
		return 0, fmt.Errorf("%d outputs, want %d", len(have), len(want))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w, h := want[name], have[name]
		if h == nil || !slices.Equal(w.Dims, h.Dims) {
			return 0, fmt.Errorf("output %q is %v, want %v", name, h, w.Dims)
		}
		var xy, xx, yy float64
		y := h.Float64()
		for i, x := range w.Float64() {
			xy, xx, yy = xy+x*y[i], xx+x*x, yy+y[i]*y[i]
		}
		if xx > 0 && yy > 0 {
			least = min(least, xy/math.Sqrt(xx*yy))
		}
	}
	return least, nil
}

// ratio is the median latency of one session over that of another, in alternating runs.
func ratio(a, b *engine.Session, feeds map[string]*engine.Value) (float64, error) {
	const least, enough = 5, time.Second
	var times [2][]time.Duration
	for start := time.Now(); len(times[0]) < least || time.Since(start) < enough && len(times[0]) < 200; {
		for i, s := range []*engine.Session{a, b} {
			before := time.Now()
			if _, err := s.Run(context.Background(), feeds); err != nil {
				return 0, err
			}
			times[i] = append(times[i], time.Since(before))
		}
	}
	for i := range times {
		slices.Sort(times[i])
	}
	half := len(times[0]) / 2
	return float64(times[0][half]) / float64(times[1][half]), nil
}

// feeds makes seeded random inputs; free dimensions that no flag gives are 1.
func (o *options) feeds(inputs []engine.IOInfo) map[string]*engine.Value {
	rng := rand.New(rand.NewPCG(1, 2))
	feeds := map[string]*engine.Value{}
	for _, in := range inputs {
		shape, ok := o.shapes[in.Name]
		if !ok || len(shape) != len(in.Dims) { // of another model's input
			shape = nil
			for _, d := range in.Dims {
				shape = append(shape, max(1, int(d)))
			}
		}
		n := 1
		for _, d := range shape {
			n *= d
		}
		v := make([]float64, n)
		for i := range v {
			x, given := o.values[in.Name]
			switch {
			case given:
				v[i] = x
			case in.Type == onnxio.Float || in.Type == onnxio.Float16 || in.Type == onnxio.Double:
				v[i] = rng.Float64()
			default:
				v[i] = float64(rng.IntN(2))
			}
		}
		feeds[in.Name] = onnxio.NewTensor(in.Name, in.Type, shape, v)
	}
	return feeds
}

// shapesOf are the given sizes of inputs that the model has.
func (o *options) shapesOf(m *onnxio.Model) map[string][]int {
	shapes := map[string][]int{}
	for _, v := range m.Proto.GetGraph().GetInput() {
		if dims, _, ranked := onnxio.Dims(v); ranked && len(o.shapes[v.GetName()]) != len(dims) {
			continue
		}
		if s, ok := o.shapes[v.GetName()]; ok {
			shapes[v.GetName()] = s
		}
	}
	return shapes
}

func print(out io.Writer, all []*result) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "params\tMACs\tnarrowable\tkeep\tparams\tMACs\tcosine\tlatency\t  model")
	for _, r := range all {
		name := filepath.Base(r.Model)
		if r.Error != "" {
			fmt.Fprintf(w, "\t\t\t\t\t\t\t\t  %s: %s\n", name, r.Error)
			continue
		}
		for i, n := range r.Narrow {
			if i == 0 {
				fmt.Fprintf(w, "%d\t%d\t%.1f %%\t", r.Params, r.MACs, 100*r.Share)
			} else {
				fmt.Fprint(w, "\t\t\t")
			}
			if n.Error != "" {
				fmt.Fprintf(w, "%.2f\t\t\t\t\t  %s: %s\n", n.Keep, name, n.Error)
				continue
			}
			fmt.Fprintf(w, "%.2f\t%.3f\t%.3f\t%.3f\t%.2f\t  %s\n", n.Keep, part(n.Params, r.Params), part(n.MACs, r.MACs), n.Cosine, n.Latency, name)
		}
	}
	w.Flush()
	fmt.Fprintln(out, "\nparams, MACs and latency of a narrow model are shares of the original's.\nWhat stays as it is:")
	for _, r := range all {
		fmt.Fprintf(out, "  %s, %d spaces\n", filepath.Base(r.Model), r.Spaces)
		for _, list := range []struct {
			what string
			n    map[string]int
		}{{"frozen", r.Frozen}, {"permuted only", r.Rigid}} {
			for _, why := range slices.SortedFunc(maps.Keys(list.n), func(a, b string) int { return cmp.Or(list.n[b]-list.n[a], strings.Compare(a, b)) }) {
				fmt.Fprintf(out, "    %3d %s: %s\n", list.n[why], list.what, why)
			}
		}
	}
}

func part(a, b int64) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}
