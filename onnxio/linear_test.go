package onnxio_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

func TestLinears(t *testing.T) {
	type layer struct {
		Node, Weight, Bias, Recurrent string
		Followers                     []string
	}
	layersOf := func(m *onnxio.Model) []layer {
		g := graphOf(t, m)
		var out []layer
		for _, l := range g.Linears() {
			out = append(out, layer{l.Node.GetName(), l.Weight.Name, l.Bias.Name, l.Recurrent.Name, labels(g.Followers(l.Node))})
		}
		return out
	}
	values := onnxtest.Values
	for name, c := range map[string]struct {
		m    *onnxio.Model
		want []layer
	}{
		"convolutional": {small(), []layer{
			{"Conv_c", "w", "b", "", []string{"BatchNormalization_n", "Relu_r", "GlobalAveragePool_p", "Flatten_f"}},
			{"Gemm_y", "v", "", "", []string{}}}},
		"recurrent": {recurrent(), []layer{{"LSTM_", "W", "B", "R", []string{}}}},
		"MatMul with bias, weight transposed and left": {onnxtest.Model(values(onnxtest.Value("x")), values(onnxtest.Value("y")),
			onnxtest.Weights("w", []int{3, 2}, rng()), onnxtest.Weights("b", []int{1, 2}, rng()), onnxtest.Weights("v", []int{2, 2}, rng()),
			onnxtest.Node("Transpose", "w", "wt"), onnxtest.Node("Identity", "wt", "wi"),
			onnxtest.Node("MatMul", "x wi", "m"), onnxtest.Node("Add", "b m", "a"), onnxtest.Node("Tanh", "a", "h"),
			onnxtest.Node("MatMul", "v h", "y")),
			[]layer{{"MatMul_m", "w", "b", "", []string{"Add_a", "Tanh_h"}}, {"MatMul_y", "v", "", "", []string{}}}},
		"residual ends the chain, live MatMul is no layer": {onnxtest.Model(values(onnxtest.Value("x")), values(onnxtest.Value("y")),
			onnxtest.Weights("w", []int{2, 2, 1, 1}, rng()),
			onnxtest.Node("Conv", "x w", "c"), onnxtest.Node("Add", "c x", "s"), onnxtest.Node("MatMul", "s s", "y")),
			[]layer{{"Conv_c", "w", "", "", []string{}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, layersOf(c.m)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLinearSides(t *testing.T) {
	weight := func(name string, dims ...int) onnxtest.Part { return onnxtest.Weights(name, dims, rng()) }
	type want struct {
		In, Out     onnxio.Side
		Bias        string // node and input that hold it
		Groups      int
		Alpha, Beta float64
	}
	side := func(tensor string, axis, weight int) onnxio.Side {
		return onnxio.Side{Tensor: tensor, Axis: axis, Weight: weight}
	}
	for name, c := range map[string]struct {
		parts []onnxtest.Part
		want  want
	}{
		"grouped Conv": {
			[]onnxtest.Part{weight("w", 4, 2, 3, 3), onnxtest.Node("Conv", "x w", "y", onnxtest.Attr("group", 2))},
			want{side("x", 1, 1), side("y", 1, 0), "Conv_y 2", 2, 1, 1}},
		"DeformConv": {
			[]onnxtest.Part{weight("w", 4, 2, 3, 3), weight("b", 4), onnxtest.Node("DeformConv", "x w x b", "y")},
			want{side("x", 1, 1), side("y", 1, 0), "DeformConv_y 3 b", 1, 1, 1}},
		"ConvTranspose": {
			[]onnxtest.Part{weight("w", 4, 2, 3, 3), onnxtest.Node("ConvTranspose", "x w", "y")},
			want{side("x", 1, 0), side("y", 1, 1), "ConvTranspose_y 2", 1, 1, 1}},
		"Gemm": {
			[]onnxtest.Part{weight("w", 4, 2), weight("b", 2), onnxtest.Node("Gemm", "x w b", "y", onnxtest.Attr("alpha", 0.5), onnxtest.Attr("beta", 2.0))},
			want{side("x", -1, 0), side("y", -1, 1), "Gemm_y 2 b", 1, 0.5, 2}},
		"Gemm, both transposed": {
			[]onnxtest.Part{weight("w", 4, 2), onnxtest.Node("Gemm", "x w", "y", onnxtest.Attr("transA", 1), onnxtest.Attr("transB", 1))},
			want{side("x", -2, 1), side("y", -1, 0), "Gemm_y 2", 1, 1, 1}},
		"Gemm, weight left": {
			[]onnxtest.Part{weight("w", 4, 2), onnxtest.Node("Gemm", "w x", "y", onnxtest.Attr("transB", 1))},
			want{side("x", -1, 1), side("y", -2, 0), "Gemm_y 2", 1, 1, 1}},
		"Gemm, weight left and transposed": {
			[]onnxtest.Part{weight("w", 4, 2), onnxtest.Node("Gemm", "w x", "y", onnxtest.Attr("transA", 1))},
			want{side("x", -2, 0), side("y", -2, 1), "Gemm_y 2", 1, 1, 1}},
		"MatMul in batches": {
			[]onnxtest.Part{weight("w", 5, 4, 2), onnxtest.Node("MatMul", "x w", "y")},
			want{side("x", -1, 1), side("y", -1, 2), " 0", 1, 1, 1}},
		"MatMul with a bias": {
			[]onnxtest.Part{weight("w", 4, 2), weight("b", 1, 2), onnxtest.Node("MatMul", "x w", "m"), onnxtest.Node("Add", "b m", "y")},
			want{side("x", -1, 0), side("y", -1, 1), "Add_y 0 b", 1, 1, 1}},
		"MatMul, weight left, a number for each row": {
			[]onnxtest.Part{weight("w", 4, 2), weight("b", 4, 1), onnxtest.Node("MatMul", "w x", "m"), onnxtest.Node("Add", "m b", "y")},
			want{side("x", -2, 1), side("y", -2, 0), "Add_y 1 b", 1, 1, 1}},
		"MatMul and a matrix": {
			[]onnxtest.Part{weight("w", 4, 2), weight("b", 4, 2), onnxtest.Node("MatMul", "x w", "m"), onnxtest.Node("Add", "m b", "y")},
			want{side("x", -1, 0), side("m", -1, 1), " 0", 1, 1, 1}},
		"weight transposed beforehand": {
			[]onnxtest.Part{weight("w", 4, 2), onnxtest.Node("Transpose", "w", "t"), onnxtest.Node("Gemm", "x t", "y")},
			want{side("x", -1, -1), side("y", -1, -1), "Gemm_y 2", 1, 1, 1}},
		"weight passed on": {
			[]onnxtest.Part{weight("w", 4, 2), onnxtest.Node("Identity", "w", "i"), onnxtest.Node("Gemm", "x i", "y")},
			want{side("x", -1, 0), side("y", -1, 1), "Gemm_y 2", 1, 1, 1}},
		"product of two activations": {
			[]onnxtest.Part{onnxtest.Node("MatMul", "x x", "y")},
			want{side("x", -1, -1), side("y", -1, -1), " 0", 1, 1, 1}},
		"LSTM": {
			[]onnxtest.Part{weight("w", 1, 8, 3), weight("r", 1, 8, 2), onnxtest.Node("LSTM", "x w r", "y", onnxtest.Attr("hidden_size", 2))},
			want{side("x", -1, 2), side("y", -1, 1), "LSTM_y 3", 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			g := graphOf(t, onnxtest.Model(onnxtest.Values(onnxtest.Value("x")), onnxtest.Values(onnxtest.Value("y")), c.parts...))
			var l *onnxio.Linear
			for _, n := range g.Nodes {
				if x, ok := g.Linear(n); ok {
					l = x
				}
			}
			bias := fmt.Sprint(l.Bias.Node.GetName(), " ", l.Bias.Input)
			if l.Bias.Name != "" {
				bias += " " + l.Bias.Name
			}
			if d := cmp.Diff(c.want, want{l.In, l.Out, bias, l.Groups, l.Alpha, l.Beta}); d != "" {
				t.Error(d)
			}
		})
	}
}
