package fuse_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// The same work gives the same bytes, and without a distillation with another number of threads too:
// docs/security.md says so.
func TestSameBytes(t *testing.T) {
	m := modeltest.Structures(t)["inverted"]
	other, d := modeltest.Redrawn(t, m, 2), modeltest.Noise(t, m, 120, 1)
	ctx := context.Background()
	for name, use := range map[string]func(o job.Options) (*onnxio.Model, error){
		"compressed": func(o job.Options) (*onnxio.Model, error) {
			out, _, err := compress.Model(ctx, m, compress.Options{MACs: 0.5, Options: o})
			return out, err
		},
		"fused": func(o job.Options) (*onnxio.Model, error) {
			out, _, err := fuse.Models(ctx, []*onnxio.Model{m, other}, fuse.Options{Options: o})
			return out, err
		},
	} {
		bytesOf := func(o job.Options) []byte {
			o.Data, o.Memory = d, 1<<30
			out, err := use(o)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return encoded(t, out)
		}
		fitted := job.Options{Tune: job.Off, Threads: 1}
		first := bytesOf(fitted)
		if !bytes.Equal(first, bytesOf(fitted)) {
			t.Errorf("%s: not the same twice", name)
		}
		fitted.Threads = 2
		if !bytes.Equal(first, bytesOf(fitted)) {
			t.Errorf("%s: not the same with two threads", name)
		}
		taught := job.Options{Tune: job.On, Epochs: 1, Threads: 1}
		if !bytes.Equal(bytesOf(taught), bytesOf(taught)) {
			t.Errorf("%s and distilled: not the same twice", name)
		}
	}
}
