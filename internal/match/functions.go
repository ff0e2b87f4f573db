package match

import (
	"math"
	"slices"
	"strings"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// The probe of functions: rows of channels. Functions of rows are means, norms and Softmax.
const probeRows, probeCols = 3, 8

// probe is spread over where functions bend, without any order or symmetry.
var probe = func() []float64 {
	out := make([]float64, probeRows*probeCols)
	for i := range out {
		out[i] = 6*math.Mod(float64(i+1)*math.Phi, 1) - 3
	}
	return out
}()

// normalisation takes in operators that normalise rows, and scale and shift them: functions of rows
// with two stems behind.
func (sp *speller) normalisation(n *onnxpb.NodeProto, formed []*term) bool {
	var of func([]float64) []float64
	epsilon := float64(onnxio.AttrFloat(n, "epsilon", 1e-5))
	op := n.GetOpType()
	switch op {
	case "LayerNormalization", "GroupNormalization", "InstanceNormalization":
		of = func(x []float64) []float64 { return normalised(x, epsilon, true) }
	case "RMSNormalization", "SimplifiedLayerNormalization":
		of = func(x []float64) []float64 { return normalised(x, epsilon, false) }
	default:
		return false
	}
	if len(formed) != 1 || formed[0].tensor != n.GetInput()[0] || len(n.GetInput()) < 2 || slices.ContainsFunc(n.GetOutput()[1:], func(o string) bool { return len(sp.s.Graph.Consumers(o)) > 0 }) {
		return false
	}
	out := n.GetOutput()[0]
	t := *formed[0]
	t.tensor, t.value, t.spelling = out, of(t.value), t.spelling+" "+op
	sp.terms[out] = &t
	if op == "InstanceNormalization" && sp.idle(n) {
		return true
	}
	sp.grow(out, &stem{input: -1, kind: "Mul", args: []*term{&t}, slots: slotsOf(sp.slot("weight", n.GetInput()[1])), label: onnxio.Label(n)})
	if len(n.GetInput()) > 2 && n.GetInput()[2] != "" {
		inner := *sp.terms[out]
		inner.tensor, inner.stem.tensor = "", ""
		sp.grow(out, &stem{input: -1, kind: "Add", args: []*term{&inner}, slots: slotsOf(sp.slot("weight", n.GetInput()[2])), label: onnxio.Label(n)})
	}
	return true
}

// idle reports whether an InstanceNormalization neither scales nor shifts the groups that a Reshape
// has made: it is a part of a GroupNormalization.
func (sp *speller) idle(n *onnxpb.NodeProto) bool {
	before := sp.s.Graph.Producer(n.GetInput()[0])
	if before == nil || before.GetOpType() != "Reshape" || len(n.GetInput()) != 3 {
		return false
	}
	for i, want := range []float64{1, 0} {
		w := weightOf(sp.s, n.GetInput()[1+i])
		if w == nil {
			return false
		}
		v, err := sp.s.Floats(w.Name)
		if sp.err = err; err != nil || slices.ContainsFunc(v, func(x float64) bool { return x != want }) {
			return false
		}
	}
	return true
}

// function takes in operators that make a function of one stem, with constants of one number.
func (sp *speller) function(n *onnxpb.NodeProto, formed []*term) bool {
	if len(formed) == 0 || slices.ContainsFunc(formed, func(t *term) bool { return t.stem != formed[0].stem }) {
		return false
	}
	f, ok := sp.rowFunction(n)
	if !ok {
		return false
	}
	out := &term{tensor: n.GetOutput()[0], stem: formed[0].stem, vague: slices.ContainsFunc(formed, func(t *term) bool { return t.vague }),
		causal: slices.ContainsFunc(formed, func(t *term) bool { return t.causal })}
	var inputs [][]float64
	operands := n.GetInput()
	if rows[onnxio.StandardOp(n)] != nil {
		operands = operands[:1] // axes are none
	}
	for _, in := range operands {
		if in == "" {
			inputs = append(inputs, nil)
			continue
		}
		t := sp.terms[in]
		if t != nil && t.plain {
			t = nil
		}
		if t != nil {
			inputs = append(inputs, t.value)
			if !strings.Contains(out.spelling, t.spelling) {
				out.spelling += t.spelling
			}
			for _, s := range t.scalars {
				if !slices.Contains(out.scalars, s) {
					out.scalars = append(out.scalars, s)
				}
			}
			continue
		}
		x, ok := sp.scalar(in)
		if ok {
			out.scalars = append(out.scalars, in)
		} else if v := sp.known(in); len(v) == 1 && !math.IsNaN(v[0]) {
			x = v[0]
		} else {
			return false
		}
		inputs = append(inputs, slices.Repeat([]float64{x}, len(probe)))
	}
	out.value = f(inputs)
	out.spelling += " " + n.GetOpType()
	sp.terms[out.tensor] = out
	return true
}

// scalar reads a constant of one number.
func (sp *speller) scalar(name string) (float64, bool) {
	roots := sp.s.Analysis.Roots[name]
	if len(roots) != 1 || !sp.stored(name) {
		return 0, false
	}
	if w := sp.s.Analysis.Weights[roots[0]]; w == nil || w.Len() != 1 || w.Quant != nil {
		return 0, false
	}
	v, err := sp.s.Floats(roots[0])
	if err != nil || len(v) != 1 {
		return 0, false
	}
	return v[0], true
}

// rowFunction returns the function of the operators that neither read weights nor mix anything but
// the channels of a row.
func (sp *speller) rowFunction(n *onnxpb.NodeProto) (f func(inputs [][]float64) []float64, ok bool) {
	op := onnxio.StandardOp(n)
	if op == "Clip" {
		lo, hi := float64(onnxio.AttrFloat(n, "min", float32(math.Inf(-1)))), float64(onnxio.AttrFloat(n, "max", float32(math.Inf(1))))
		return func(v [][]float64) []float64 {
			out := slices.Clone(v[0])
			for i := range out {
				if len(v) > 1 && v[1] != nil {
					lo = v[1][i]
				}
				if len(v) > 2 && v[2] != nil {
					hi = v[2][i]
				}
				out[i] = min(max(out[i], lo), hi)
			}
			return out
		}, true
	}
	if g := choices[op]; g != nil {
		return func(v [][]float64) []float64 { return apply(g, v) }, true
	}
	if g, _, ok := onnxio.Elementwise(n); ok {
		return func(v [][]float64) []float64 { return apply(g, v) }, true
	}
	if g, ok := rows[op]; ok && sp.alongOne(n) {
		return func(v [][]float64) []float64 { return overRows(v[0], g) }, true
	}
	return nil, false
}

// choices are operators that compare, with one for true, and that choose by it.
var choices = map[string]func([]float64) float64{
	"Less":           func(v []float64) float64 { return truth(v[0] < v[1]) },
	"LessOrEqual":    func(v []float64) float64 { return truth(v[0] <= v[1]) },
	"Greater":        func(v []float64) float64 { return truth(v[0] > v[1]) },
	"GreaterOrEqual": func(v []float64) float64 { return truth(v[0] >= v[1]) },
	"Where": func(v []float64) float64 {
		if v[0] != 0 {
			return v[1]
		}
		return v[2]
	},
}

func truth(x bool) float64 {
	if x {
		return 1
	}
	return 0
}

// alongOne reports whether an operator works along one axis.
func (sp *speller) alongOne(n *onnxpb.NodeProto) bool {
	if op := onnxio.StandardOp(n); op == "Softmax" || op == "LogSoftmax" {
		return true
	}
	return sp.axesOf(n) == 1 && !sp.pools(n)
}

// apply applies a function element by element.
func apply(f func([]float64) float64, inputs [][]float64) []float64 {
	out := make([]float64, len(probe))
	args := make([]float64, len(inputs))
	for i := range out {
		for k, v := range inputs {
			args[k] = v[i]
		}
		out[i] = f(args)
	}
	return out
}

// overRows applies a function row by row.
func overRows(x []float64, f func(row []float64)) []float64 {
	out := slices.Clone(x)
	for row := range slices.Chunk(out, probeCols) {
		f(row)
	}
	return out
}

// rows holds the operators that take each row by itself. What they make one number of is repeated.
var rows = map[string]func(row []float64){
	"ReduceMean": func(row []float64) { fill(row, sum(row, 1)/probeCols) },
	"ReduceSum":  func(row []float64) { fill(row, sum(row, 1)) },
	"ReduceL2":   func(row []float64) { fill(row, math.Sqrt(sum(row, 2))) },
	"ReduceMax":  func(row []float64) { fill(row, slices.Max(row)) },
	"ReduceMin":  func(row []float64) { fill(row, slices.Min(row)) },
	"Softmax": func(row []float64) {
		softmax(row)
	},
	"LogSoftmax": func(row []float64) {
		softmax(row)
		for i, v := range row {
			row[i] = math.Log(v)
		}
	},
}

func softmax(row []float64) {
	most := slices.Max(row)
	for i, v := range row {
		row[i] = math.Exp(v - most)
	}
	total := sum(row, 1)
	for i := range row {
		row[i] /= total
	}
}

func fill(row []float64, v float64) {
	for i := range row {
		row[i] = v
	}
}

// sum adds up powers.
func sum(row []float64, power float64) float64 {
	s := 0.0
	for _, v := range row {
		s += math.Pow(v, power)
	}
	return s
}

// normalised has variance 1, and mean 0 where rows are centred.
func normalised(x []float64, epsilon float64, centred bool) []float64 {
	return overRows(x, func(row []float64) {
		if centred {
			mean := sum(row, 1) / probeCols
			for i := range row {
				row[i] -= mean
			}
		}
		deviation := math.Sqrt(sum(row, 2)/probeCols + epsilon)
		for i := range row {
			row[i] /= deviation
		}
	})
}

// same reports whether two functions made the same of the probe, but for rounding.
func same(a, b []float64) bool {
	scale := 0.0
	for _, v := range a {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			scale = max(scale, math.Abs(v))
		}
	}
	for i, v := range a {
		if w := b[i]; v != w && !(math.IsNaN(v) && math.IsNaN(w)) && !(math.Abs(v-w) <= 1e-5*scale) {
			return false
		}
	}
	return true
}

// proportional reports whether a is a positive multiple of b, which is not zero.
func proportional(a, b []float64) bool {
	c := a[0] / b[0]
	if !(c > 0) || math.IsInf(c, 0) {
		return false
	}
	return same(a, apply(func(v []float64) float64 { return c * v[0] }, [][]float64{b}))
}

// scaled takes in activations that a weight is multiplied with or added to, element by element.
func (sp *speller) scaled(n *onnxpb.NodeProto, formed []*term) bool {
	op := onnxio.StandardOp(n)
	if len(formed) != 1 || len(n.GetInput()) != 2 || op != "Mul" && op != "Add" && op != "Sub" && op != "Div" {
		return false
	}
	other := n.GetInput()[0]
	if other == formed[0].tensor {
		other = n.GetInput()[1]
	} else if op == "Sub" || op == "Div" {
		op += " from"
	}
	w := sp.slot("weight", other)
	if w == nil {
		return false
	}
	sp.grow(n.GetOutput()[0], &stem{input: -1, kind: op, args: formed, slots: []slot{*w}, label: onnxio.Label(n)})
	return true
}

// pools reports whether a node takes the mean over all positions of a map.
func (sp *speller) pools(n *onnxpb.NodeProto) bool {
	switch onnxio.StandardOp(n) {
	case "GlobalAveragePool":
		return true
	case "ReduceMean":
		t := sp.terms[n.GetInput()[0]]
		return sp.axesOf(n) > 1 || t != nil && !t.plain && t.stem.kind == "convolution" && len(sp.s.Analysis.Activations[t.stem.tensor]) == 3
	}
	return false
}

// axesOf counts the axes that a reduction works along.
func (sp *speller) axesOf(n *onnxpb.NodeProto) int {
	if in := n.GetInput(); len(in) > 1 && in[1] != "" {
		return len(sp.known(in[1]))
	}
	return len(onnxio.AttrInts(n, "axes"))
}
