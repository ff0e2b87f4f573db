package fuse_test

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Models in float16 and bfloat16 are fused in their type, and lose no more than float32 ones do.
func TestHalfPrecision(t *testing.T) {
	calib := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 125})
	test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 500})
	for name, o := range map[string]fuse.Options{"weights": {}, "data": {Weights: []float64{0.5, 0.5}, Options: job.Options{Data: calib, Tune: job.On, Epochs: 2}}} {
		t.Run(name, func(t *testing.T) {
			fused := func(typ onnxpb.TensorProto_DataType) int {
				models := []*onnxio.Model{modeltest.Load(t, "cnn_a"), modeltest.Load(t, "cnn_b")}
				for i := range models {
					models[i] = modeltest.AsType(t, models[i], typ)
				}
				out, _, err := fuse.Models(context.Background(), models, o)
				if err != nil {
					t.Fatal(err)
				}
				if typ != onnxio.Float {
					modeltest.OnlyType(t, out, typ)
				}
				return modeltest.Correct(t, out, test)
			}
			right := fused(onnxio.Float)
			for _, typ := range []onnxpb.TensorProto_DataType{onnxio.Float16, onnxio.BFloat16} {
				n := fused(typ)
				t.Logf("%v: %d right, float32: %d", typ, n, right)
				if n < right-10 {
					t.Errorf("%v: %d of %d are right, float32: %d", typ, n, test.Len(), right)
				}
			}
		})
	}
}
