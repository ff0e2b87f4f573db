package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// testDataSets returns the folders that hold an input_0.pb: path itself, or the folders in it, in
// the order of the numbers in their names.
func testDataSets(path string) ([]string, error) {
	if isTestData(path) {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var sets []string
	for _, e := range entries {
		if dir := filepath.Join(path, e.Name()); isTestData(dir) {
			sets = append(sets, dir)
		}
	}
	slices.SortStableFunc(sets, func(a, b string) int { return trailingNumber(a) - trailingNumber(b) })
	return sets, nil
}

func isTestData(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "input_0.pb"))
	return err == nil
}

// trailingNumber is the number at the end of a name, 0 if there is none.
func trailingNumber(name string) int {
	n, _ := strconv.Atoi(name[len(strings.TrimRight(name, "0123456789")):])
	return n
}

// A sequence is a column of complete inputs, one tensor per sample, whose shapes may differ.
type sequence struct {
	title   string
	tensors []*array
}

func (s *sequence) name() string { return s.title }

func (s *sequence) bind(in engine.IOInfo, p Preprocess) (binding, error) {
	for _, t := range s.tensors {
		if err := fits(in, t.dims, 0); err != nil {
			return binding{}, err
		}
	}
	return binding{whole: true, read: func(samples []int) (*engine.Value, error) {
		t := s.tensors[samples[0]]
		return t.value(t.raw, t.dims, in, p)
	}}, nil
}

// openTestData reads folders of input_N.pb and output_N.pb, each a sample.
func openTestData(sets []string, o Options) (*Data, error) {
	s := choose(len(sets), o)
	kept := sets
	if s.rows != nil {
		kept = pick(sets, s.rows)
	}
	d := &Data{complete: true, order: s.samples(len(sets))}
	for _, dir := range sets {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries { // tensors may have external data
			d.files = append(d.files, filepath.Join(dir, e.Name()))
		}
	}
	for i, dir := range kept {
		inputs, err := readTensors(dir, "input")
		if err != nil {
			return nil, err
		}
		if i > 0 && len(inputs) != len(d.columns) {
			return nil, fmt.Errorf("%s has %s, %s has %d", dir, screen.Plural(len(inputs), "input"), kept[0], len(d.columns))
		}
		for k, t := range inputs {
			if i == 0 {
				d.columns = append(d.columns, &sequence{title: t.Name})
			}
			column := d.columns[k].(*sequence)
			column.tensors = append(column.tensors, arrayOf(t.Name, t))
		}
		outputs, err := readTensors(dir, "output")
		if err != nil {
			return nil, err
		}
		d.expected = append(d.expected, outputs)
	}
	return d, nil
}

// readTensors reads kind_0.pb, kind_1.pb, ... as far as they go.
func readTensors(dir, kind string) ([]*engine.Value, error) {
	var list []*engine.Value
	for i := 0; ; i++ {
		file := filepath.Join(dir, fmt.Sprintf("%s_%d.pb", kind, i))
		info, err := os.Stat(file)
		if errors.Is(err, os.ErrNotExist) {
			return list, nil
		}
		if err == nil && !info.Mode().IsRegular() { // a device has no end
			err = fmt.Errorf("%s is no ordinary file", file)
		}
		if err != nil {
			return nil, err
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		t, err := readTensor(raw, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, t)
	}
}

// readTensor decodes one TensorProto of numbers.
func readTensor(raw []byte, dir string) (*engine.Value, error) {
	p := &onnxpb.TensorProto{}
	if err := proto.Unmarshal(raw, p); err != nil {
		return nil, fmt.Errorf("not a tensor: %w", err)
	}
	t, err := (&onnxio.Model{Dir: dir}).Tensor(p)
	if err != nil {
		return nil, err
	}
	if !onnxio.IsFloat(t.Type) && !onnxio.IsInteger(t.Type) {
		return nil, fmt.Errorf("tensor %q of type %v is not supported", t.Name, t.Type)
	}
	return t, nil
}
