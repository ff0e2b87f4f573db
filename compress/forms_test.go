package compress_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// samples makes a data set of normal random numbers for a model.
func samples(t testing.TB, m *onnxio.Model, n int) *engine.Data {
	t.Helper()
	inputs, err := engine.Inputs(m)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	arrays := map[string]*engine.Value{}
	for _, in := range inputs {
		v := &engine.Value{Name: in.Name, Type: in.Type}
		size := n
		for _, d := range in.Dims {
			if d < 0 { // the batch, first or not
				d = int64(n)
			} else {
				size *= int(d)
			}
			v.Dims = append(v.Dims, int(d))
		}
		for range size {
			if in.Type == onnxio.Int64 {
				v.I64 = append(v.I64, int64(rng.IntN(4)))
			} else {
				v.F32 = append(v.F32, float32(rng.NormFloat64()))
			}
		}
		arrays[in.Name] = v
	}
	d, err := engine.NewData("samples", arrays, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// runs loads a model with full checking and runs it once on a data set.
func runs(t *testing.T, m *onnxio.Model, d *engine.Data) map[string]*engine.Value {
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
	in, err := feed.Batch(0, d.Len(), d.Len())
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Graphs in the forms of operator sets 7 to 24 are narrowed with and without
// data; what is written loads with full checking and runs.
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
			d := samples(t, m, 24)
			want := runs(t, m, d)
			before := proto.Clone(m.Proto)
			for name, o := range map[string]compress.Options{
				"without data": {Keep: 0.5},
				"with data":    {Keep: 0.5, RefitData: d, Tune: 2},
				"params":       {Params: 0.6},
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
					if err := onnxio.Save(path, out); err != nil {
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
