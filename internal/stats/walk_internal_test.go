package stats

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// keptAt is what a walk keeps at each step, found by searching the graph anew.
func keptAt(t *testing.T, w *Walk, size func(tensor string) int64) []int64 {
	t.Helper()
	bytes, kept := make([]int64, len(w.steps)), map[string]bool{}
	for k := range w.steps {
		later := &Walk{steps: w.steps[k:]}
		needed, err := w.flows[0].startingFrom(later.goals(0), func(tensor string) bool { return kept[tensor] })
		if err != nil {
			t.Fatal(err)
		}
		was := kept
		kept = map[string]bool{}
		for _, tensor := range needed {
			kept[tensor] = was[tensor] // the others are inputs
		}
		for _, tensor := range w.steps[k].Tensors[0] {
			kept[tensor] = true
		}
		for tensor, keeps := range kept {
			if keeps {
				bytes[k] += size(tensor)
			}
		}
	}
	return bytes
}

// tangle is a graph of nodes with two inputs, any two earlier tensors, and every fifth with two
// outputs.
func tangle(nodes int, rng *rand.Rand) (*onnxio.Model, []string) {
	names := []string{"x0", "x1"}
	var parts []onnxtest.Part
	for i := range nodes {
		in := names[rng.IntN(len(names))] + " " + names[max(0, len(names)-1-rng.IntN(5))]
		out := fmt.Sprintf("t%d", i)
		if i%5 == 0 {
			parts = append(parts, onnxtest.Node("Max", in, out+" "+out+"b"))
			names = append(names, out+"b")
		} else {
			parts = append(parts, onnxtest.Node("Add", in, out))
		}
		names = append(names, out)
	}
	return onnxtest.Model(onnxtest.Values(onnxtest.Value("x0", 4), onnxtest.Value("x1", 4)), onnxtest.Values(onnxtest.Value(names[len(names)-1], 4)), parts...), names
}

// stepsAlong are steps at some of a graph's tensors, and at others before them.
func stepsAlong(names []string, rng *rand.Rand) (steps []Step) {
	for at := 0; at < len(names); at += 1 + rng.IntN(4) {
		step := []string{names[at]}
		for range rng.IntN(3) {
			step = append(step, names[max(0, at-rng.IntN(6))])
		}
		steps = append(steps, Step{Tensors: [][]string{step}})
	}
	return steps
}

// What a walk forgets, steps left out, is what a search of the whole graph finds to be of no use any
// more.
func TestForgotten(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		m, names := tangle(1+rng.IntN(30), rng)
		flow := &Flow{model: m}
		l, err := flow.places()
		if err != nil {
			t.Fatal(err)
		}
		w := &Walk{flows: []*Flow{flow}, steps: stepsAlong(names, rng)}
		d := newDemand(l.graph, w.goals(0), func(string) int64 { return 0 })
		w.demands = []*demand{d}
		kept := map[string]bool{}
		for k, step := range w.steps {
			if rng.IntN(3) == 0 {
				continue
			}
			later := &Walk{steps: w.steps[k:]}
			needed, err := flow.startingFrom(later.goals(0), func(tensor string) bool { return kept[tensor] })
			if err != nil {
				t.Fatal(err)
			}
			maps.DeleteFunc(kept, func(tensor string, _ bool) bool { return !slices.Contains(needed, tensor) })
			if w.pass(k); !maps.Equal(d.kept, kept) {
				t.Fatalf("seed %d, step %d: %v, want %v", seed, k, d.kept, kept)
			}
			for _, tensor := range step.Tensors[0] {
				kept[tensor] = true
				d.keep(tensor)
			}
		}
	}
}

// What a walk keeps is found in one pass, and is what a search from every step on finds.
func TestFrontier(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m, names := tangle(1+rng.IntN(30), rng)
		steps := stepsAlong(names, rng)
		w := &Walk{flows: []*Flow{{model: m}}, steps: steps}
		size := func(tensor string) int64 { return 1 << (slices.Index(names, tensor)) }
		got := make([]int64, len(steps))
		if err := w.frontier(0, got, size); err != nil {
			t.Fatal(err)
		}
		if want := keptAt(t, w, size); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %b, want %b, at the steps %v of %v", seed, got, want, steps, m.Proto.Graph.Node)
		}
	}
}
