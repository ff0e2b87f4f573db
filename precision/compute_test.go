package precision

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// All operators of trained models compute with 16 bits, the outputs stay float32, and differ by what
// float16 rounds.
func TestCompute16(t *testing.T) {
	enginetest.Require(t)
	for _, name := range []string{"mlp_a", "cnn_a", "resnet_a", "vit_a"} {
		t.Run(name, func(t *testing.T) {
			m := modeltest.Load(t, name)
			d := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 16})
			out, r, err := Compute16(context.Background(), m, HalfOptions{Data: d})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Kept) > 0 || r.Operators == 0 || r.Weights == 0 {
				t.Errorf("report %+v", r)
			}
			for _, x := range out.Proto.Graph.Initializer {
				if onnxpb.TensorProto_DataType(x.GetDataType()) == onnxio.Float {
					t.Errorf("%q is stored with 32 bits", x.GetName())
				}
			}
			if casts := count(out, "Cast"); casts != count(m, "Cast")+2 {
				t.Errorf("%d Casts, want one of the input and one of the output beside %d", casts, count(m, "Cast"))
			}
			if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); diff == 0 || diff > 0.1 {
				t.Errorf("outputs differ by %g", diff)
			}
		})
	}
}

func count(m *onnxio.Model, op string) (n int) {
	for _, x := range m.Proto.Graph.Node {
		if x.GetOpType() == op {
			n++
		}
	}
	return n
}

// Whatever a graph holds, what is written runs, and says what it said but for rounding.
func TestCompute16OfStructures(t *testing.T) {
	enginetest.Require(t)
	all := modeltest.Structures(t)
	done := 0
	for name, m := range all {
		d := modeltest.Noise(t, m, 8, 1)
		out, _, err := Compute16(context.Background(), m, HalfOptions{Data: d})
		if err != nil {
			if !strings.Contains(err.Error(), "no operator can") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		done++
		if err := out.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if off := modeltest.RelativeError(modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); !(off < 0.01) {
			t.Errorf("%s: outputs are off by %g", name, off)
		}
	}
	if done < len(all)*3/4 {
		t.Errorf("%d of %d compute with 16 bits", done, len(all))
	}
}

// What has to stay at 32 bits does, and the reason is told.
func TestCompute16Keeps(t *testing.T) {
	enginetest.Require(t)
	for _, c := range []struct {
		name, graph string
		scale       float64 // of the weight "far"
		seen        bool    // inputs are given
		keep        string
		want        string // operators of 32 bits
		why         string
	}{
		{name: "a mask up to the Softmax that it is for", want: "Greater Where Add Softmax", why: "reaches 3.4e+38", graph: `
			x: N 4
			a = MatMul(x, w[4 4])
			m = Greater(a, z<0>)
			b = Where(m, z0<0>, far<-3.4e38>)
			c = Add(a, b)
			d = Softmax(c)
			y = MatMul(d, v[4 3])`},
		{name: "far through a normalisation by stored figures, which bounds nothing", want: "Greater Where BatchNormalization MatMul", why: "reaches 1e+06", graph: `
			x: N 4
			a = MatMul(x, w[4 4])
			m = Greater(a, z<0>)
			b = Where(m, z0<0>, far<-1e6>)
			c = BatchNormalization(b, s[4], o[4], mu[4], var<1 2 1 2>)
			y = MatMul(c, v[4 3])`},
		{name: "a number that vanishes", want: "Add", why: "vanishes", graph: `
			x: N 4
			a = MatMul(x, w[4 4])
			b = Mul(a, a)
			c = Add(b, e<1e-12>)
			d = Sqrt(c)
			y = MatMul(d, v[4 3])`},
		{name: "activations that the data show to be large", want: "Mul Mul", why: "reaches", seen: true, graph: `
			x: N 4
			a = MatMul(x, w[4 4])
			b = Mul(a, s<30000>)
			c = Mul(b, u<0.0001>)
			y = MatMul(c, v[4 3])`},
		{name: "an operator that has no such form", want: "Mod", why: "not one that is known", graph: `
			x: N 4
			a = MatMul(x, w[4 4])
			b = Mod(a, s<3>) fmod=1
			y = MatMul(b, v[4 3])`},
		{name: "what was asked for", keep: "Relu", want: "Relu", why: "asked for", graph: `
			x: N 4
			a = MatMul(x, w[4 4])
			b = Relu(a)
			y = MatMul(b, v[4 3])`},
		{name: "shapes and integers are left alone", graph: `
			x: N 4
			a = MatMul(x, w[4 4])
			s = Shape(a)
			b = Reshape(a, s)
			i = ArgMax(b) keepdims=1
			j = Cast(b) to=7
			k = Add(i, j)
			l = Cast(k) to=1
			y = Mul(l, b)`, want: "ArgMax", why: "not one that is known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := onnxtest.Parse(c.graph)
			if err != nil {
				t.Fatal(err)
			}
			d := modeltest.Noise(t, m, 8, 1)
			o := HalfOptions{Keep: func(n *onnxpb.NodeProto) bool { return n.GetOpType() == c.keep }}
			if c.seen {
				o.Data = d
			}
			out, r, err := Compute16(context.Background(), m, o)
			if err != nil {
				t.Fatal(err)
			}
			var kept []string
			for _, k := range r.Kept {
				kept = append(kept, k.Operator)
			}
			if !slices.ContainsFunc(r.Kept, func(k Kept) bool { return strings.Contains(k.Reason, c.why) }) {
				t.Errorf("%+v, want %q", r.Kept, c.why)
			}
			if strings.Join(kept, " ") != c.want {
				t.Errorf("%v stay at 32 bits, want %s", kept, c.want)
			}
			if off := modeltest.RelativeError(modeltest.Outputs(t, out, d), modeltest.Outputs(t, m, d)); off > 0.01 {
				t.Errorf("outputs are off by %g", off)
			}
		})
	}
}

// A model of which nothing can compute with 16 bits is refused.
func TestCompute16Refuses(t *testing.T) {
	m, err := onnxtest.Parse("x: N 4\ny = Mod(x, s<3>) fmod=1")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Compute16(context.Background(), m, HalfOptions{}); err == nil || !strings.Contains(err.Error(), "no operator can") {
		t.Errorf("error %v", err)
	}
}
