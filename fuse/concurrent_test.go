package fuse_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/lossless"
	"github.com/monge-ml/monge/onnxio"
)

// One model and one data set may be used by many goroutines at once, for all that the library does:
// nobody changes them, and everybody gets what he gets alone. The race detector has its say with
// go test -race.
func TestConcurrent(t *testing.T) {
	m := modeltest.Structures(t)["residual"]
	other, d := modeltest.Redrawn(t, m, 2), modeltest.Noise(t, m, 40, 1)
	before := encoded(t, m)
	ctx := context.Background()
	dir := t.TempDir()
	uses := map[string]func() (*onnxio.Model, error){
		"refitted": func() (*onnxio.Model, error) {
			out, _, err := compress.Model(ctx, m, compress.Options{MACs: 0.5, Options: job.Options{Data: d, Tune: job.Off, Threads: 2}})
			return out, err
		},
		"distilled": func() (*onnxio.Model, error) {
			out, _, err := compress.Model(ctx, m, compress.Options{Keep: 0.5, Options: job.Options{Data: d, Tune: job.On, Epochs: 1, Threads: 1}})
			return out, err
		},
		"fused": func() (*onnxio.Model, error) {
			out, _, err := fuse.Models(ctx, []*onnxio.Model{m, other}, fuse.Options{Options: job.Options{Data: d, Tune: job.Off, Threads: 2}, Weights: []float64{0.5, 0.5}})
			return out, err
		},
		"stripped": func() (*onnxio.Model, error) {
			out, _, err := lossless.Strip(ctx, m, lossless.Options{})
			return out, err
		},
	}
	alone := map[string][]byte{}
	for name, use := range uses {
		out, err := use()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		alone[name] = encoded(t, out)
	}
	var wait sync.WaitGroup
	for i := range 2 {
		for name, use := range uses {
			wait.Go(func() {
				out, err := use()
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if !bytes.Equal(encoded(t, out), alone[name]) {
					t.Errorf("%s: not what it is alone", name)
				}
				if err := onnxio.Save(ctx, filepath.Join(dir, fmt.Sprint(name, i, ".onnx")), m, onnxio.SaveOptions{}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if _, err := eval.Models(ctx, []*onnxio.Model{m, other}, d, eval.Options{NoLatency: true}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
	wait.Wait()
	if !bytes.Equal(encoded(t, m), before) {
		t.Error("the model was changed")
	}
}

// encoded is the file of a model.
func encoded(t *testing.T, m *onnxio.Model) []byte {
	t.Helper()
	out, err := m.Encode()
	if err != nil {
		t.Error(err)
	}
	return out
}
