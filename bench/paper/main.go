// Paper repeats the experiments on MNIST of Singh & Jaggi, Model Fusion via Optimal Transport
// (NeurIPS 2020), with the networks that the authors published, and prints the tables of
// docs/paper.md. See README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// digits are how the networks were fed.
var digits = dataset.Preprocess{Scale: 1. / 255, Mean: []float64{0.1307}, Std: []float64{0.3081}}

// A bench holds the data, and the folder of the networks.
type bench struct {
	folder             string
	align, calib, test *dataset.Data
}

func main() {
	log.SetFlags(0)
	models := flag.String("models", "", "folder with mlpnet_a.onnx and others, see README.md")
	data := flag.String("data", "", "folder with mnist_align200.npz, mnist_calib.npz and mnist_test.npz")
	only := flag.String("only", "", "names of tables, with commas: pair, widths, split, many (default: all)")
	flag.Parse()
	if *models == "" || *data == "" {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*models, *data, *only); err != nil {
		log.Fatal(err)
	}
}

func run(models, data, only string) (err error) {
	b := &bench{folder: models}
	for name, to := range map[string]**dataset.Data{"mnist_align200": &b.align, "mnist_calib": &b.calib, "mnist_test": &b.test} {
		if *to, err = dataset.Open(filepath.Join(data, name+".npz"), digits, dataset.Options{}); err != nil {
			return err
		}
	}
	for _, t := range []struct {
		name string
		make func(context.Context) error
	}{{"pair", b.pair}, {"widths", b.widths}, {"split", b.split}, {"many", b.many}} {
		if only != "" && !strings.Contains(","+only+",", ","+t.name+",") {
			continue
		}
		if err := t.make(context.Background()); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

func (b *bench) load(names ...string) (out []*onnxio.Model, err error) {
	for _, n := range names {
		m, err := onnxio.Load(filepath.Join(b.folder, n+".onnx"))
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// decided are the classes that a model gives to the test images.
func (b *bench) decided(ctx context.Context, m *onnxio.Model) ([]int, error) {
	r, err := eval.Models(ctx, []*onnxio.Model{m}, b.test, eval.Options{NoLatency: true})
	if err != nil {
		return nil, err
	}
	return r[0].Decided, nil
}

// right is the share of the test images, of one class or (-1) of all, that are given their class.
func (b *bench) right(decided []int, class int) float64 {
	n, right := 0, 0
	for i, label := range b.test.Labels() {
		if class >= 0 && label != class {
			continue
		}
		n++
		if decided[i] == label {
			right++
		}
	}
	return float64(right) / float64(n)
}

// ensemble gives classes by the mean of what several models say of the test images, as the ensemble of the paper
// has it.
func (b *bench) ensemble(ctx context.Context, parents []*onnxio.Model) ([]int, error) {
	var sums [][]float64
	for _, m := range parents {
		s, err := engine.Open(m, engine.Options{})
		if err != nil {
			return nil, err
		}
		defer s.Close()
		feed, err := b.test.For(s.Inputs())
		if err != nil {
			return nil, err
		}
		for i := range b.test.Len() {
			in, err := feed.Batch(i, 1)
			if err != nil {
				return nil, err
			}
			out, err := s.Run(ctx, in)
			if err != nil {
				return nil, err
			}
			scores := out[s.Outputs()[0].Name].Float64()
			if len(sums) <= i {
				sums = append(sums, make([]float64, len(scores)))
			}
			for k, x := range scores {
				sums[i][k] += x
			}
		}
	}
	var out []int
	for _, row := range sums {
		out = append(out, slices.Index(row, slices.Max(row)))
	}
	return out, nil
}

// A table is printed line by line: what was made, its accuracy, perhaps that on one class, and how
// long it took to make.
type table struct {
	b     *bench
	class int // -1: none
}

func (b *bench) table(title string, class int) *table {
	of, line := "", ""
	if class >= 0 {
		of, line = fmt.Sprintf(" top-1 of digit %d |", class), "---|"
	}
	fmt.Printf("\n%s\n\n| model | top-1 |%s made in |\n|---|---|%s---|\n", title, of, line)
	return &table{b, class}
}

func (t *table) row(name string, decided []int, took time.Duration) {
	of, made := "", ""
	if t.class >= 0 {
		of = fmt.Sprintf(" %.2f |", 100*t.b.right(decided, t.class))
	}
	if took > 0 {
		made = fmt.Sprintf(" %.1f s", took.Seconds())
	}
	fmt.Printf("| %s | %.2f |%s%s |\n", name, 100*t.b.right(decided, -1), of, made)
}

// parents are the first rows: the models, and their ensemble.
func (t *table) parents(ctx context.Context, names []string, parents []*onnxio.Model) error {
	for i, m := range parents {
		d, err := t.b.decided(ctx, m)
		if err != nil {
			return err
		}
		t.row(names[i], d, 0)
	}
	d, err := t.b.ensemble(ctx, parents)
	if err == nil {
		t.row("ensemble", d, 0)
	}
	return err
}

// made is the row of a model that is made.
func (t *table) made(ctx context.Context, name string, make func() (*onnxio.Model, error)) error {
	start := time.Now()
	m, err := make()
	took := time.Since(start)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	d, err := t.b.decided(ctx, m)
	if err == nil {
		t.row(name, d, took)
	}
	return err
}

// ways are the children of some parents with some shares (nil: equal ones): the plain average,
// transport alone as in the paper, and what a refit and a distillation make of the unlabelled images.
func (t *table) ways(ctx context.Context, parents []*onnxio.Model, shares []float64, averages bool) error {
	if shares == nil {
		shares = make([]float64, len(parents))
		for i := range shares {
			shares[i] = 1 / float64(len(parents))
		}
	}
	fused := func(o fuse.Options) func() (*onnxio.Model, error) {
		return func() (*onnxio.Model, error) {
			m, _, err := fuse.Models(ctx, parents, o)
			return m, err
		}
	}
	alone := func(align string, data *dataset.Data) fuse.Options {
		return fuse.Options{Weights: shares, Options: job.Options{Align: align, Data: data}}
	}
	rows := []struct {
		name string
		o    fuse.Options
	}{
		{"vanilla average", alone("none", nil)},
		{"OT, by weights", alone("weights", nil)},
		{"OT, by activations of 200 images", alone("activations", t.b.align)},
		{"monge, refitted", fuse.Options{Options: job.Options{Data: t.b.calib, Tune: job.Off}}},
		{"monge, refitted and distilled", fuse.Options{Options: job.Options{Data: t.b.calib}}},
	}
	if !averages {
		rows = rows[1:]
	}
	for _, r := range rows {
		if err := t.made(ctx, r.name, fused(r.o)); err != nil {
			return err
		}
	}
	return nil
}

// of is a table of some models.
func (b *bench) of(ctx context.Context, title string, class int, averages bool, names ...string) error {
	parents, err := b.load(names...)
	if err != nil {
		return err
	}
	t := b.table(title, class)
	if err := t.parents(ctx, names, parents); err != nil {
		return err
	}
	return t.ways(ctx, parents, nil, averages)
}

func (b *bench) pair(ctx context.Context) error {
	return b.of(ctx, "Two networks", -1, true, "mlpnet_a", "mlpnet_b")
}

func (b *bench) many(ctx context.Context) error {
	return b.of(ctx, "Three networks", -1, true, "mlpnet_a", "hetero_narrow", "mlpnet_b")
}

// widths fuses a wide network with a narrow one, and moves it into the narrow one's widths.
func (b *bench) widths(ctx context.Context) error {
	names := []string{"hetero_wide", "hetero_narrow"}
	if err := b.of(ctx, "A wide network and a narrow one, onto the narrow one", -1, false, names...); err != nil {
		return err
	}
	parents, err := b.load(names...)
	if err != nil {
		return err
	}
	t := b.table("The wide network alone, in the widths of the narrow one", -1)
	for _, r := range []struct {
		name string
		o    job.Options
	}{
		{"transport, by activations of 200 images", job.Options{Align: "activations", Data: b.align}},
		{"monge, refitted", job.Options{Data: b.calib, Tune: job.Off}},
		{"monge, refitted and distilled", job.Options{Data: b.calib}},
	} {
		if err := t.made(ctx, r.name, func() (*onnxio.Model, error) {
			m, _, err := compress.Into(ctx, parents[0], parents[1], compress.Options{Options: r.o})
			return m, err
		}); err != nil {
			return err
		}
	}
	return nil
}

// split fuses a network that has seen a tenth of the images of nine digits and all of one, with one
// that has seen the rest, in several proportions.
func (b *bench) split(ctx context.Context) error {
	names := []string{"noniid_norm_same_a", "noniid_norm_same_b"}
	parents, err := b.load(names...)
	if err != nil {
		return err
	}
	class, err := b.unknown(ctx, parents[1])
	if err != nil {
		return err
	}
	if err := b.of(ctx, fmt.Sprintf("A network that knows digit %d, and one that has never seen it", class), class, true, names...); err != nil {
		return err
	}
	t := b.table("The same with other shares of the first one", class)
	for _, align := range []string{"none", "activations"} {
		for _, share := range []float64{0.2, 0.4, 0.6, 0.8} {
			o := fuse.Options{Weights: []float64{share, 1 - share}, Options: job.Options{Align: align}}
			if align != "none" {
				o.Data = b.align
			}
			name := map[string]string{"none": "vanilla", "activations": "OT"}[align]
			if err := t.made(ctx, fmt.Sprintf("%s, %.1f", name, share), func() (*onnxio.Model, error) {
				m, _, err := fuse.Models(ctx, parents, o)
				return m, err
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// unknown is the digit that a network knows least.
func (b *bench) unknown(ctx context.Context, m *onnxio.Model) (int, error) {
	d, err := b.decided(ctx, m)
	if err != nil {
		return 0, err
	}
	worst := 0
	for c := range 10 {
		if b.right(d, c) < b.right(d, worst) {
			worst = c
		}
	}
	return worst, nil
}
