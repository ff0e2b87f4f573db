//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// options say what is checked beside the codec, and what models are fed.
type options struct {
	keep   float64          // share of channels to compress to; 0: do not
	shapes map[string][]int // sizes of inputs, by name
	values map[string]float64
}

func (o *options) addShape(s string) error {
	name, list, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("want NAME=1x3")
	}
	if o.shapes == nil {
		o.shapes = map[string][]int{}
	}
	for _, d := range strings.Split(list, "x") {
		n, err := strconv.Atoi(d)
		if err != nil {
			return err
		}
		o.shapes[name] = append(o.shapes[name], n)
	}
	return nil
}

func (o *options) addValue(s string) error {
	name, v, _ := strings.Cut(s, "=")
	x, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return fmt.Errorf("want NAME=NUMBER")
	}
	if o.values == nil {
		o.values = map[string]float64{}
	}
	o.values[name] = x
	return nil
}

// result is what was found out about one model.
type result struct {
	Model string `json:"model"` // path
	Group string `json:"folder"`

	Equal     bool `json:"equal"`     // reading the written file gives the same message
	Identical bool `json:"identical"` // the written file has the same bytes
	Moved     bool `json:"moved"`     // so does writing with all weights in a data file and taking them in again

	Loads        bool   `json:"loads"`                // onnxruntime loads the original
	LoadError    string `json:"load_error,omitempty"` // what it says otherwise
	LoadsWritten bool   `json:"loads_written"`        // and the copies
	Runs         bool   `json:"runs"`                 // the original runs on the inputs
	NotRun       string `json:"not_run,omitempty"`    // why it was not run
	Same         bool   `json:"same_outputs"`         // the copies give the same bits
	Random       bool   `json:"random,omitempty"`     // a second run of the original gives other bits
	Recorded     bool   `json:"recorded_inputs"`      // run on the inputs beside the model; else on seeded ones

	Narrowed        bool `json:"narrowed,omitempty"`          // compressed; the result loads
	NothingToNarrow bool `json:"nothing_to_narrow,omitempty"` // no space may change

	Failure string `json:"failure,omitempty"` // the first check that failed
}

// check goes through one model. The error is of the checks themselves; what is wrong with the model
// is in the result.
func check(path string, o options) (*result, error) {
	dir, err := os.MkdirTemp("", "conformance-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &result{Model: path}
	m, copies, err := r.codec(path, dir)
	if err != nil {
		r.Failure = err.Error()
		// A file that onnxruntime refuses too is no failure of the codec.
		if loadErr := loads(path); loadErr != nil {
			r.LoadError, r.Failure = loadErr.Error(), ""
			r.NotRun = "refused by onnxruntime and by onnxio"
		} else {
			r.Loads = true
		}
		return r, nil
	}
	if err := r.runtime(path, m, copies, o); err != nil {
		r.Failure = err.Error()
		return r, nil
	}
	if o.keep > 0 && r.Loads {
		if err := r.narrow(m, filepath.Join(dir, "narrow.onnx"), o); err != nil {
			r.Failure = err.Error()
		}
	}
	return r, nil
}

// codec writes two copies of a model, one with external data, and compares.
func (r *result) codec(path, dir string) (*onnxio.Model, []string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	original := new(onnxpb.ModelProto)
	if err := proto.Unmarshal(raw, original); err != nil {
		return nil, nil, err
	}
	m, err := onnxio.Load(path)
	if err != nil {
		return nil, nil, err
	}
	plain, moved, back := filepath.Join(dir, "plain.onnx"), filepath.Join(dir, "moved.onnx"), filepath.Join(dir, "back.onnx")
	if err := onnxio.Save(context.Background(), plain, m, onnxio.SaveOptions{}); err != nil {
		return nil, nil, err
	}
	again, err := onnxio.Load(plain)
	if err != nil {
		return nil, nil, err
	}
	written, err := os.ReadFile(plain)
	if err != nil {
		return nil, nil, err
	}
	external, err := m.Storage()
	if err != nil {
		return nil, nil, err
	}
	if external.External == 0 {
		// The messages are compared as they were before any code of onnxio saw them, unknown fields
		// included.
		r.Equal, r.Identical = proto.Equal(original, again.Proto), string(raw) == string(written)
	} else {
		r.Equal, err = equalValues(m, again)
		if err != nil {
			return nil, nil, err
		}
	}
	if !r.Equal {
		return nil, nil, fmt.Errorf("read, written and read again, the model differs")
	}
	if err := onnxio.Save(context.Background(), moved, m, onnxio.SaveOptions{External: onnxio.Always, Threshold: -1}); err != nil {
		return nil, nil, err
	}
	out, err := onnxio.Load(moved)
	if err != nil {
		return nil, nil, err
	}
	if err := onnxio.Save(context.Background(), back, out, onnxio.SaveOptions{External: onnxio.Never}); err != nil {
		return nil, nil, err
	}
	in, err := onnxio.Load(back)
	if err != nil {
		return nil, nil, err
	}
	if r.Moved, err = equalValues(m, in); err != nil {
		return nil, nil, err
	}
	if !r.Moved {
		return nil, nil, fmt.Errorf("with the weights out and in again, the model differs")
	}
	return m, []string{plain, moved}, nil
}

// equalValues compares two models up to the field in which payloads are stored: raw_data, typed
// fields or data files.
func equalValues(a, b *onnxio.Model) (bool, error) {
	var sides [2]proto.Message
	for i, m := range []*onnxio.Model{a, b} {
		c := m.Clone()
		err := eachTensor(c.Proto.ProtoReflect(), func(t *onnxpb.TensorProto) error {
			v, err := c.Tensor(t)
			if err != nil {
				return err
			}
			p := v.Proto()
			t.RawData, t.StringData = p.RawData, p.StringData
			t.FloatData, t.Int32Data, t.Int64Data, t.DoubleData, t.Uint64Data = nil, nil, nil, nil, nil
			t.DataLocation, t.ExternalData = nil, nil
			return nil
		})
		if err != nil {
			return false, err
		}
		sides[i] = c.Proto
	}
	return proto.Equal(sides[0], sides[1]), nil
}

// runtime compares what onnxruntime makes of the original and the copies.
func (r *result) runtime(path string, m *onnxio.Model, copies []string, o options) error {
	if err := loads(path); err != nil {
		r.LoadError = err.Error()
		r.NotRun = "onnxruntime does not load the original"
		return nil
	}
	r.Loads = true
	for _, c := range copies {
		if err := loads(c); err != nil {
			return fmt.Errorf("%s does not load: %w", filepath.Base(c), err)
		}
	}
	r.LoadsWritten = true
	in, recorded, err := inputs(path, m, o)
	if err != nil {
		r.NotRun = err.Error()
		return nil
	}
	defer destroy(in)
	r.Recorded = recorded
	want, err := outputs(path, m, in)
	if err != nil {
		r.NotRun = err.Error()
		return nil
	}
	r.Runs = true
	second, err := outputs(path, m, in)
	if err != nil {
		return err
	}
	if r.Random = want != second; r.Random {
		return nil
	}
	for _, c := range copies {
		got, err := outputs(c, m, in)
		if err != nil {
			return fmt.Errorf("%s does not run: %w", filepath.Base(c), err)
		}
		if got != want {
			return fmt.Errorf("outputs of %s differ", filepath.Base(c))
		}
	}
	r.Same = true
	return nil
}

// narrow compresses a model without data; the result has to load.
func (r *result) narrow(m *onnxio.Model, path string, o options) error {
	out, report, err := compress.Model(context.Background(), m, compress.Options{Keep: o.keep, Options: job.Options{NoData: true, InputShapes: o.shapesOf(m)}})
	if errors.Is(err, compress.ErrNothing) || errors.Is(err, compress.ErrLarger) || err == nil && report.Before == report.After {
		r.NothingToNarrow = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	if err := onnxio.Save(context.Background(), path, out, onnxio.SaveOptions{}); err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	if err := loads(path); err != nil {
		return fmt.Errorf("compressed, it does not load: %w", err)
	}
	r.Narrowed = true
	return nil
}

// shapesOf are the given sizes of inputs that the model has.
func (o options) shapesOf(m *onnxio.Model) map[string][]int {
	shapes := map[string][]int{}
	for _, v := range m.Proto.GetGraph().GetInput() {
		dims, _, ranked := onnxio.Dims(v)
		if s, ok := o.shapes[v.GetName()]; ok && (!ranked || len(dims) == len(s)) {
			shapes[v.GetName()] = s
		}
	}
	return shapes
}
