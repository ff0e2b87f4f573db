package onnxio

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// leastOf are the smallest values of integer attributes that mean the same in every operator that
// has them, those of onnxruntime's own domain included. The largest is 2³¹−1: what runs models
// counts in 32 bits.
var leastOf = map[string]int64{
	"kernel_shape": 1, "strides": 1, "dilations": 1, "group": 1, "output_padding": 0,
	"blocksize": 1, "num_groups": 1, "groups": 1, "num_outputs": 1, "hidden_size": 1, "num_heads": 1,
	"batch_dims": 0, "output_height": 1, "output_width": 1, "sampling_ratio": 0,
}

// leastIn are those of attributes that mean something else in other operators: a Pad may cut off.
var leastIn = map[string]map[string]int64{
	"pads": {"Conv": 0, "ConvTranspose": 0, "ConvInteger": 0, "QLinearConv": 0, "DeformConv": 0, "FusedConv": 0, "NhwcConv": 0,
		"MaxPool": 0, "AveragePool": 0, "LpPool": 0, "MaxUnpool": 0, "QLinearAveragePool": 0, "Col2Im": 0},
	"size":       {"LRN": 1},
	"p":          {"LpPool": 1},
	"block_size": {"MatMulNBits": 1, "MatMulBnb4": 1, "GatherBlockQuantized": 1},
	"k":          {"TopK": 0},
}

// CheckAttributes looks for integer attributes that no operator can work with: windows of no size,
// steps of zero, negative padding, groups that do not divide the channels, axes that a tensor does
// not have, permutations that are none. onnxruntime divides by some of them. Errors name the node.
// Bodies of nodes are looked at as well.
func (g *Graph) CheckAttributes() error {
	for _, n := range g.Nodes {
		if err := g.checkNode(n); err != nil {
			return fmt.Errorf("%s: %w", Label(n), err)
		}
		for _, sub := range g.Subgraphs(n) {
			if err := sub.CheckAttributes(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *Graph) checkNode(n *onnxpb.NodeProto) error {
	if domain := standardDomain(n.GetDomain()); domain != "" && domain != "com.microsoft" {
		return nil // whose attributes may mean anything
	}
	for _, a := range n.GetAttribute() {
		if err := checkRange(n, a); err != nil {
			return err
		}
	}
	if strings.Contains(n.GetOpType(), "Conv") {
		if err := g.checkConv(n); err != nil {
			return err
		}
	}
	return g.checkAxes(n)
}

// checkRange compares an attribute with the smallest and the largest number that it may be.
func checkRange(n *onnxpb.NodeProto, a *onnxpb.AttributeProto) error {
	least, ok := leastOf[a.GetName()]
	if !ok {
		least, ok = leastIn[a.GetName()][n.GetOpType()]
	}
	if !ok {
		return nil
	}
	values := attrInts(a)
	if slices.ContainsFunc(values, func(v int64) bool { return v < least || v > math.MaxInt32 }) {
		return fmt.Errorf("%s is %v: want %d to %d", a.GetName(), values, least, math.MaxInt32)
	}
	return nil
}

// convWeight is the input at which a convolution has its weight.
var convWeight = map[string]int{"Conv": 1, "ConvTranspose": 1, "DeformConv": 1, "ConvInteger": 1, "QLinearConv": 3}

// checkConv compares the attributes of a convolution with its weight, if that is a constant.
func (g *Graph) checkConv(n *onnxpb.NodeProto) error {
	for _, in := range n.GetInput() {
		if slices.Contains(g.Constant(in).GetDims(), 0) {
			return fmt.Errorf("weight %q is empty", in)
		}
	}
	input, ok := convWeight[StandardOp(n)]
	if !ok || input >= len(n.GetInput()) {
		return nil
	}
	name := n.GetInput()[input]
	dims := g.Constant(name).GetDims()
	if dims == nil {
		return nil
	}
	if len(dims) < 3 {
		return fmt.Errorf("weight %q has %d axes: want 3 or more", name, len(dims))
	}
	spatial := dims[2:]
	for attr, want := range map[string]int{"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 1, "pads": 2} {
		if v := AttrInts(n, attr); len(v) > 0 && len(v) != want*len(spatial) {
			return fmt.Errorf("%s is %v: want %d numbers, for weight %q has %d spatial axes", attr, v, want*len(spatial), name, len(spatial))
		}
	}
	if v := AttrInts(n, "kernel_shape"); len(v) > 0 && !slices.Equal(v, spatial) {
		return fmt.Errorf("kernel_shape is %v: weight %q has %v", v, name, spatial)
	}
	// The channels that the groups share out are the first axis of either weight.
	if group := AttrInt(n, "group", 1); dims[0]%group != 0 {
		return fmt.Errorf("group is %d: it does not divide the %d channels of weight %q", group, dims[0], name)
	}
	return nil
}

// countsAxes lists the operators whose attributes axis or axes count those of the first input.
var countsAxes = strings.Fields(`ArgMax ArgMin Compress Concat CumSum Flatten Gather GatherElements Hardmax LayerNormalization
	LogSoftmax LpNormalization MeanVarianceNormalization ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
	ReduceMin ReduceProd ReduceSum ReduceSumSquare Scatter ScatterElements Softmax Split Squeeze TopK`)

// checkAxes compares axes, and a permutation, with the rank of the first input, where a graph input
// or a constant says it; what is stored about other tensors may be wrong, and is not gone by.
func (g *Graph) checkAxes(n *onnxpb.NodeProto) error {
	op := StandardOp(n)
	if perm := AttrInts(n, "perm"); op == "Transpose" && perm != nil {
		if want := seq(len(perm)); !slices.Equal(slices.Sorted(slices.Values(perm)), want) {
			return fmt.Errorf("perm is %v: want a permutation of %v", perm, want)
		}
	}
	if !slices.Contains(countsAxes, op) || len(n.GetInput()) == 0 {
		return nil
	}
	rank := g.sureRank(n.GetInput()[0])
	if rank < 0 {
		return nil
	}
	least, most := -int64(max(rank, 1)), int64(max(rank, 1)-1)
	if op == "Flatten" {
		most++ // all axes become the first
	}
	for _, name := range []string{"axis", "axes"} {
		values := attrInts(Attr(n, name))
		if slices.ContainsFunc(values, func(v int64) bool { return v < least || v > most }) {
			return fmt.Errorf("%s is %v: %q has %d axes", name, values, n.GetInput()[0], rank)
		}
	}
	return nil
}

// attrInts are the integers of an attribute, one or several.
func attrInts(a *onnxpb.AttributeProto) []int64 {
	if a.GetType() == onnxpb.AttributeProto_INT {
		return []int64{a.GetI()}
	}
	return a.GetInts()
}

// sureRank is the rank of a graph input or a constant; -1 of other tensors.
func (g *Graph) sureRank(tensor string) int {
	if t := g.Constant(tensor); t != nil {
		return len(t.GetDims())
	}
	if dims, _, ok := Dims(g.ValueInfo(tensor)); ok && g.IsInput(tensor) {
		return len(dims)
	}
	return -1
}

func seq(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}
