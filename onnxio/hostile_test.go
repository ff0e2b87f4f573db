package onnxio_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// chain is a valid model x -> Relu -> y, to which parts add the damage.
func chain(parts ...onnxtest.Part) *onnxio.Model {
	return onnxtest.Model(onnxtest.Values(onnxtest.Value("x", 4)), onnxtest.Values(onnxtest.Value("y")),
		append([]onnxtest.Part{onnxtest.Node("Relu", "x", "y")}, parts...)...)
}

// weight is an initializer "w" of one byte less or more than it claims, say.
func weight(edit func(*onnxpb.TensorProto)) onnxtest.Part {
	p := onnxio.NewTensor("w", onnxio.Float, []int{2}, []float64{1, 2}).Proto()
	edit(p)
	return onnxtest.RawInitializer(p)
}

func TestBrokenModels(t *testing.T) {
	for name, c := range map[string]struct {
		m    *onnxio.Model
		want []string // parts of the message
	}{
		"no graph": {&onnxio.Model{Proto: new(onnxpb.ModelProto)}, []string{"no graph"}},
		"cycle": {chain(onnxtest.Node("Add", "x q", "p"), onnxtest.Node("Sub", "p x", "q")),
			[]string{`"Add_p"`, "cycle"}},
		"self loop":            {chain(onnxtest.Node("Add", "x p", "p")), []string{`Add "Add_p"`, "own output"}},
		"missing input":        {chain(onnxtest.Node("Add", "x ghost", "p")), []string{`"Add_p"`, `"ghost"`}},
		"missing output":       {onnxtest.Model(nil, onnxtest.Values(onnxtest.Value("y"))), []string{`graph output "y"`}},
		"duplicate output":     {chain(onnxtest.Node("Neg", "x", "y")), []string{`"Neg_y"`, `"Relu_y"`, `output "y"`}},
		"output is input":      {chain(onnxtest.Node("Neg", "x", "x")), []string{`output "x"`}},
		"two initializers":     {chain(onnxtest.Floats("w", nil, 1), onnxtest.Floats("w", nil, 1)), []string{`"w"`, "twice"}},
		"nameless initializer": {chain(onnxtest.Floats("", nil, 1)), []string{"initializer 0", "no name"}},
		"two inputs":           {onnxtest.Model(onnxtest.Values(onnxtest.Value("x"), onnxtest.Value("x")), nil), []string{`graph input "x"`, "twice"}},
		"no operator":          {chain(onnxtest.Node("", "x", "p")), []string{"no operator"}},
		"short payload": {chain(weight(func(p *onnxpb.TensorProto) { p.RawData = p.RawData[:7] })),
			[]string{`initializer "w"`, "7 bytes", "need 8"}},
		"long payload":          {chain(weight(func(p *onnxpb.TensorProto) { p.RawData = append(p.RawData, 0) })), []string{`"w"`, "9 bytes"}},
		"no payload":            {chain(weight(func(p *onnxpb.TensorProto) { p.RawData = nil })), []string{`"w"`, "0 values"}},
		"two payloads":          {chain(weight(func(p *onnxpb.TensorProto) { p.FloatData = []float32{1, 2} })), []string{`"w"`, "both"}},
		"other payload":         {chain(weight(func(p *onnxpb.TensorProto) { p.RawData, p.Int64Data = nil, []int64{1, 2} })), []string{`"w"`, "int64_data"}},
		"negative dim":          {chain(weight(func(p *onnxpb.TensorProto) { p.Dims = []int64{-2} })), []string{`"w"`, "negative"}},
		"negative next to zero": {chain(weight(func(p *onnxpb.TensorProto) { p.Dims = []int64{0, -2} })), []string{`"w"`, "negative"}},
		"absurd dims":           {chain(weight(func(p *onnxpb.TensorProto) { p.Dims = []int64{1 << 40, 1 << 40} })), []string{`"w"`, "too large"}},
		"huge dim":              {chain(weight(func(p *onnxpb.TensorProto) { p.Dims = []int64{1 << 50} })), []string{`"w"`, "8 bytes"}},
		"no type":               {chain(weight(func(p *onnxpb.TensorProto) { p.DataType = nil })), []string{`"w"`, "data type 0"}},
		"unknown type":          {chain(weight(func(p *onnxpb.TensorProto) { p.DataType = ptr(int32(-5)) })), []string{`"w"`, "data type -5"}},
		"segment":               {chain(weight(func(p *onnxpb.TensorProto) { p.Segment = new(onnxpb.TensorProto_Segment) })), []string{`"w"`, "segments"}},
		"negative shape":        {onnxtest.Model(onnxtest.Values(onnxtest.Value("x", -7)), nil), []string{`"x"`, "-7"}},
		"absurd shape":          {onnxtest.Model(onnxtest.Values(onnxtest.Value("x", 1<<40, 1<<40)), nil), []string{`"x"`, "too large"}},
		"attribute twice": {chain(onnxtest.Node("Elu", "x", "p", onnxtest.Attr("alpha", 1.0), onnxtest.Attr("alpha", 2.0))),
			[]string{`"Elu_p"`, `"alpha"`, "twice"}},
		"no such value": {chain(onnxtest.Node("Constant", "", "p", &onnxpb.AttributeProto{Name: ptr("value"), Type: onnxpb.AttributeProto_TENSOR.Enum()})),
			[]string{`"Constant_p"`, `"value"`}},
		"bad Constant": {chain(onnxtest.Node("Constant", "", "p", onnxtest.Attr("value", &onnxpb.TensorProto{DataType: ptr(int32(1)), Dims: []int64{3}}))),
			[]string{`"Constant_p"`, `"value"`, "need 3"}},
		"in subgraph": {chain(onnxtest.Node("If", "x", "p", onnxtest.Attr("then_branch",
			onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value("o")), onnxtest.Node("Neg", "ghost", "o"))))),
			[]string{`If "If_p"`, "then_branch", `"Neg_o"`, `"ghost"`}},
		"tensor in subgraph": {chain(onnxtest.Node("If", "x", "p", onnxtest.Attr("then_branch",
			onnxtest.Graph(nil, nil, weight(func(p *onnxpb.TensorProto) { p.RawData = nil }))))),
			[]string{`If "If_p"`, "then_branch", `initializer "w"`}},
		"cycle through subgraph": {chain(onnxtest.Node("If", "x", "p", onnxtest.Attr("then_branch",
			onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value("o")), onnxtest.Node("Neg", "p", "o"))))),
			[]string{`If "If_p"`, "own output"}},
		"function": {func() *onnxio.Model {
			m := chain()
			m.Proto.Functions = []*onnxpb.FunctionProto{{Name: ptr("F"), Output: []string{"o"},
				Node: []*onnxpb.NodeProto{{OpType: ptr("Neg"), Input: []string{"ghost"}, Output: []string{"o"}}}}}
			return m
		}(), []string{`function "F"`, `"ghost"`}},
		"sparse indices": {func() *onnxio.Model {
			m := chain()
			m.Proto.Graph.SparseInitializer = []*onnxpb.SparseTensorProto{{Dims: []int64{9},
				Values:  onnxio.NewTensor("s", onnxio.Float, []int{2}, []float64{1, 2}).Proto(),
				Indices: onnxio.NewInts("", []int{3}, []int64{1, 2, 3}).Proto()}}
			return m
		}(), []string{`sparse initializer "s"`, "indices"}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := c.m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "broken.onnx")
			if err := os.WriteFile(path, data, 0o666); err != nil {
				t.Fatal(err)
			}
			_, err = onnxio.Load(path)
			if err == nil {
				t.Fatal("loaded without error")
			}
			for _, want := range append(c.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not mention %s", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q has several lines", err)
			}
		})
	}
	if err := chain().Validate(); err != nil {
		t.Errorf("the undamaged model: %v", err)
	}
}

// A file cut off anywhere, or with another wire type, is an error or (where the cut falls between
// fields) another valid model, but never a panic.
func TestDamagedBytes(t *testing.T) {
	data, err := small().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		if m, err := onnxio.Decode(data[:n], ""); err == nil {
			if err := m.Validate(); err != nil {
				t.Errorf("cut to %d bytes: decoded, then: %v", n, err)
			}
		}
	}
	graphAsNumber := protowire.AppendVarint(protowire.AppendTag(nil, 7, protowire.VarintType), 1)
	if _, err := onnxio.Decode(graphAsNumber, ""); err == nil {
		t.Error("a graph of the wrong wire type was accepted")
	}
	if _, err := onnxio.Load(t.TempDir()); err == nil {
		t.Error("a folder was loaded")
	}
	if _, err := onnxio.Load(filepath.Join(t.TempDir(), "missing.onnx")); err == nil {
		t.Error("a missing file was loaded")
	}
}

// A header that claims a terabyte costs nothing.
func TestNoAllocationOfClaims(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "d"), []byte("short"), 0o666); err != nil {
		t.Fatal(err)
	}
	claims := []*onnxpb.TensorProto{
		{Name: ptr("raw"), DataType: ptr(int32(onnxio.Float)), Dims: []int64{1 << 38}, RawData: []byte{1}},
		{Name: ptr("int4"), DataType: ptr(int32(onnxpb.TensorProto_INT4)), Dims: []int64{1 << 38}, Int32Data: []int32{1}},
		externalTensor("ext", "d", "0", "1099511627776", 1<<38),
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, p := range claims {
		m := chain(onnxtest.RawInitializer(p))
		m.Dir = dir
		if err := m.Validate(); err == nil {
			t.Errorf("%s: accepted", p.GetName())
		}
		if _, err := m.Tensor(p); err == nil {
			t.Errorf("%s: decoded", p.GetName())
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes allocated", got)
	}
}

func externalTensor(name, location, offset, length string, dims ...int64) *onnxpb.TensorProto {
	p := &onnxpb.TensorProto{Name: &name, DataType: ptr(int32(onnxio.Float)), Dims: dims,
		DataLocation: onnxpb.TensorProto_EXTERNAL.Enum()}
	for _, e := range [][2]string{{"location", location}, {"offset", offset}, {"length", length}} {
		if e[1] != "" {
			p.ExternalData = append(p.ExternalData, &onnxpb.StringStringEntryProto{Key: ptr(e[0]), Value: ptr(e[1])})
		}
	}
	return p
}

func TestHostileExternalData(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "model")
	if err := os.Mkdir(inside, 0o777); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	for _, f := range []string{secret, filepath.Join(inside, "ok.data")} {
		if err := os.WriteFile(f, make([]byte, 16), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"up": filepath.Join("..", "secret"), "absolute": secret, "folder": "..", "fine": "ok.data",
	} {
		if err := os.Symlink(target, filepath.Join(inside, link)); err != nil {
			t.Skip(err)
		}
	}
	for _, c := range []struct {
		location, offset, length string
		ok                       bool
	}{
		{"ok.data", "0", "8", true},
		{"ok.data", "8", "8", true},
		{"ok.data", "", "", true},
		{"./ok.data", "", "8", true},
		{"fine", "", "8", true},
		{"", "", "8", false},
		{"missing", "", "8", false},
		{".", "", "8", false},
		{secret, "", "8", false},
		{"../secret", "", "8", false},
		{"x/../ok.data", "", "8", false},
		{`..\secret`, "", "8", false},
		{"up", "", "8", false},
		{"absolute", "", "8", false},
		{"folder/secret", "", "8", false},
		{"ok.data", "9", "8", false},
		{"ok.data", "9223372036854775807", "8", false},
		{"ok.data", "-1", "8", false},
		{"ok.data", "zero", "8", false},
		{"ok.data", "0", "9", false},
		{"ok.data", "0", "-8", false},
	} {
		p := externalTensor("w", c.location, c.offset, c.length, 2)
		data, err := chain(onnxtest.RawInitializer(p)).Encode()
		if err != nil {
			t.Fatal(err)
		}
		_, err = onnxio.Decode(data, inside)
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil && !strings.Contains(err.Error(), `"w"`) {
			t.Errorf("%+v: %v does not name the tensor", c, err)
		}
		if _, err := (&onnxio.Model{Dir: inside}).Tensor(p); (err == nil) != c.ok {
			t.Errorf("%+v: Tensor: %v", c, err)
		}
	}
	if _, err := memory.Tensor(externalTensor("w", "ok.data", "", "8", 2)); err == nil {
		t.Error("external data was read although the model has no folder")
	}
}

// nested is a model of graphs in graphs, each an If in the branch of another.
func nested(depth int) *onnxio.Model {
	branch := onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value("o")), onnxtest.Node("Neg", "x", "o"))
	for range depth - 1 {
		branch = onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value("o")),
			onnxtest.Node("If", "x", "o", onnxtest.Attr("then_branch", branch)))
	}
	return chain(onnxtest.Node("If", "x", "p", onnxtest.Attr("then_branch", branch)))
}

// Graphs may lie in each other as deep as onnxruntime reads them; beyond that a model is an error,
// before anything goes down into it.
func TestNesting(t *testing.T) {
	for depth, readable := range map[int]bool{1: true, 31: true, 35: false, 3_000: false, 5_000: false, 50_000: false} {
		data, err := nested(depth).Encode()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "nested.onnx")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		_, loading := onnxio.Load(path)
		_, decoding := onnxio.Decode(data, "")
		for _, err := range []error{loading, decoding} {
			if (err == nil) != readable {
				t.Errorf("%d levels: error %v", depth, err)
			}
			if err != nil && (strings.Contains(err.Error(), "\n") || depth < 3_300 && !strings.Contains(err.Error(), "100 messages deep")) {
				t.Errorf("%d levels: error %q does not say why", depth, err)
			}
		}
	}
}
