package main

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// bodies is a network with graphs in graphs between its layers, by turns branches of an If and bodies
// of a Loop, which reach for what is around them; with a function, and with a sparse weight.
func bodies(depth int, times int64) *onnxio.Model {
	inner := onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value("r0")), onnxtest.Node("Sin", "f", "r0"))
	for k := 1; k <= depth; k++ {
		was, now := fmt.Sprint("r", k-1), fmt.Sprint("r", k)
		if k%2 == 1 {
			inner = onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value(now)),
				onnxtest.Node("If", "yes", now, onnxtest.Attr("then_branch", inner), onnxtest.Attr("else_branch", proto.CloneOf(inner))))
			if k > 3 { // else there are twice as many at every level
				then := inner.Node[0].Attribute[1].G
				then.Node = []*onnxpb.NodeProto{{OpType: proto.String("Identity"), Input: []string{"f"}, Output: []string{was}}}
			}
			continue
		}
		i, on, out := fmt.Sprint("i", k), fmt.Sprint("on", k), fmt.Sprint("out", k)
		inner.Input = onnxtest.Values(onnxtest.TypedValue(i, onnxio.Int64), onnxtest.TypedValue(on, onnxio.Bool), onnxtest.Value("v"+now))
		inner.Output = onnxtest.Values(onnxtest.TypedValue(out, onnxio.Bool), onnxtest.Value(was))
		inner.Node = append(inner.Node, &onnxpb.NodeProto{OpType: proto.String("Identity"), Input: []string{on}, Output: []string{out}})
		inner = onnxtest.Graph(nil, onnxtest.Values(onnxtest.Value(now)), onnxtest.Node("Loop", "times yes f", now, onnxtest.Attr("body", inner)))
	}
	last := fmt.Sprint("r", depth)
	m := onnxtest.Model(onnxtest.Values(onnxtest.Value("x", "N", 8)), onnxtest.Values(onnxtest.Value("y", "N", 4)),
		onnxtest.Initializer(onnxio.NewInts("times", nil, []int64{times})),
		onnxtest.Initializer(&onnxio.Tensor{Name: "yes", Type: onnxio.Bool, I64: []int64{1}}),
		onnxtest.Floats("w", []int{8, 16}, ramp(128)...), onnxtest.Floats("b", []int{16}, ramp(16)...),
		onnxtest.Node("Gemm", "x w b", "h"), onnxtest.Node("Curved", "h", "f"),
	)
	m.Proto.Graph.Node[1].Domain = proto.String("own")
	m.Proto.Graph.Node = append(m.Proto.Graph.Node, inner.Node...)
	m.Proto.Graph.Node = append(m.Proto.Graph.Node, &onnxpb.NodeProto{OpType: proto.String("MatMul"), Input: []string{last, "u"}, Output: []string{"y"}})
	values := onnxio.NewTensor("u", onnxio.Float, []int{3}, []float64{1, -2, 3}).Proto()
	m.Proto.Graph.SparseInitializer = []*onnxpb.SparseTensorProto{{Values: values, Indices: onnxio.NewInts("", []int{3}, []int64{1, 20, 63}).Proto(), Dims: []int64{16, 4}}}
	m.Proto.OpsetImport = append(m.Proto.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("own"), Version: proto.Int64(1)})
	m.Proto.Functions = []*onnxpb.FunctionProto{{
		Domain: proto.String("own"), Name: proto.String("Curved"), Input: []string{"a"}, Output: []string{"c"}, OpsetImport: m.Proto.OpsetImport[:1],
		Node: []*onnxpb.NodeProto{{OpType: proto.String("Relu"), Input: []string{"a"}, Output: []string{"c"}}},
	}}
	return m
}

// ramp is n numbers around zero.
func ramp(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = math.Sin(float64(i * i))
	}
	return v
}

// Graphs in graphs as deep as they are read are no trouble for any command, whatever they are given:
// each ends in time, with a result or one line.
func TestNestedBodies(t *testing.T) {
	for _, depth := range []int{1, 4, 29} {
		m := bodies(depth, 1)
		path := filepath.Join(t.TempDir(), "nested.onnx")
		if err := onnxio.Save(t.Context(), path, m, onnxio.SaveOptions{}); err != nil {
			t.Fatalf("%d levels: %v", depth, err)
		}
		if _, err := engine.Available(); err == nil {
			must(t, "eval", path, "--runs", "1", "--data", "none")
		}
		for _, args := range [][]string{
			{"inspect", path}, {"diff", path, path}, {"convert", path, "-o", out(t), "--external-data"},
			{"compress", path, "-o", out(t), "--keep", "0.5", "--data", "none"},
			{"compress", path, "-o", out(t), "--keep", "0.5", "--tune", "0", "--no-latency"},
			{"compress", path, "-o", out(t), "--lossless", "--no-latency"},
			{"fuse", path, path, "-o", out(t), "--data", "none"},
		} {
			start := time.Now()
			r := run(t, args...)
			if bad := badLine(r.code, r.stderr); bad != "" || time.Since(start) > time.Minute {
				t.Errorf("%d levels: monge %s: exit code %d after %v: %s", depth, args[0], r.code, time.Since(start), bad)
			}
		}
	}
}
