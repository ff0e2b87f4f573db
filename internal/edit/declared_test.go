package edit_test

import (
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Up to IR version 3 every initializer of a result is a graph input, as the checker wants it, whether
// those of the original were or not.
func TestInitializersAreInputs(t *testing.T) {
	m, err := onnxtest.Parse("opset 8\nx: 1 4\nh = MatMul(x, w[4 6])\nr = Relu(h)\ns = Reshape(r, k{1 6})\ny = MatMul(s, v[6 2])")
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[int64]int{3: 4, 4: 1} {
		old := m.Clone()
		old.Proto.IrVersion = &version
		s, err := edit.NewSubject(old, coupling.Options{})
		if err != nil {
			t.Fatal(err)
		}
		maps := edit.Maps{}
		for _, space := range s.Analysis.Spaces {
			if !space.Frozen && space.Groups == 1 {
				order := make([]int, space.Width)
				for i := range order {
					order[i] = space.Width - 1 - i
				}
				m := edit.KeepAll(space)
				m.Groups[0] = edit.Keep(order)
				maps[space] = m
			}
		}
		if len(maps) == 0 {
			t.Fatal("there is nothing to edit")
		}
		out, err := edit.Edit(s, maps)
		if err != nil {
			t.Fatal(err)
		}
		named := func(list []*onnxpb.ValueInfoProto) (names []string) {
			for _, v := range list {
				names = append(names, v.GetName())
			}
			return names
		}
		if inputs := named(out.Proto.Graph.Input); len(inputs) != want {
			t.Errorf("IR version %d: inputs %v, want %d", version, inputs, want)
		}
	}
}
