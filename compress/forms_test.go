package compress_test

import (
	"context"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// runs loads a model with full checking and runs it once on a data set.
func runs(t *testing.T, m *onnxio.Model, d *dataset.Data) map[string]*engine.Value {
	t.Helper()
	s, err := engine.Open(m, engine.Options{Strict: true, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	feed, err := d.For(s.Inputs())
	if err != nil {
		t.Fatal(err)
	}
	in, err := feed.Batch(0, d.Len())
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Graphs in the forms of operator sets 7 to 24 are narrowed with and without data; what is written
// loads with full checking and runs.
func TestForms(t *testing.T) {
	enginetest.Require(t)
	for _, f := range onnxtest.Forms() {
		t.Run(f.Name, func(t *testing.T) {
			m, err := f.Model()
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Validate(); err != nil {
				t.Fatal(err)
			}
			d := modeltest.Noise(t, m, 100, 3)
			want := runs(t, m, d)
			before := proto.Clone(m.Proto)
			for name, o := range map[string]compress.Options{
				"without data": {Keep: 0.5, Options: job.Options{NoData: true}}, "params": {Params: 0.6, Options: job.Options{NoData: true}},
				"with data": {Keep: 0.5, Options: job.Options{Data: d, Tune: job.On, Epochs: 1, NoEval: true}},
			} {
				t.Run(name, func(t *testing.T) {
					out, report, err := compress.Model(context.Background(), m, o)
					if err != nil {
						t.Fatal(err)
					}
					if report.After.Params >= report.Before.Params {
						t.Errorf("nothing was narrowed: %+v", report.Spaces)
					}
					path := filepath.Join(t.TempDir(), "out.onnx")
					if err := onnxio.Save(t.Context(), path, out, onnxio.SaveOptions{}); err != nil {
						t.Fatal(err)
					}
					back, err := onnxio.Load(path)
					if err != nil {
						t.Fatal(err)
					}
					for name, v := range runs(t, back, d) {
						if len(v.F32) != len(want[name].F32) || len(v.F32) == 0 {
							t.Errorf("output %q has shape %v, %v before", name, v.Dims, want[name].Dims)
						}
					}
					if !proto.Equal(before, m.Proto) {
						t.Error("the model that was given has changed")
					}
				})
			}
		})
	}
}
