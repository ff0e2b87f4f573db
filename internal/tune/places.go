package tune

import (
	"math"
	"slices"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
)

// gathered puts a gradient back at the places that were taken, which have to be known: dx is dy times
// a matrix with a one for each.
func gathered(t *tape, n *op, dy string) (string, error) {
	places, err := t.axes(n, "", 1)
	if err != nil {
		return "", err
	}
	x, axis := n.dims[0], n.int("axis", 0)
	if axis < 0 {
		axis += len(x)
	}
	if len(places)*x[axis] > mostPlaces {
		return "", errNoRule
	}
	taken := make([]float64, len(places)*x[axis])
	for i, p := range places {
		if p < 0 {
			p += x[axis]
		}
		taken[i*x[axis]+p] = 1
	}
	before, behind := engine.Count(x[:axis]), engine.Count(x[axis+1:])
	d := t.transpose(t.reshape(dy, before, len(places), behind), 0, 2, 1)
	d = t.do("MatMul", d, t.floats([]int{len(places), x[axis]}, taken...))
	return t.reshape(t.transpose(d, 0, 2, 1), x...), nil
}

// mostPlaces bounds the matrix of gathered.
const mostPlaces = 1 << 24

// tiled adds up the gradients of all copies.
func tiled(t *tape, n *op, dy string) (string, error) {
	var apart, copies []int
	for i, d := range n.dims[0] {
		copies = append(copies, len(apart))
		apart = append(apart, n.y[i]/max(d, 1), d)
	}
	return t.reduce(t.reshape(dy, apart...), false, copies...), nil
}

// toDepth and toSpace undo each other.
func toDepth(t *tape, n *op, dy string) (string, error) {
	x, b := n.dims[0], n.int("blocksize", 1)
	d := t.reshape(dy, x[0], n.y[1], x[2], b, x[3], b)
	if onnxio.AttrString(n.NodeProto, "mode", "DCR") == "CRD" {
		d = t.transpose(d, 0, 1, 3, 5, 2, 4)
	} else {
		d = t.transpose(d, 0, 3, 5, 1, 2, 4)
	}
	return t.reshape(d, x...), nil
}

func toSpace(t *tape, n *op, dy string) (string, error) {
	x, b := n.dims[0], n.int("blocksize", 1)
	d := t.transpose(t.reshape(dy, x[0], b, b, x[1], n.y[2], n.y[3]), 0, 3, 4, 1, 5, 2)
	return t.reshape(d, x...), nil
}

// resized undoes a Resize axis by axis, by the transpose of what it multiplies with.
func resized(t *tape, n *op, dy string) (string, error) {
	x := n.dims[0]
	given, err := t.given(n)
	if err != nil || given != nil && len(given) != len(x) {
		return "", errNoRule // some axes only
	}
	size := slices.Clone(n.y)
	for axis := range x {
		if size[axis] == x[axis] && (given == nil || given[axis] == 1) {
			continue
		}
		scale := float64(size[axis]) / float64(x[axis])
		if given != nil {
			scale = given[axis]
		}
		m := interpolation(n, t.opset < 11, x[axis], size[axis], scale)
		if m == nil {
			return "", errNoRule
		}
		before, behind := engine.Count(size[:axis]), engine.Count(size[axis+1:])
		d := t.reshape(dy, before, size[axis], behind)
		dy = t.do("MatMul", t.floats([]int{x[axis], size[axis]}, m...), d)
		size[axis] = x[axis]
	}
	return t.reshape(dy, x...), nil
}

// given are the scales that a Resize states, nil where it states sizes.
func (t *tape) given(n *op) ([]float64, error) {
	at := 2
	if t.opset < 11 {
		at = 1
	}
	if len(n.in) <= at || n.in[at] == "" || len(n.dims[at]) == 1 && n.dims[at][0] == 0 {
		return nil, nil
	}
	v, err := t.value(n.in[at])
	if err != nil {
		return nil, err
	}
	return v.Float64(), nil
}

// interpolation is the matrix [from, to] whose transpose a Resize, perhaps of the operator sets before
// 11, multiplies an axis with; nil where that is none of those known here.
func interpolation(n *op, old bool, from, to int, scale float64) []float64 {
	attr := func(name, def string) string { return onnxio.AttrString(n.NodeProto, name, def) }
	place, round := attr("coordinate_transformation_mode", "half_pixel"), attr("nearest_mode", "round_prefer_floor")
	if old {
		place, round = "asymmetric", "floor"
	}
	if n.int("antialias", 0) != 0 || attr("keep_aspect_ratio_policy", "stretch") != "stretch" {
		return nil
	}
	out := make([]float64, from*to)
	add := func(i, k int, share float64) { out[min(max(i, 0), from-1)*to+k] += share }
	for k := range to {
		var at float64
		switch place {
		case "half_pixel":
			at = (float64(k)+0.5)/scale - 0.5
		case "pytorch_half_pixel":
			if to > 1 {
				at = (float64(k)+0.5)/scale - 0.5
			}
		case "asymmetric":
			at = float64(k) / scale
		case "align_corners":
			if to > 1 {
				at = float64(k) * float64(from-1) / float64(to-1)
			}
		default:
			return nil
		}
		switch attr("mode", "nearest") {
		case "linear":
			at = min(max(at, 0), float64(from-1))
			low := math.Floor(at)
			add(int(low), k, 1-(at-low))
			add(int(low)+1, k, at-low)
		case "nearest":
			switch round {
			case "round_prefer_floor":
				at = math.Ceil(at - 0.5)
			case "round_prefer_ceil":
				at = math.Floor(at + 0.5)
			case "floor":
				at = math.Floor(at)
			case "ceil":
				at = math.Ceil(at)
			default:
				return nil
			}
			add(int(at), k, 1)
		default:
			return nil
		}
	}
	return out
}
