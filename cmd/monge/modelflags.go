package main

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/report"
)

// shapeFlags give sizes to free dimensions of inputs.
type shapeFlags struct{ list []string }

func (s *shapeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&s.list, "input-shape", nil, "sizes for an input with free dimensions, as in `name=1x3x320x320` (may be repeated)")
}

// parse reads the flags by themselves.
func (s *shapeFlags) parse() (map[string][]int, error) {
	shapes := map[string][]int{}
	for _, text := range s.list {
		at := strings.LastIndex(text, "=")
		if at < 1 {
			return nil, usagef("--input-shape %s: want name=1x3x320x320", text)
		}
		name := text[:at]
		if _, twice := shapes[name]; twice {
			return nil, usagef("--input-shape: %q is given twice", name)
		}
		for _, d := range strings.Split(text[at+1:], "x") {
			n, err := strconv.Atoi(d)
			if err != nil || n < 1 {
				return nil, usagef("--input-shape %s: %q is not a size; want name=1x3x320x320", text, d)
			}
			shapes[name] = append(shapes[name], n)
		}
	}
	return shapes, nil
}

// filesOf are the files that models and data sets, which may be nil, are read from.
func filesOf(models []*onnxio.Model, data ...*dataset.Data) ([]string, error) {
	var list []string
	for _, m := range models {
		s, err := m.Storage()
		if err != nil {
			return nil, err
		}
		list = append(append(list, m.Path), s.DataFiles...)
	}
	for _, d := range data {
		if d != nil {
			list = append(list, d.Files()...)
		}
	}
	return list, nil
}

// load reads the models and sees whether the shapes fit them.
func (s *shapeFlags) load(paths []string) ([]*onnxio.Model, map[string][]int, error) {
	shapes, err := s.parse()
	if err != nil {
		return nil, nil, err
	}
	var size int64
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			size += info.Size()
		}
	}
	collectGarbage(size)
	var names []string
	models := make([]*onnxio.Model, len(paths))
	for i, path := range paths {
		if models[i], err = onnxio.Load(path); err != nil {
			return nil, nil, in(path, err)
		}
		inputs, err := engine.Inputs(models[i])
		if err != nil {
			return nil, nil, in(path, err)
		}
		for _, input := range inputs {
			if !slices.Contains(names, input.Name) {
				names = append(names, input.Name)
			}
			// The first axis may differ from what the model says: it is the batch.
			if shape, ok := shapes[input.Name]; ok && !input.Takes(shape, 1) {
				return nil, nil, usagef("%s: --input-shape %v does not fit input %s", path, shape, input)
			}
		}
	}
	for name := range shapes {
		if !slices.Contains(names, name) {
			return nil, nil, usagef("%s: --input-shape: there is no input %q (inputs: %s)", paths[0], name, strings.Join(names, ", "))
		}
	}
	return models, shapes, nil
}

// needShapes sees to it that all sizes of a model's inputs are known, but for the batch: without
// data nothing else tells them.
func needShapes(m *onnxio.Model, shapes map[string][]int) error {
	inputs, err := engine.Inputs(m)
	if err != nil {
		return err
	}
	for _, in := range inputs {
		free := in.Dims == nil || slices.ContainsFunc(in.Dims[min(1, len(in.Dims)):], func(d int64) bool { return d < 0 })
		if shapes[in.Name] == nil && free {
			return usagef("%s: input %s has free sizes: --input-shape %s=1x... gives them", m.Path, in, in.Name)
		}
	}
	return nil
}

// measure returns a model's size.
func measure(m *onnxio.Model, shapes map[string][]int) (report.Size, error) {
	expanded, _, err := qdq.Expand(m)
	if err != nil {
		return report.Size{}, err
	}
	an, err := coupling.Analyze(expanded, coupling.Options{InputShapes: shapes})
	if err != nil {
		return report.Size{}, err
	}
	return sizeOf(m, an), nil
}

func sizeOf(m *onnxio.Model, an *coupling.Analysis) report.Size {
	var s report.Size
	s.Params, s.Bytes = m.Size()
	s.MACs, s.OpenDims = an.MACs(nil)
	return s
}
