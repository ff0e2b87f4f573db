package coupling_test

import (
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// graph builds a model from text, so that a test case reads like a formula:
//
//	opset 13                             (17 if there is none)
//	x: N 3 6 6                           an input; "x: int N 4" holds int64
//	c = Conv(x, w[8 3 3 3], b[8]) pads=1,1,1,1
//	a b = Split(c, s{5 3}) axis=1        {…}: an int64 constant, {=3}: a scalar
//	h = Add(a, k<0.5>)                   <…>: a float constant of one element
//	-> a h                               outputs; the last node's if not given
//
// Numbers in [] are the shape of a random weight, defined where it first stands
// and read by name after that. _ leaves an optional input out.
func graph(t testing.TB, text string) *onnxio.Model {
	t.Helper()
	b := builder{t: t, rng: rand.New(rand.NewPCG(7, 11)), seen: map[string]bool{}}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		b.line(strings.TrimSpace(line))
	}
	if b.outputs == nil {
		b.outputs = b.last
	}
	var outs []*onnxpb.ValueInfoProto
	for _, name := range b.outputs {
		outs = append(outs, onnxtest.Value(name))
	}
	return onnxtest.Model(b.inputs, outs, b.parts...)
}

type builder struct {
	t       testing.TB
	rng     *rand.Rand
	inputs  []*onnxpb.ValueInfoProto
	parts   []onnxtest.Part
	outputs []string
	last    []string
	seen    map[string]bool
}

var (
	nodeLine = regexp.MustCompile(`^([\w ]+) = (?:(\S+)\.)?(\w+)\((.*)\)(.*)$`)
	constant = regexp.MustCompile(`^(\w+)([\[{<])(=?)([^\]}>]*)[\]}>]$`)
)

func (b *builder) line(line string) {
	b.t.Helper()
	if name, dims, ok := strings.Cut(line, ": "); ok {
		var shape []any
		typ := onnxio.Float
		for _, d := range strings.Fields(dims) {
			if n, err := strconv.Atoi(d); err == nil {
				shape = append(shape, n)
			} else if d == "int" {
				typ = onnxio.Int64
			} else {
				shape = append(shape, d)
			}
		}
		b.inputs = append(b.inputs, onnxtest.TypedValue(name, typ, shape...))
		return
	}
	if v, ok := strings.CutPrefix(line, "opset "); ok {
		n, err := strconv.Atoi(v)
		if err != nil {
			b.t.Fatal(err)
		}
		b.parts = append(b.parts, onnxtest.Opset(int64(n)))
		return
	}
	if v, ok := strings.CutPrefix(line, "-> "); ok {
		b.outputs = strings.Fields(v)
		return
	}
	m := nodeLine.FindStringSubmatch(line)
	if m == nil {
		b.t.Fatalf("test graph: cannot read %q", line)
	}
	var ins []string
	for _, in := range strings.Split(m[4], ",") {
		if in = strings.TrimSpace(in); in != "" {
			ins = append(ins, b.operand(in))
		}
	}
	var attrs []*onnxpb.AttributeProto
	for _, f := range strings.Fields(m[5]) {
		k, v, _ := strings.Cut(f, "=")
		attrs = append(attrs, attribute(k, v))
	}
	b.last = strings.Fields(m[1])
	op, domain := m[3], m[2]
	b.parts = append(b.parts, onnxtest.Node(op, strings.Join(ins, " "), m[1], attrs...))
	if domain != "" {
		b.parts = append(b.parts, func(p *onnxpb.ModelProto) {
			nodes := p.Graph.Node
			nodes[len(nodes)-1].Domain = &domain
			for _, o := range p.OpsetImport {
				if o.GetDomain() == domain {
					return
				}
			}
			one := int64(1)
			p.OpsetImport = append(p.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: &domain, Version: &one})
		})
	}
}

// operand defines a constant where it has brackets, and returns its name.
func (b *builder) operand(in string) string {
	b.t.Helper()
	m := constant.FindStringSubmatch(in)
	if m == nil {
		return in
	}
	name := m[1]
	if b.seen[name] {
		b.t.Fatalf("test graph: %q is defined twice", name)
	}
	b.seen[name] = true
	var nums []float64
	var ints []int64
	var dims []int
	for _, f := range strings.Fields(m[4]) {
		x, err := strconv.ParseFloat(f, 64)
		if err != nil {
			b.t.Fatalf("test graph: constant %q: %v", in, err)
		}
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			n = int64(x)
		}
		nums, ints, dims = append(nums, x), append(ints, n), append(dims, int(n))
	}
	switch m[2] {
	case "[":
		b.parts = append(b.parts, b.weights(name, dims))
	case "{":
		shape := []int{len(ints)}
		if m[3] != "" {
			shape = nil
		}
		b.parts = append(b.parts, onnxtest.Initializer(onnxio.NewInts(name, shape, ints)))
	default:
		b.parts = append(b.parts, onnxtest.Floats(name, nil, nums...))
	}
	return name
}

// weights are positive where the name says that they are a variance, and of
// length about one otherwise, so that deep graphs neither vanish nor explode.
func (b *builder) weights(name string, dims []int) onnxtest.Part {
	n, fan := 1, 1
	for k, d := range dims {
		n *= d
		if k > 0 {
			fan *= d
		}
	}
	v := make([]float64, n)
	for i := range v {
		v[i] = b.rng.NormFloat64() / math.Sqrt(float64(fan))
		if strings.HasPrefix(name, "var") {
			v[i] = 0.5 + math.Abs(v[i])
		}
	}
	return onnxtest.Floats(name, dims, v...)
}

func attribute(k, v string) *onnxpb.AttributeProto {
	list := strings.Contains(v, ",") || strings.HasPrefix(v, "[")
	var ints []int64
	var floats []float32
	for _, f := range strings.Split(strings.Trim(v, "[]"), ",") {
		x, err := strconv.ParseFloat(f, 32)
		if err != nil {
			return onnxtest.Attr(k, v)
		}
		ints, floats = append(ints, int64(x)), append(floats, float32(x))
	}
	fractions := strings.Contains(v, ".")
	switch {
	case list && fractions:
		return onnxtest.Attr(k, floats)
	case list:
		return onnxtest.Attr(k, ints)
	case fractions:
		return onnxtest.Attr(k, floats[0])
	}
	return onnxtest.Attr(k, int(ints[0]))
}
