package latency_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/latency"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// net is two convolutions with a Relu between them, and a pooling: x [1,3,8,8], then 64 channels, then
// 10.
func net() *onnxio.Model {
	rng := rand.New(rand.NewPCG(1, 1))
	return onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", 1, 3, 8, 8)), onnxtest.Values(onnxtest.Value("y", 1, 10, 1, 1)),
		onnxtest.Weights("w1", []int{64, 3, 3, 3}, rng), onnxtest.Weights("w2", []int{64, 64, 3, 3}, rng), onnxtest.Weights("w3", []int{10, 64, 1, 1}, rng),
		onnxtest.Node("Conv", "x w1", "a", onnxtest.Attr("pads", 1, 1, 1, 1)),
		onnxtest.Node("Relu", "a", "b"),
		onnxtest.Node("Conv", "b w2", "c", onnxtest.Attr("pads", 1, 1, 1, 1)),
		onnxtest.Node("Relu", "c", "d"),
		onnxtest.Node("GlobalAveragePool", "d", "e"),
		onnxtest.Node("Conv", "e w3", "y"),
	)
}

func up(n, block int) float64 { return float64((n + block - 1) / block * block) }

// machine takes so long for a 3×3 convolution of 8×8 positions: for a part of a block of channels as
// long as for the whole, but less than a block is read one by one.
func machine(block int) func(in, out int) float64 {
	return func(in, out int) float64 {
		read := up(in, block)
		if in < block {
			read = float64(in)
		}
		return 0.001 + read*up(out, block)*9*64/1e7
	}
}

// rows are measurements of the convolutions of net on a machine.
func rows(block int) []latency.Row {
	took := machine(block)
	var list []latency.Row
	for _, in := range []int{64, 56, 48, 36, 32, 24, 20, 16} {
		for _, out := range []int{64, 48, 40, 32, 28, 16} {
			list = append(list, latency.Row{Op: "Conv", Inputs: [][]int{{1, in, 8, 8}, {out, in, 3, 3}}, Outputs: [][]int{{1, out, 8, 8}}, MS: took(in, out)})
		}
		list = append(list, latency.Row{Op: "Conv", Inputs: [][]int{{1, 3, 8, 8}, {in, 3, 3, 3}}, Outputs: [][]int{{1, in, 8, 8}}, MS: 0.002 + up(in, block)*1e-4})
		list = append(list, latency.Row{Op: "Conv", Inputs: [][]int{{1, in, 1, 1}, {10, in, 1, 1}}, Outputs: [][]int{{1, 10, 1, 1}}, MS: 0.0001})
		list = append(list, latency.Row{Op: "GlobalAveragePool", Inputs: [][]int{{1, in, 8, 8}}, Outputs: [][]int{{1, in, 1, 1}}, MS: 1e-5 * float64(in)})
	}
	return list
}

func analyze(t *testing.T, m *onnxio.Model) *coupling.Analysis {
	t.Helper()
	an, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return an
}

// The blocks on which a machine works are found in what it took, and with them the time at widths that
// were never measured.
func TestBlocks(t *testing.T) {
	an := analyze(t, net())
	var free []*coupling.Space
	for _, s := range an.Spaces {
		if s.Narrowable() {
			free = append(free, s)
		}
	}
	if len(free) != 2 {
		t.Fatalf("%d spaces", len(free))
	}
	for _, block := range []int{1, 8, 16, 32} {
		took := machine(block)
		table := &latency.Table{Operators: rows(block)}
		if got := table.Multiple(); got != block {
			t.Errorf("blocks of %d are taken for blocks of %d", block, got)
		}
		p := table.For(an, nil)
		for _, k := range [][2]int{{64, 64}, {40, 56}, {17, 33}, {60, 20}} {
			w := coupling.WidthsOf(map[*coupling.Space]int{free[0]: k[0], free[1]: k[1]})
			want := 0.002 + up(k[0], block)*1e-4 + took(k[0], k[1]) + 0.0001 + 1e-5*float64(k[1])
			if got := p.MS(latency.Shape{Widths: w}); math.Abs(got/want-1) > 0.05 {
				t.Errorf("blocks of %d, %v channels: %.5f ms, want %.5f", block, k, got, want)
			}
		}
		ops := p.Operators(nil)
		sum := 0.0
		for _, o := range ops {
			sum += o.Share
		}
		if len(ops) != 4 || math.Abs(sum-1) > 1e-9 || ops[0].Op != "Conv" { // no Relu: it is part of the convolution
			t.Errorf("operators: %+v", ops)
		}
	}
}

// A model without some nodes takes what the others take, and one with two operators in the place of one
// what a table says of two like them.
func TestShapes(t *testing.T) {
	m := net()
	an := analyze(t, m)
	list := rows(1)
	for _, rank := range []int{4, 8, 16, 24, 32} { // what convolutions of one position take
		list = append(list, latency.Row{
			Op: "Conv", Inputs: [][]int{{1, rank, 8, 8}, {64, rank, 1, 1}}, Outputs: [][]int{{1, 64, 8, 8}}, MS: 1e-3 + float64(64*64*rank)*1e-6,
		})
	}
	p := (&latency.Table{Operators: list}).For(an, nil)
	whole := p.MS(latency.Shape{})
	for i, n := range an.Graph.Nodes {
		alone := p.Node(n, nil, 0)
		if got := p.MS(latency.Shape{Gone: map[*onnxpb.NodeProto]bool{n: true}}); math.Abs(whole-got-alone) > 1e-12 {
			t.Errorf("node %d takes %g, and the model %g less without it", i, alone, whole-got)
		}
	}
	second := an.Graph.Producer("c")
	for _, rank := range []int{8, 24} {
		child := m.Clone()
		if _, err := edit.FirstFactors(child, map[string]int{"c": rank}); err != nil {
			t.Fatal(err)
		}
		want := (&latency.Table{Operators: list}).For(analyze(t, child), nil).MS(latency.Shape{})
		got := p.MS(latency.Shape{Ranks: map[*onnxpb.NodeProto]int{second: rank}})
		if math.Abs(got-want) > 1e-9 || got >= whole {
			t.Errorf("of rank %d: %g ms, want %g; it is %g as it was", rank, got, want, whole)
		}
		if d := whole - got - p.Node(second, nil, 0) + p.Node(second, nil, rank); math.Abs(d) > 1e-12 {
			t.Errorf("of rank %d the model and the operator differ by %g", rank, d)
		}
	}
}

// Of a table that tells nodes apart each node's own times count: one that is part of another takes
// none, one that takes twice as long as others of its kind is told from them.
func TestNodes(t *testing.T) {
	m := net()
	for i, n := range m.Proto.GetGraph().GetNode() {
		name := []string{"first", "relu", "second", "relu2", "pool", "last"}[i]
		n.Name = &name
	}
	list := rows(16)
	for i := range list {
		switch {
		case list[i].Op != "Conv":
			list[i].Node = "pool"
		case list[i].Inputs[1][2] == 1:
			list[i].Node = "last"
		case list[i].Inputs[0][1] == 3:
			list[i].Node = "first"
		default:
			list[i].Node = "second"
		}
	}
	for _, r := range slices.Clone(list) {
		if r.Node == "second" {
			r.Node, r.MS = "elsewhere", 2*r.MS
			list = append(list, r)
		}
	}
	list = append(list, latency.Row{Op: "Relu", Node: "relu", Inputs: [][]int{{1, 64, 8, 8}}, Outputs: [][]int{{1, 64, 8, 8}}})
	p := (&latency.Table{Operators: list}).For(analyze(t, m), nil)
	want := 0.002 + 64e-4 + machine(16)(64, 64) + 0.0001 + 64e-5
	if got := p.MS(latency.Shape{}); math.Abs(got/want-1) > 0.05 {
		t.Errorf("%.5f ms, want %.5f", got, want)
	}
}

// A table without a row for a linear operator is no table of the model.
func TestCovers(t *testing.T) {
	an := analyze(t, net())
	if err := (&latency.Table{Operators: rows(8)}).Covers(an, nil); err != nil {
		t.Error(err)
	}
	gemm := &latency.Table{Operators: []latency.Row{{Op: "Gemm", Inputs: [][]int{{1, 8}, {8, 8}}, Outputs: [][]int{{1, 8}}, MS: 1}}}
	if err := gemm.Covers(an, nil); err == nil || !strings.Contains(err.Error(), "no row for a Conv") {
		t.Errorf("no row: %v", err)
	}
}

// A table is read as it was written, and what is no table is an error that says where.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	table := &latency.Table{Runtime: "1.30.0", CPU: "a null processor", Threads: 2, MS: 1.5, Error: 0.02, Operators: rows(8)}
	table.Operators[0].Node = "first"
	table.Operators[1].Inputs = [][]int{nil, {4}}
	path := filepath.Join(dir, "table.json")
	if err := table.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := latency.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(table, got, cmpopts.IgnoreUnexported(latency.Table{})); diff != "" {
		t.Error(diff)
	}
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	got, err = latency.Read(write("t.CSV", "# of a phone\nop, ms, inputs, outputs, node\nConv, 0.5, 1x3x8x8;4x3x3x3;4, 1x4x8x8, first\nRelu, 0, 1x4x8x8, 1x4x8x8,\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []latency.Row{
		{Op: "Conv", Node: "first", Inputs: [][]int{{1, 3, 8, 8}, {4, 3, 3, 3}, {4}}, Outputs: [][]int{{1, 4, 8, 8}}, MS: 0.5},
		{Op: "Relu", Inputs: [][]int{{1, 4, 8, 8}}, Outputs: [][]int{{1, 4, 8, 8}}},
	}
	if diff := cmp.Diff(want, got.Operators); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string][2]string{
		"a.csv":  {"", "it is empty"},
		"b.csv":  {"op,inputs,outputs\nConv,1,1\n", `no column "ms"`},
		"c.csv":  {"op,inputs,outputs,ms\nConv,1xbx3,1,2\n", `row 1: shape "1xbx3"`},
		"d.csv":  {"op,inputs,outputs,ms\nConv,1,1,fast\n", `row 1: "fast" is no number`},
		"e.csv":  {"op,inputs,outputs,ms\nConv,1,1,-3\n", "row 1: Conv takes -3 ms"},
		"f.csv":  {"op,inputs,outputs,ms\n", "no operators"},
		"g.json": {"{}", "no operators"},
		"h.json": {`{"rows": []}`, `unknown field "rows"`},
		"i.json": {`{"operators": [{"ms": 1}]}`, "row 1 has no operator"},
		"j.json": {`{"operators": [{"op": "Add", "inputs": [[-1]], "ms": 1}]}`, "has the shape [-1]"},
		"k.json": {"\x08\x07", "latency table"},
		"l.csv":  {"op,inputs,outputs,ms\nConv,1,1,NaN\n", "takes NaN ms"},
	} {
		p := write(name, c[0])
		if _, err := latency.Read(p); err == nil || !strings.Contains(err.Error(), c[1]) || !strings.HasPrefix(err.Error(), p) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A table that leads to a device without end is not read to the end.
func TestDeviceAsTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.csv")
	if err := os.Symlink("/dev/zero", path); err != nil {
		t.Skip(err)
	}
	if _, err := latency.Read(path); err == nil || !strings.Contains(err.Error(), "more than 16 MiB") {
		t.Error(err)
	}
}

// A table that is far off what it was made from is told.
func TestDoubtful(t *testing.T) {
	for off, want := range map[float64]bool{0: false, 0.1: false, 0.5: true} {
		if got := (&latency.Table{Error: off}).Doubtful(); got != want {
			t.Errorf("an error of %g: doubtful is %v", off, got)
		}
	}
}
