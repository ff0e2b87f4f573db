package onnxtest

import (
	"fmt"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Unranked are small networks in whose middle stands a tensor whose number of axes cannot be told
// before the model runs, though what reads it demands one. All of them run in onnxruntime, and can
// be narrowed somewhere.
func Unranked() map[string]*onnxio.Model {
	conv := "e = Conv(q, w3[8 6 1 1]%s)\nf = Relu(e)\ng = Conv(f, w4[6 8 1 1])\nh = Add(q, g)\np2 = GlobalAveragePool(h)\nl = Flatten(p2)"
	gemm := "l = Gemm(q, w3[6 6]%s)"
	out := map[string]*onnxio.Model{}
	for _, mid := range []struct{ name, text, behind, bias string }{
		{"Squeeze without axes", "p = GlobalAveragePool(d)\nq = Squeeze(p)", gemm, ", b3[6]"},
		{"If", "q = If(positive)", conv, ""},
		{"Loop", "q = Loop(times{=2}, _, d)", conv, ", b3[8]"},
		{"SequenceAt", "s = SequenceConstruct(d, d)\nq = SequenceAt(s, second{=1})", conv, ""},
		{"Reshape at run time", "p = GlobalAveragePool(d)\nzf = Mul(m, none<0>)\nzi = Cast(zf) to=7\nsh = Add(zi, sh0{-1 6})\nq = Reshape(p, sh)", gemm, ", b3[1]"},
		{"function", "q = own.Twice(d)", conv, ", b3[8]"},
	} {
		m, err := Parse("x: N 3 6 6\nm = ReduceMax(x) keepdims=0\npositive = Greater(m, low<-100>)\n" +
			"a = Conv(x, w1[8 3 3 3], b1[8]) pads=1,1,1,1\nc = Relu(a)\nd = Conv(c, w2[6 8 3 3], b2[6]) pads=1,1,1,1\n" +
			mid.text + "\n" + fmt.Sprintf(mid.behind, mid.bias) + "\nr = Relu(l)\nu = Gemm(r, w5[6 9], b5[9])\nv = Relu(u)\ny = Gemm(v, w6[9 4], b6[4])")
		if err != nil {
			panic(fmt.Sprintf("onnxtest: %s: %v", mid.name, err))
		}
		for _, n := range m.Proto.Graph.Node {
			switch n.GetOpType() {
			case "If":
				n.Attribute = append(n.Attribute,
					Attr("then_branch", Graph(nil, Values(Value("t")), Node("Neg", "d", "t"))),
					Attr("else_branch", Graph(nil, Values(Value("o")), Node("Identity", "d", "o"))))
			case "Loop":
				n.Attribute = append(n.Attribute, Attr("body", Graph(
					Values(TypedValue("i", onnxio.Int64), TypedValue("go", onnxpb.TensorProto_BOOL), Value("s")),
					Values(TypedValue("k", onnxpb.TensorProto_BOOL), Value("t")),
					Node("Identity", "go", "k"), Node("Neg", "s", "t"))))
			}
		}
		if mid.name == "function" {
			standard, v := ptr(""), ptr(int64(17))
			m.Proto.Functions = []*onnxpb.FunctionProto{{
				Name: ptr("Twice"), Domain: ptr("own"), Input: []string{"v"}, Output: []string{"w"},
				Node:        []*onnxpb.NodeProto{{OpType: ptr("Add"), Input: []string{"v", "v"}, Output: []string{"w"}}},
				OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: standard, Version: v}},
			}}
		}
		out[mid.name] = m
	}
	return out
}
