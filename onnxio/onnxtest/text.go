package onnxtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// Parse builds a model from text, so that a test case reads like a formula:
//
//	opset 13                             (17 if there is none)
//	x: N 3 6 6                           an input; "x: int N 4" holds int64
//	c = Conv(x, w[8 3 3 3], b[8]) pads=1,1,1,1
//	a b = Split(c, s{5 3}) axis=1        {…}: an int64 constant, {=3}: a scalar
//	h = Add(a, k<0.5>)                   <…>: a float constant, or of what the
//	                                     name says, as below; one number is a scalar
//	-> a h                               outputs; the last node's if not given
//
// Numbers in [] are the shape of a random weight (of integers where the name starts with int8,
// uint8 or int32), defined where it first stands and read by name after that. _ leaves an optional
// input out.
func Parse(text string) (*onnxio.Model, error) {
	b := builder{rng: rand.New(rand.NewPCG(7, 11)), seen: map[string]bool{}}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if err := b.line(strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
		}
	}
	if b.outputs == nil {
		b.outputs = b.last
	}
	var outs []*onnxpb.ValueInfoProto
	for _, name := range b.outputs {
		outs = append(outs, Value(name))
	}
	return Model(b.inputs, outs, b.parts...), nil
}

type builder struct {
	rng     *rand.Rand
	inputs  []*onnxpb.ValueInfoProto
	parts   []Part
	outputs []string
	last    []string
	seen    map[string]bool
}

var (
	nodeLine = regexp.MustCompile(`^([\w ]+) = (?:(\S+)\.)?(\w+)\((.*)\)(.*)$`)
	constant = regexp.MustCompile(`^(\w+)([\[{<])(=?)([^\]}>]*)[\]}>]$`)
)

func (b *builder) line(line string) error {
	if name, dims, ok := strings.Cut(line, ": "); ok {
		b.inputs = append(b.inputs, input(name, dims))
		return nil
	}
	if v, ok := strings.CutPrefix(line, "opset "); ok {
		n, err := strconv.Atoi(v)
		b.parts = append(b.parts, Opset(int64(n)))
		return err
	}
	if v, ok := strings.CutPrefix(line, "-> "); ok {
		b.outputs = strings.Fields(v)
		return nil
	}
	if m := nodeLine.FindStringSubmatch(line); m != nil {
		return b.node(m[1], m[2], m[3], m[4], m[5])
	}
	return fmt.Errorf("this is neither an input nor a node")
}

func input(name, dims string) *onnxpb.ValueInfoProto {
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
	return TypedValue(name, typ, shape...)
}

func (b *builder) node(outputs, domain, op, operands, attributes string) error {
	var ins []string
	for _, in := range strings.Split(operands, ",") {
		if in = strings.TrimSpace(in); in != "" {
			name, err := b.operand(in)
			if err != nil {
				return err
			}
			ins = append(ins, name)
		}
	}
	var attrs []*onnxpb.AttributeProto
	for _, f := range strings.Fields(attributes) {
		k, v, _ := strings.Cut(f, "=")
		attrs = append(attrs, attribute(k, v))
	}
	b.last = strings.Fields(outputs)
	b.parts = append(b.parts, Node(op, strings.Join(ins, " "), outputs, attrs...))
	if domain != "" {
		b.parts = append(b.parts, inDomain(domain))
	}
	return nil
}

// inDomain puts the last node into a domain, whose first version is imported.
func inDomain(domain string) Part {
	return func(p *onnxpb.ModelProto) {
		nodes := p.Graph.Node
		nodes[len(nodes)-1].Domain = &domain
		for _, o := range p.OpsetImport {
			if o.GetDomain() == domain {
				return
			}
		}
		p.OpsetImport = append(p.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: &domain, Version: ptr(int64(1))})
	}
}

// operand defines a constant where it has brackets, and returns its name.
func (b *builder) operand(in string) (string, error) {
	m := constant.FindStringSubmatch(in)
	if m == nil {
		return in, nil
	}
	name := m[1]
	if b.seen[name] {
		return "", fmt.Errorf("%q is defined twice", name)
	}
	b.seen[name] = true
	var nums []float64
	var ints []int64
	var dims []int
	for _, f := range strings.Fields(m[4]) {
		x, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return "", fmt.Errorf("constant %q: %w", in, err)
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
		b.parts = append(b.parts, Initializer(onnxio.NewInts(name, shape, ints)))
	default:
		var shape []int
		if len(nums) > 1 {
			shape = []int{len(nums)}
		}
		part := Floats(name, shape, nums...)
		if typ, ok := integerOf(name); ok {
			part = Initializer(onnxio.NewTensor(name, typ, shape, nums))
		}
		b.parts = append(b.parts, part)
	}
	return name, nil
}

// weights are positive where the name says that they are a variance, and of length about one
// otherwise, so that deep graphs neither vanish nor explode.
func (b *builder) weights(name string, dims []int) Part {
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
	typ, ok := integerOf(name)
	if !ok {
		return Floats(name, dims, v...)
	}
	for i := range v {
		v[i] = math.Round(40 * v[i] * math.Sqrt(float64(fan)))
		if typ == onnxpb.TensorProto_UINT8 {
			v[i] += 128
		}
	}
	return Initializer(onnxio.NewTensor(name, typ, dims, v))
}

// integerOf is the type that the name of a constant asks for.
func integerOf(name string) (onnxpb.TensorProto_DataType, bool) {
	for prefix, typ := range map[string]onnxpb.TensorProto_DataType{
		"int8": onnxpb.TensorProto_INT8, "uint8": onnxpb.TensorProto_UINT8, "int32": onnxpb.TensorProto_INT32,
	} {
		if strings.HasPrefix(name, prefix) {
			return typ, true
		}
	}
	return 0, false
}

func attribute(k, v string) *onnxpb.AttributeProto {
	list := strings.Contains(v, ",") || strings.HasPrefix(v, "[")
	var ints []int64
	var floats []float32
	for _, f := range strings.Split(strings.Trim(v, "[]"), ",") {
		x, err := strconv.ParseFloat(f, 32)
		if err != nil {
			return Attr(k, v)
		}
		ints, floats = append(ints, int64(x)), append(floats, float32(x))
	}
	fractions := strings.Contains(v, ".")
	switch {
	case list && fractions:
		return Attr(k, floats)
	case list:
		return Attr(k, ints)
	case fractions:
		return Attr(k, floats[0])
	}
	return Attr(k, int(ints[0]))
}
