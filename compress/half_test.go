package compress_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Models in float16 and bfloat16 stay in their type, and lose no more than float32 ones do.
func TestHalfPrecision(t *testing.T) {
	calib := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 125})
	test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 500})
	original := modeltest.Load(t, "cnn_a")
	for name, o := range map[string]compress.Options{
		"weights": {Keep: 0.75, Options: job.Options{NoData: true}}, "data": {Keep: 0.75, Options: job.Options{Data: calib, Tune: job.On, Epochs: 2, NoEval: true}},
		"macs": {MACs: 0.6, Options: job.Options{Data: calib, Tune: job.Off, NoEval: true}},
	} {
		t.Run(name, func(t *testing.T) {
			full, want, err := compress.Model(context.Background(), original, o)
			if err != nil {
				t.Fatal(err)
			}
			right := modeltest.Correct(t, full, test)
			for _, typ := range []onnxpb.TensorProto_DataType{onnxio.Float16, onnxio.BFloat16} {
				out, report, err := compress.Model(context.Background(), modeltest.AsType(t, original, typ), o)
				if err != nil {
					t.Fatal(err)
				}
				if report.After.Params >= report.Before.Params || o.Keep != 0 && report.After != want.After {
					t.Errorf("%v: %+v, float32: %+v", typ, report.After, want.After)
				}
				path := filepath.Join(t.TempDir(), "out.onnx")
				if err := onnxio.Save(t.Context(), path, out, onnxio.SaveOptions{}); err != nil {
					t.Fatal(err)
				}
				back, err := onnxio.Load(path)
				if err != nil {
					t.Fatal(err)
				}
				modeltest.OnlyType(t, back, typ)
				if n := modeltest.Correct(t, back, test); n < right-10 {
					t.Errorf("%v: %d of %d are right, float32: %d", typ, n, test.Len(), right)
				} else {
					t.Logf("%v: %d right, float32: %d", typ, n, right)
				}
			}
		})
	}
}
