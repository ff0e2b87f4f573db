package coupling_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// envOperators names a folder of small models, each with recorded inputs in test_data_set_0, such
// as the test data of ONNX itself:
//
//	MONGE_OPERATORS=/usr/share/libonnx-testdata/data/node go test ./coupling -run TestOperatorFolder
const envOperators = "MONGE_OPERATORS"

// Every operator, in every form that the folder has, is set between a layer that produces one axis
// of one of its inputs and a layer that reads all of its output; its other inputs become weights.
// Whatever the analysis then allows must be exact.
func TestOperatorFolder(t *testing.T) {
	folder := os.Getenv(envOperators)
	if folder == "" {
		t.Skip(envOperators + " names no folder of operators")
	}
	enginetest.Require(t)
	files, err := filepath.Glob(filepath.Join(folder, "*", "model.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no models (%v)", folder, err)
	}
	tried := 0
	for _, path := range files {
		name := filepath.Base(filepath.Dir(path))
		m, err := onnxio.Load(path)
		if err != nil {
			continue // the business of package onnxio
		}
		for i, in := range m.Proto.GetGraph().GetInput() {
			dims, _, ok := onnxio.Dims(in)
			if !ok || onnxio.ElemType(in) != onnxio.Float || elements(dims) > maxTried {
				continue
			}
			for k, d := range dims {
				if d < 2 || d > 256 {
					continue
				}
				between, err := sandwich(m, filepath.Join(filepath.Dir(path), "test_data_set_0"), i, k)
				if err != nil || !runs(between) {
					continue
				}
				tried++
				t.Run(fmt.Sprintf("%s/%s/%d", name, in.GetName(), k), func(t *testing.T) {
					s := subject(t, between)
					for _, l := range describe(s.Analysis) {
						t.Log(l)
					}
					identities(t, between)
				})
			}
		}
	}
	t.Logf("%d forms in %d models", tried, len(files))
	if tried == 0 {
		t.Error("no operator was tried")
	}
}

// maxTried bounds the elements of an input or output that are tried.
const maxTried = 1 << 20

func elements(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= max(d, 0)
	}
	return n
}

// sandwich sets a model between two linear layers: axis k of input i is produced, other inputs get
// their recorded values, and a layer reads the whole first output.
func sandwich(m *onnxio.Model, recorded string, i, k int) (*onnxio.Model, error) {
	m = m.Clone()
	p := m.Proto.GetGraph()
	ins := p.GetInput()
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	p.Input = nil
	file := -1
	for j, in := range ins {
		if g.Constant(in.GetName()) != nil { // old files declare weights too
			continue
		}
		file++
		raw, err := os.ReadFile(filepath.Join(recorded, fmt.Sprintf("input_%d.pb", file)))
		if err != nil {
			return nil, err
		}
		tp := new(onnxpb.TensorProto)
		if err := proto.Unmarshal(raw, tp); err != nil {
			return nil, err
		}
		if j != i {
			if in.GetType().GetTensorType() == nil {
				return nil, fmt.Errorf("%q is no tensor", in.GetName())
			}
			name := in.GetName()
			tp.Name = &name
			p.Initializer = append(p.Initializer, tp)
			continue
		}
		dims, _, _ := onnxio.Dims(in)
		shape := make([]any, len(dims))
		for a, d := range dims {
			shape[a] = int(d)
		}
		p.Input = append(p.Input, onnxtest.Value("before_x", shape...))
		n := int(dims[k])
		rng := rand.New(rand.NewPCG(1, 1))
		w := make([]float64, n*n)
		for a := range w {
			w[a] = 0.2 + rng.Float64()
		}
		p.Initializer = append(p.Initializer, onnxio.NewTensor("before_w", onnxio.Float, []int{n, n}, w).Proto())
		perm := make([]int64, len(dims))
		for a := range perm {
			perm[a] = int64(a)
		}
		perm[k], perm[len(perm)-1] = perm[len(perm)-1], perm[k]
		var before []*onnxpb.NodeProto
		for _, n := range [][3]string{{"Abs", "before_x", "before_a"}, {"Transpose", "before_a", "before_t"}, {"MatMul", "before_t before_w", "before_m"}, {"Transpose", "before_m", in.GetName()}} {
			node := onnxNode(n[0], n[1], n[2])
			if n[0] == "Transpose" {
				node.Attribute = []*onnxpb.AttributeProto{onnxtest.Attr("perm", perm)}
			}
			before = append(before, node)
		}
		p.Node = append(before, p.Node...)
	}
	if len(p.Input) == 0 {
		return nil, fmt.Errorf("input %d is a weight", i)
	}
	out := p.GetOutput()[0]
	dims, _, ok := onnxio.Dims(out)
	n := elements(dims)
	if !ok || n == 0 || n > maxTried {
		return nil, fmt.Errorf("output %q has %v", out.GetName(), dims)
	}
	rng := rand.New(rand.NewPCG(2, 2))
	w := make([]float64, 3*n)
	for a := range w {
		w[a] = rng.NormFloat64()
	}
	p.Initializer = append(p.Initializer,
		onnxio.NewTensor("after_w", onnxio.Float, []int{int(n), 3}, w).Proto(),
		onnxio.NewTensor("after_b", onnxio.Float, []int{1}, []float64{0.1}).Proto(),
		onnxio.NewInts("after_s", []int{2}, []int64{1, n}).Proto())
	cast := onnxNode("Cast", out.GetName(), "after_c")
	cast.Attribute = []*onnxpb.AttributeProto{onnxtest.Attr("to", int(onnxio.Float))}
	p.Node = append(p.Node, cast, onnxNode("Reshape", "after_c after_s", "after_r"), onnxNode("MatMul", "after_r after_w", "after_m"))
	last := onnxNode("Add", "after_m after_b", "after_y")
	if m.Opset("") < 7 { // an Add of old does not broadcast
		last = onnxNode("Identity", "after_m", "after_y")
	}
	p.Node = append(p.Node, last)
	p.Output = []*onnxpb.ValueInfoProto{onnxtest.Value("after_y", 1, 3)}
	if v := m.Proto.GetIrVersion(); v < 4 {
		four := int64(4)
		m.Proto.IrVersion = &four
	}
	return m, nil
}

func onnxNode(op, ins, out string) *onnxpb.NodeProto {
	name := op + "_" + out
	return &onnxpb.NodeProto{OpType: &op, Name: &name, Input: strings.Fields(ins), Output: []string{out}}
}

// runs reports whether a model runs, gives the same numbers every time, and says anything: not all
// zeros, no NaN.
func runs(m *onnxio.Model) bool {
	s, err := engine.Open(m, engine.Options{Threads: 1, Strict: true, AsWritten: true})
	if err != nil {
		return false
	}
	defer s.Close()
	dims := s.Inputs()[0].Dims
	n := 1
	shape := make([]int, len(dims))
	for i, d := range dims {
		shape[i] = int(d)
		n *= shape[i]
	}
	rng := rand.New(rand.NewPCG(3, 5))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	var last []float64
	for range 2 {
		out, err := s.Run(context.Background(), map[string]*engine.Value{"before_x": engine.Float32(x, shape...)})
		if err != nil {
			return false
		}
		y := out["after_y"].Float64()
		size := 0.0
		for _, v := range y {
			size += math.Abs(v)
		}
		if !(size > 1e-9 && size < 1e30) || last != nil && !slices.Equal(last, y) {
			return false
		}
		last = y
	}
	return true
}
