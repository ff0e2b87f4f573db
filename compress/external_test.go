package compress_test

import (
	"context"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// A model with its weights in a data file gives the same result as one without, with and without
// data.
func TestExternalData(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
	inside := modeltest.Load(t, "mlp_wide")
	dir := t.TempDir()
	path := filepath.Join(dir, "moved.onnx")
	if err := onnxio.Save(t.Context(), path, inside, onnxio.SaveOptions{External: onnxio.Always}); err != nil {
		t.Fatal(err)
	}
	outside, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]compress.Options{"weights": {Keep: 0.75, Options: job.Options{NoData: true}}, "data": {Keep: 0.75, Options: job.Options{Data: d, Tune: job.On, Epochs: 2, NoEval: true}}} {
		var whole [2]*onnxio.Model
		for i, m := range []*onnxio.Model{inside, outside} {
			out, _, err := compress.Model(context.Background(), m, o)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "out.onnx")
			if err := onnxio.Save(t.Context(), path, out, onnxio.SaveOptions{External: onnxio.Never}); err != nil {
				t.Fatal(err)
			}
			if whole[i], err = onnxio.Load(path); err != nil {
				t.Fatal(err)
			}
		}
		if !proto.Equal(whole[0].Proto, whole[1].Proto) {
			t.Errorf("%s: the results differ", name)
		}
	}
}
