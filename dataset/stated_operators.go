package dataset

import (
	"math"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// firstOperators tells from the operators right behind an input whether they normalise pixels of
// 0…255 or numbers from 0 to 1.
func firstOperators(g *onnxio.Graph, input string) *Stated {
	scale, shift := 1.0, 0.0
	var ops []string
	for tensor := input; ; {
		readers := g.Consumers(tensor)
		if len(readers) != 1 || readers[0].Input < 0 || g.IsOutput(tensor) {
			break
		}
		n := readers[0].Node
		op := onnxio.StandardOp(n)
		if op == "BatchNormalization" && len(ops) == 0 {
			return ofStatistics(g, n)
		}
		switch {
		case slices.Contains([]string{"Add", "Sub", "Mul", "Div"}, op) && len(n.GetInput()) == 2:
			other, ok := meanOf(g, n.GetInput()[1-readers[0].Input])
			if !ok || readers[0].Input != 0 && (op == "Sub" || op == "Div") || other == 0 && op == "Div" {
				return nil
			}
			switch op {
			case "Add":
				shift += other
			case "Sub":
				shift -= other
			case "Mul":
				scale, shift = scale*other, shift*other
			case "Div":
				scale, shift = scale/other, shift/other
			}
			ops = append(ops, op)
		case !slices.Contains([]string{"Identity", "Cast", "Transpose"}, op):
			return ofRange(scale, shift, ops)
		}
		tensor = n.GetOutput()[0]
	}
	return ofRange(scale, shift, ops)
}

// ofRange tells pixels from numbers of 0 to 1 by what the first operators make of them.
func ofRange(scale, shift float64, ops []string) *Stated {
	if scale == 1 && shift == 0 {
		return nil
	}
	// Networks are trained on numbers about zero, or from 0 to 1.
	suits := func(most float64) bool {
		low, high := min(shift, most*scale+shift), max(shift, most*scale+shift)
		span := high - low
		return span > 0.4 && (math.Abs(low+high)/2 <= 0.35*span || math.Abs(low) < 0.01 && high < 2)
	}
	where := "the model's first operators (" + strings.Join(ops, ", ") + ")"
	switch pixels, shares := suits(255), suits(1); {
	case pixels && !shares:
		return &Stated{Where: where}
	case shares && !pixels:
		return &Stated{Preprocess: between0and1, Where: where}
	}
	return nil
}

// ofStatistics tells by what a first normalisation has seen when it was trained.
func ofStatistics(g *onnxio.Graph, n *onnxpb.NodeProto) *Stated {
	in := n.GetInput()
	if len(in) < 5 {
		return nil
	}
	mean, ok := meanOf(g, in[3])
	variance, known := meanOf(g, in[4])
	if !ok || !known || !(variance > 0) {
		return nil
	}
	const where = "the model's first BatchNormalization"
	switch std := math.Sqrt(variance); {
	case mean > 20 && mean < 235 && std > 10 && std < 120:
		return &Stated{Where: where}
	case mean > 0.1 && mean < 0.9 && std > 0.04 && std < 0.5:
		return &Stated{Preprocess: between0and1, Where: where}
	}
	return nil
}

// mostChannels bounds the constants that are taken for those of channels.
const mostChannels = 16

// meanOf is the mean of a constant with a number for each channel, or a single one.
func meanOf(g *onnxio.Graph, name string) (mean float64, ok bool) {
	p := g.Constant(name)
	if p == nil || onnxio.Elements(p) < 1 || onnxio.Elements(p) > mostChannels {
		return 0, false
	}
	t, err := g.Model.Tensor(p)
	if err != nil || !onnxio.IsFloat(t.Type) {
		return 0, false
	}
	v := t.Float64()
	for _, x := range v {
		mean += x / float64(len(v))
	}
	return mean, !math.IsNaN(mean) && !math.IsInf(mean, 0)
}
