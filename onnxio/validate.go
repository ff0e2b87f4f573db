package onnxio

import (
	"errors"
	"fmt"

	"github.com/monge-ml/monge/internal/guard"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Validate checks what the rest of Monge relies on, in the graph, subgraphs, functions and training
// graphs: names are there and unique, what is read is made, no cycles, and every tensor has a known
// type and as many bytes as its dims ask for. External data files must be there and long enough;
// they are not read. The first fault found is returned, with file and node or tensor.
func (m *Model) Validate() (err error) {
	defer guard.Recover(&err)
	if err := m.validate(); err != nil {
		return m.errorf("%w", err)
	}
	return nil
}

func (m *Model) validate() error {
	if m.Proto.GetGraph() == nil {
		return errors.New("the model has no graph")
	}
	top, err := newGraph(m, m.Proto.Graph, nil, nil)
	if err != nil {
		return err
	}
	for i, t := range m.Proto.TrainingInfo {
		for _, p := range []*onnxpb.GraphProto{t.GetInitialization(), t.GetAlgorithm()} {
			if p == nil {
				continue
			}
			// Training graphs may read the initializers of the model's graph.
			if _, err := newGraph(m, p, top, nil); err != nil {
				return fmt.Errorf("training info %d: %w", i, err)
			}
		}
	}
	if err := m.validateFunctions(); err != nil {
		return err
	}
	all := contentsOf(m.Proto)
	sizes := make(map[string]int64)
	for _, t := range all.tensors {
		if err := m.validateTensor(t.TensorProto, sizes); err != nil {
			return t.wrap(err)
		}
	}
	for _, g := range all.graphs {
		if err := validateDeclarations(g.GraphProto); err != nil {
			return g.wrap(err)
		}
	}
	return nil
}

func (m *Model) validateFunctions() error {
	type key struct{ domain, name, overload string }
	seen := make(map[key]bool)
	for i, f := range m.Proto.Functions {
		k := key{standardDomain(f.GetDomain()), f.GetName(), f.GetOverload()}
		switch {
		case k.name == "":
			return fmt.Errorf("function %d has no name", i)
		case seen[k]:
			return fmt.Errorf("function %q is defined twice", k.name)
		}
		seen[k] = true
		// A function is a graph whose values have names only.
		body := &onnxpb.GraphProto{Node: f.Node, Input: named(f.Input), Output: named(f.Output)}
		if _, err := newGraph(m, body, nil, nil); err != nil {
			return fmt.Errorf("function %q: %w", k.name, err)
		}
	}
	return nil
}

func named(names []string) []*onnxpb.ValueInfoProto {
	values := make([]*onnxpb.ValueInfoProto, len(names))
	for i := range names {
		values[i] = &onnxpb.ValueInfoProto{Name: &names[i]}
	}
	return values
}

// validateTensor checks a tensor; sizes remembers the lengths of data files.
func (m *Model) validateTensor(t *onnxpb.TensorProto, sizes map[string]int64) error {
	s, err := storageOf(t)
	if err != nil || s.kind != inFile {
		return err
	}
	if m.scratch.holds(s.file.location) {
		return nil
	}
	size, ok := sizes[s.file.location]
	if !ok {
		f, n, err := m.openExternal(s.file.location)
		if err != nil {
			return err
		}
		f.Close()
		size = n
		sizes[s.file.location] = size
	}
	return s.file.check(size)
}
