package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/latency/latencytest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/precision"
)

// A call is a command line and the same call of the library. Command lines of the documents are
// distilled for one epoch here, to be done soon.
type call struct {
	line    string
	library func(t *testing.T) (*onnxio.Model, error)
}

const (
	mnist = " --data testdata/mnist_calib.npz --scale 0.00392156862745098 --mean 0.1307 --std 0.3081"
	some  = mnist + " --limit 150"
)

func calls() []call {
	calib := func(t *testing.T) job.Options {
		return job.Options{Data: modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 150})}
	}
	narrow := func(name string, o compress.Options, with func(t *testing.T) job.Options) func(t *testing.T) (*onnxio.Model, error) {
		return func(t *testing.T) (*onnxio.Model, error) {
			if with != nil {
				o.Options = with(t)
			}
			m, _, err := compress.Model(context.Background(), modeltest.Load(t, name), o)
			return m, err
		}
	}
	merge := func(a, b string, o fuse.Options, with func(t *testing.T) job.Options) func(t *testing.T) (*onnxio.Model, error) {
		return func(t *testing.T) (*onnxio.Model, error) {
			if with != nil {
				o.Options = with(t)
			}
			m, _, err := fuse.Models(context.Background(), []*onnxio.Model{modeltest.Load(t, a), modeltest.Load(t, b)}, o)
			return m, err
		}
	}
	tuned := func(t *testing.T) job.Options {
		return job.Options{Data: modeltest.Data(t, "mnist_calib", dataset.Options{}), Tune: job.On, Epochs: 1}
	}
	refitted := func(t *testing.T) job.Options {
		o := calib(t)
		o.Tune = job.Off
		return o
	}
	return []call{
		{"compress testdata/cnn_a.onnx --keep 0.75 --multiple 4 --threads 1" + mnist + " --tune 1", func(t *testing.T) (*onnxio.Model, error) {
			o := compress.Options{Keep: 0.75, Multiple: 4, Options: tuned(t)}
			o.Threads = 1
			m, _, err := compress.Model(context.Background(), modeltest.Load(t, "cnn_a"), o)
			return m, err
		}},
		{"compress testdata/cnn_a.onnx --macs 0.5 --data testdata/mnist_calib.npz --preset mnist --tune 1", narrow("cnn_a", compress.Options{MACs: 0.5}, tuned)},
		{"compress testdata/cnn_a.onnx --keep 0.5 --data testdata/mnist_calib.npz --preset mnist --save-plan plan.yaml --tune 1", narrow("cnn_a", compress.Options{Keep: 0.5}, tuned)},
		{"fuse testdata/mlp_a.onnx testdata/mlp_b.onnx" + mnist + " --tune 1", merge("mlp_a", "mlp_b", fuse.Options{}, tuned)},
		// The library's zero options are the command's defaults.
		{"compress testdata/resnet_a.onnx --keep 0.5 --tune 0", narrow("resnet_a", compress.Options{Keep: 0.5, Options: job.Options{Tune: job.Off}}, nil)},
		{"compress testdata/cnn_a.onnx --keep 0.5 --data none", narrow("cnn_a", compress.Options{Keep: 0.5, Options: job.Options{NoData: true}}, nil)},
		{"compress testdata/cnn_a.onnx --macs 0.5 --tune 0" + some, narrow("cnn_a", compress.Options{MACs: 0.5}, refitted)},
		{"compress testdata/cnn_a.onnx --params 0.5 --uniform --floor 0 --tune 0 --eval-data none" + some, func(t *testing.T) (*onnxio.Model, error) {
			o := compress.Options{Params: 0.5, Uniform: true, Floor: 1e-9, Options: refitted(t)}
			o.NoEval = true
			m, _, err := compress.Model(context.Background(), modeltest.Load(t, "cnn_a"), o)
			return m, err
		}},
		{"compress testdata/mlp_a.onnx" + some, narrow("mlp_a", compress.Options{}, calib)},
		{"compress testdata/mlp_wide.onnx", narrow("mlp_wide", compress.Options{}, nil)},
		{"compress testdata/mlp_a.onnx --max-drop 0.03" + some, narrow("mlp_a", compress.Options{MaxDrop: 0.03}, calib)},
		{"compress testdata/mlp_a.onnx --keep 0.5 --align activations --cost cosine --mass l2" + some, func(t *testing.T) (*onnxio.Model, error) {
			o := compress.Options{Keep: 0.5, Options: calib(t)}
			o.Align, o.Cost, o.Mass = "activations", "cosine", "l2"
			m, _, err := compress.Model(context.Background(), modeltest.Load(t, "mlp_a"), o)
			return m, err
		}},
		{"compress testdata/mlp_wide.onnx --into testdata/mlp_a.onnx --tune 0" + some, func(t *testing.T) (*onnxio.Model, error) {
			m, _, err := compress.Into(context.Background(), modeltest.Load(t, "mlp_wide"), modeltest.Load(t, "mlp_a"), compress.Options{Options: refitted(t)})
			return m, err
		}},
		{"compress testdata/cnn_a.onnx --int8" + some, narrow("cnn_a", compress.Options{DType: precision.INT8}, calib)},
		{"compress testdata/cnn_a.onnx --latency 0.5 --latency-table TABLE --data none", func(t *testing.T) (*onnxio.Model, error) {
			wide := modeltest.Load(t, "cnn_a")
			o := compress.Options{Latency: compress.Latency{Share: 0.5}, LatencyTable: latencytest.Table(t, wide, 4), NoLatency: true, Options: job.Options{NoData: true}}
			m, _, err := compress.Model(context.Background(), wide, o)
			return m, err
		}},
		{"compress testdata/cnn_a.onnx --lossless", narrow("cnn_a", compress.Options{Keep: 1, Options: job.Options{NoData: true, Lossless: job.On}}, nil)},
		{"fuse testdata/mlp_a.onnx testdata/mlp_b.onnx", merge("mlp_a", "mlp_b", fuse.Options{}, nil)},
		{"fuse testdata/cnn_a.onnx testdata/cnn_b.onnx --align none --onto 1 --weights 0.3,0.7", merge("cnn_a", "cnn_b", fuse.Options{Onto: 1, Weights: []float64{0.3, 0.7}, Options: job.Options{Align: "none"}}, nil)},
		{"fuse testdata/cnn_a.onnx testdata/cnn_b.onnx --weights 0.5,0.5 --method union --keep 1.5 --tune 0" + some, merge("cnn_a", "cnn_b", fuse.Options{Weights: []float64{0.5, 0.5}, Method: fuse.Union, Keep: 1.5}, refitted)},
	}
}

// What a command writes is what the library returns, byte for byte, with the history that the
// command adds.
func TestCommandIsLibrary(t *testing.T) {
	enginetest.Require(t)
	lines := map[string]bool{}
	for _, c := range calls() {
		lines[strings.TrimSuffix(c.line, " --tune 1")] = true
		t.Run(strings.ReplaceAll(c.line, mnist, ""), func(t *testing.T) {
			file, other := out(t), out(t)
			places := strings.NewReplacer("testdata/", modeltest.Dir("")+"/", "TABLE", latencyTable(t), "plan.yaml", filepath.Join(t.TempDir(), "plan.yaml"))
			args := append(strings.Fields(places.Replace(c.line)), "-o", file, "--no-latency")
			if args[0] == "fuse" {
				args = args[:len(args)-1]
			}
			if r := run(t, args...); r.code != exitOK {
				t.Fatalf("exit code %d: %s", r.code, r.stderr)
			}
			written, err := onnxio.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			m, err := c.library(t)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"monge.command", "monge.version"} {
				if value, ok := written.Metadata(key); ok { // left out where the file would grow by it
					m.SetMetadata(key, value)
				}
			}
			if err := onnxio.Save(context.Background(), other, m, onnxio.SaveOptions{}); err != nil {
				t.Fatal(err)
			}
			a, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(other)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a, b) {
				t.Errorf("the files differ: %d and %d bytes", len(a), len(b))
			}
		})
	}
	// Every command of the documents that makes a model of testdata is among them.
	text := strings.ReplaceAll(documents(t), "\\\n", " ")
	for _, l := range regexp.MustCompile(`(?m)^\$ monge ((?:compress|fuse) testdata/.*)$`).FindAllStringSubmatch(text, -1) {
		line := regexp.MustCompile(`-o \S+ *| +`).ReplaceAllStringFunc(l[1], func(s string) string {
			if strings.HasPrefix(s, "-o") {
				return ""
			}
			return " "
		})
		if !lines[line] {
			t.Errorf("documents: %q is not compared with the library", line)
		}
	}
}
