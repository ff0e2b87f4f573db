package tune

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// graphs hold every operator that gradients pass through, behind a weight that is trained.
var graphs = map[string]string{
	"conv":              "x: 2 3 7 6\nh = Conv(x, w[4 3 3 3], b[4]) pads=1,1,1,1\ny = Conv(h, v[5 4 3 3], c[5])",
	"conv strides":      "x: 2 3 8 7\nh = Conv(x, w[4 3 3 3], b[4]) pads=1,1,1,1\ny = Conv(h, v[5 4 3 3], c[5]) strides=2,2 pads=1,1,1,1",
	"conv dilated":      "x: 2 3 9 9\nh = Conv(x, w[4 3 3 3]) pads=1,1,1,1\ny = Conv(h, v[5 4 3 3]) dilations=2,2 pads=2,1,1,2",
	"conv same":         "x: 2 3 8 7\nh = Conv(x, w[4 3 3 3], b[4]) auto_pad=SAME_UPPER strides=2,2\ny = Conv(h, v[5 4 2 2]) auto_pad=SAME_LOWER",
	"conv groups":       "x: 2 4 5 5\nh = Conv(x, w[6 2 3 3], b[6]) pads=1,1,1,1 group=2\ny = Conv(h, v[6 1 3 3], c[6]) group=6",
	"pads":              "x: 2 3 6 6\nh = Conv(x, w[16 3 1 1], b[16])\nr = Clip(h, lo<0>, hi<6>)\np = Pad(r, q{0 0 0 0 0 0 1 1})\nd = Conv(p, v[16 1 3 3], c[16]) group=16 strides=2,2 pads=1,0,0,0\ne = Pad(d, q2{0 0 1 1 0 0 0 0}, one<1>)\ny = Conv(e, u[4 16 2 2])",
	"pads of old":       "opset 9\nx: 2 3 6 6\nh = Conv(x, w[4 3 1 1], b[4])\np = Pad(h) pads=0,0,1,0,0,0,2,1\ny = Conv(p, v[5 4 3 3], c[5]) strides=2,2",
	"conv many samples": "x: 15 3 5 4\nh = Conv(x, w[16 3 3 3], b[16]) pads=1,1,1,1\nk = Conv(h, v[16 16 3 3], c[16]) strides=2,1 pads=1,1,1,0\ny = Conv(k, u[14 16 2 2]) strides=2,2",
	"conv few places":   "x: 3 3 4 5\nh = Conv(x, w[8 3 3 3], b[8]) pads=1,1,1,0 strides=2,1\ny = Conv(h, v[4 8 1 2], c[4]) strides=2,2",
	"conv large kernel": "x: 2 2 9 9\nh = Conv(x, w[3 2 6 6], b[3]) pads=2,3,2,3\ny = Conv(h, v[2 3 2 1]) pads=2,0,0,1",
	"conv of old":       "opset 9\nx: 2 3 8 7\nh = Conv(x, w[4 3 3 3], b[4]) pads=1,1,1,1\ny = Conv(h, v[5 4 3 3], c[5]) strides=2,2 pads=1,1,1,1",
	"conv 1d":           "x: 2 3 9\nh = Conv(x, w[4 3 3], b[4]) pads=1,1\ny = Conv(h, v[2 4 1], c[2])",
	"gemm":              "x: 4 5\nh = Gemm(x, w[5 6], b[6]) alpha=0.5 beta=2.0\ny = Gemm(h, v[3 6], c[3]) transB=1",
	"matmul":            "x: 2 3 5\nh = MatMul(x, w[5 6])\nk = Add(h, b[6])\ny = MatMul(k, v[6 4])",
	"matmul of two":     "x: 2 3 5\na = MatMul(x, w[5 4])\nb = MatMul(x, v[5 4])\nt = Transpose(b) perm=0,2,1\ny = MatMul(a, t)",
	"relu":              "x: 3 5\nh = Gemm(x, w[5 6], b[6])\nr = Relu(h)\ny = MatMul(r, v[6 2])",
	"smooth":            "x: 3 5\nh = Gemm(x, w[5 6], b[6])\na = Sigmoid(h)\nt = Tanh(h)\ne = Erf(h)\nm = Mul(a, t)\ns = Sub(m, e)\ny = Div(s, k<3>)",
	"kinked":            "x: 3 5\nh = Gemm(x, w[5 6], b[6])\na = LeakyRelu(h) alpha=0.2\nb2 = HardSigmoid(h)\nc = HardSwish(h)\nd = PRelu(h, p[6])\ny = Sum(a, b2, c, d)",
	"clip":              "x: 3 5\nh = Gemm(x, w[5 6], b[6])\ny = Clip(h, lo<0>, hi<6>)",
	"clip of old":       "opset 9\nx: 3 5\nh = Gemm(x, w[5 6], b[6])\ny = Clip(h) min=0.0 max=6.0",
	"bent":              "x: 3 5\nh = Gemm(x, w[5 6], b[6])\na = Elu(h) alpha=0.7\nb2 = Selu(h)\nc = Softplus(h)\nd = Abs(h)\ne = Add(c, one<1>)\nf = Log(e)\ng = Reciprocal(e)\ny = Sum(a, b2, c, d, f, g)",
	"gelu":              "opset 20\nx: 3 5\nh = Gemm(x, w[5 6], b[6])\na = Gelu(h)\nb2 = Gelu(h) approximate=tanh\nc = Mish(h)\ny = Sum(a, b2, c)",
	"extremes":          "x: 3 5\nh = Gemm(x, w[5 6], b[6])\nk = Gemm(x, v[5 6], c[6])\na = Max(h, k, z<0>)\nb2 = Min(h, d[6])\ny = Mul(a, b2)",
	"chosen":            "x: 3 5\nh = Gemm(x, w[5 6], b[6])\nk = Gemm(x, v[5 1], c[1])\nq = Greater(h, z<0>)\ny = Where(q, h, k)",
	"expanded":          "x: 3 5\nh = Gemm(x, w[5 1], b[1])\ne = Expand(h, s{2 3 4})\nr = Cast(e) to=1\ny = Mul(r, r)",
	"reductions":        "x: 2 3 4 5\nh = Conv(x, w[4 3 1 1], b[4])\na = ReduceSum(h, s{2 3})\nb2 = ReduceL2(h) axes=2,3\nc = ReduceMax(h) axes=2,-1\nd = ReduceMin(h) axes=2,3\ny = Sum(a, b2, c, d)",
	"log softmax":       "x: 2 3 5\nh = MatMul(x, w[5 6])\ny = LogSoftmax(h) axis=-1",
	"gathered":          "x: 2 4 5\nh = MatMul(x, w[5 6])\na = Gather(h, i{1 -1 1}) axis=1\ny = MatMul(a, v[6 3])",
	"first token":       "x: 2 4 5\nh = MatMul(x, w[5 6])\na = Gather(h, i{=0}) axis=1\ny = MatMul(a, v[6 3])",
	"pixels":            "x: 2 3 4 6\nh = Conv(x, w[8 3 1 1], b[8])\na = DepthToSpace(h) blocksize=2\nb2 = DepthToSpace(h) blocksize=2 mode=CRD\nk = Mul(a, b2)\nc = SpaceToDepth(k) blocksize=4\ny = Conv(c, v[8 32 1 1])",
	"tiled":             "x: 2 3 5\nh = MatMul(x, w[5 6])\na = Tile(h, r{2 1 3})\ns = Sin(a)\nc = Cos(a)\ny = Mul(s, c)",
	"einsum":            "x: 2 3 5\nh = MatMul(x, w[5 6])\nk = MatMul(x, v[5 6])\na = Einsum(h, k) equation=bij,bkj->bki\ny = Einsum(a, u[3 4]) equation=bki,il->bkl",
	"nearest":           "x: 2 3 4 5\nh = Conv(x, w[4 3 1 1], b[4])\na = Resize(h, _, s<1 1 2 2>) mode=nearest coordinate_transformation_mode=asymmetric nearest_mode=floor\nb2 = Resize(h, _, _, t{2 4 8 10}) mode=nearest\ny = Mul(a, b2)",
	"linear":            "x: 2 3 4 5\nh = Conv(x, w[4 3 1 1], b[4])\na = Resize(h, _, s<1 1 2 1.5>) mode=linear\nb2 = Resize(h, _, _, t{2 4 8 7}) mode=linear coordinate_transformation_mode=align_corners\ny = Mul(a, b2)",
	"resize of old":     "opset 10\nx: 2 3 4 5\nh = Conv(x, w[4 3 1 1], b[4])\ny = Resize(h, s<1 1 2 3>) mode=linear",
	"transposed":        "x: 2 3 4 5\nh = Conv(x, w[4 3 3 3], b[4]) pads=1,1,1,1\na = ConvTranspose(h, v[4 3 2 2], c[3]) strides=2,2\nk = Conv(x, u[4 3 1 1])\nd = ConvTranspose(k, t[4 3 3 3]) strides=2,2 pads=1,1,1,1 output_padding=1,1\ny = Mul(a, d)",
	"instance norm":     "x: 2 3 4 5\nh = Conv(x, w[4 3 1 1], b[4])\nl = InstanceNormalization(h, s[4], o[4])\ny = Conv(l, v[2 4 1 1])",
	"softmax":           "x: 2 3 5\nh = MatMul(x, w[5 6])\ns = Softmax(h) axis=-1\ny = Mul(s, s)",
	"products":          "x: 2 3 4 4\nh = Conv(x, w[4 3 1 1], b[4])\ng = GlobalAveragePool(h)\ny = Mul(h, g)",
	"pools":             "x: 2 3 8 8\nh = Conv(x, w[4 3 3 3], b[4]) pads=1,1,1,1\nm = MaxPool(h) kernel_shape=3,3 strides=2,2\na = AveragePool(m) kernel_shape=2,2\ny = GlobalMaxPool(a)",
	"pool of odd size":  "x: 2 3 7 7\nh = Conv(x, w[4 3 3 3], b[4]) pads=1,1,1,1\nr = Relu(h)\ny = MaxPool(r) kernel_shape=2,2 strides=2,2",
	"option A":          "x: 2 3 8 8\nh = Conv(x, w[4 3 3 3], b[4]) pads=1,1,1,1\ns = Slice(h, f{0 0}, t{100 100}, a{2 3}, by{2 2})\np = Pad(s, q{0 2 0 0 0 2 0 0})\nk = Conv(h, v[8 4 3 3]) strides=2,2 pads=1,1,1,1\ny = Add(k, p)",
	"option A, uneven":  "x: 2 3 7 7\nh = Conv(x, w[4 3 3 3], b[4]) pads=1,1,1,1\ny = Slice(h, f{1 0}, t{100 -1}, a{2 3}, by{2 3})",
	"option A of old":   "opset 9\nx: 2 3 6 6\nh = Conv(x, w[4 3 3 3], b[4]) pads=1,1,1,1\ns = Slice(h) starts=1,0 ends=4,5 axes=1,3\ny = Pad(s) pads=0,1,0,0,0,1,0,0",
	"joined":            "x: 2 3 5 5\na = Conv(x, w[4 3 3 3])\nb = Conv(x, v[2 3 3 3])\nc = Concat(a, b) axis=1\nf = Flatten(c)\ny = Gemm(f, u[54 3], d[3])",
	"sizes and means":   "x: 2 3 5 5\nh = Conv(x, w[4 3 3 3], b[4])\nm = ReduceMean(h) axes=2,3 keepdims=0\ny = Reshape(m, s{1 -1})",
	"batch norm":        "x: 2 3 5 5\nh = Conv(x, w[4 3 3 3], b[4])\ny = BatchNormalization(h, s[4], o[4], mu[4], var[4])",
	"split":             "x: 2 3 5\nh = MatMul(x, w[5 6])\na b = Split(h, s{2 4}) axis=2\nc = Exp(a)\nd e = Split(b, z{2 2}) axis=-1\nf = Neg(d)\ny = Mul(c, f)",
	"layer norm":        "x: 2 3 5\nh = MatMul(x, w[5 6])\nl = LayerNormalization(h, s[6], o[6])\ny = MatMul(l, v[6 4])",
	"RMS norm":          "opset 23\nx: 2 3 5\nh = MatMul(x, w[5 6])\nl = RMSNormalization(h, s[6])\ny = MatMul(l, v[6 4])",
	"norm written out":  "x: 2 3 5\nh = MatMul(x, w[5 6])\nm = ReduceMean(h) axes=1,2\nd = Sub(h, m)\nq = Pow(d, two<2>)\nv2 = ReduceMean(q) axes=1,2\ne = Add(v2, eps<0.1>)\ns = Sqrt(e)\ny = Div(d, s)",
	"cubes":             "x: 2 5\nh = MatMul(x, w[5 6])\ny = Pow(h, three<3>)",
	"residual":          "x: 2 4 5 5\nh = Conv(x, w[4 4 3 3], b[4]) pads=1,1,1,1\nr = Relu(h)\nk = Conv(r, v[4 4 3 3]) pads=1,1,1,1\ns = Add(k, h)\ny = Relu(s)",
	"sum of old opsets": "opset 9\nx: 2 4 5 5\nh = Conv(x, w[4 4 3 3], b[4]) pads=1,1,1,1\ny = Add(h, c[4 1 1])",
}

// Along a random direction of every parameter the loss changes as the gradient says.
func TestGradients(t *testing.T) {
	for name, text := range graphs {
		t.Run(name, func(t *testing.T) {
			m, err := onnxtest.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			positive(t, m, "var")
			tr, in, targets := training(t, m)
			if len(tr.names) == 0 {
				t.Fatal("nothing is trained")
			}
			sum := map[string][]float32{}
			told := gradients(t, tr, in, targets, sum)
			if want := loss(t, tr, m, in, targets); math.Abs(told-want) > 1e-4*want {
				t.Errorf("the loss is %g, the graph says %g", want, told)
			}
			rng := rand.New(rand.NewPCG(3, 4))
			for _, p := range tr.names {
				v := tr.params[p].F32
				old := append([]float32(nil), v...)
				direction := make([]float64, len(v))
				want := 0.0
				for i := range direction {
					direction[i] = rng.NormFloat64()
					want += direction[i] * float64(sum[p][i])
				}
				const h = 3e-4
				at := func(h float64) float64 {
					for i := range v {
						v[i] = old[i] + float32(h*direction[i])
					}
					return loss(t, tr, m, in, targets)
				}
				got := (at(h) - at(-h)) / (2 * h)
				copy(v, old)
				if math.Abs(got-want) > 0.02*math.Abs(want)+2e-3 {
					t.Errorf("%s: the loss changes by %g, the gradient says %g", p, got, want)
				}
			}
		})
	}
}

// positive makes the elements of a constant positive, if there is one.
func positive(t *testing.T, m *onnxio.Model, name string) {
	t.Helper()
	g, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	c := g.Constant(name)
	if c == nil {
		return
	}
	v, err := m.Tensor(c)
	if err != nil {
		t.Fatal(err)
	}
	x := v.Float64()
	for i := range x {
		x[i] = 0.5 + math.Abs(x[i])
	}
	if err := g.SetConstant(onnxio.NewTensor(name, onnxio.Float, v.Dims, x)); err != nil {
		t.Fatal(err)
	}
}

// training makes a trainer for a model, with random inputs and targets.
func training(t *testing.T, m *onnxio.Model) (*trainer, map[string]*engine.Value, []*engine.Value) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	inputs, err := engine.Inputs(m)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]*engine.Value{}
	for _, i := range inputs {
		dims := ints(i.Dims)
		in[i.Name] = noise(rng, dims)
	}
	s, err := engine.Open(m, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	var goals []*goal
	var targets []*engine.Value
	for _, o := range s.Outputs() {
		d := out[o.Name].Dims
		goals = append(goals, &goal{Goal: teach.Goal{Target: &teach.Target{}, Tensor: o.Name, Scale: 1}, dims: d})
		targets = append(targets, noise(rng, d))
	}
	tr, err := trainerOf(m, goals, in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.session.Close() })
	return tr, in, targets
}

// trainerOf makes a trainer for runs of the size of an example.
func trainerOf(m *onnxio.Model, goals []*goal, example map[string]*engine.Value) (*trainer, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, err
	}
	seen, err := measure(context.Background(), m, g, []map[string]*engine.Value{example})
	if err != nil {
		return nil, err
	}
	return newTrainer(context.Background(), m, goals, seen, 1)
}

func noise(rng *rand.Rand, dims []int) *engine.Value {
	v := make([]float32, engine.Count(dims))
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return engine.Float32(v, dims...)
}

func gradients(t *testing.T, tr *trainer, in map[string]*engine.Value, targets []*engine.Value, sum map[string][]float32) (loss float64) {
	t.Helper()
	loss, err := tr.run(context.Background(), in, targets, 1, sum)
	if err != nil {
		t.Fatal(err)
	}
	return loss
}

// predict runs a model with the parameters of a trainer, and returns what its goals look at.
func predict(t *testing.T, tr *trainer, m *onnxio.Model, in map[string]*engine.Value) map[string]*engine.Value {
	t.Helper()
	m, err := tr.stored(m)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range tr.goals {
		names = append(names, g.Tensor)
	}
	s, err := engine.Open(m, engine.Options{Outputs: names})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// loss is the mean squared error of every goal, or the divergence of probabilities, in the mean
// over their rows.
func loss(t *testing.T, tr *trainer, m *onnxio.Model, in map[string]*engine.Value, targets []*engine.Value) float64 {
	t.Helper()
	total := 0.0
	values := predict(t, tr, m, in)
	for i, g := range tr.goals {
		y, target := values[g.Tensor].F32, targets[i].F32
		if g.Kind == teach.Probabilities {
			y = g.Probabilities(y)
		}
		for j, v := range y {
			if g.Kind == teach.Probabilities {
				total += g.Scale * float64(target[j]) * math.Log(float64(target[j]/v)) * float64(g.Classes) / float64(len(y))
				continue
			}
			total += g.Scale * float64(v-target[j]) * float64(v-target[j]) / float64(len(y))
		}
	}
	return total
}

// What lies before an operator without a gradient stays; the rest is trained.
func TestOperatorsWithoutAGradient(t *testing.T) {
	m, err := onnxtest.Parse("x: 3 5\nh = Gemm(x, w[5 6], b[6])\nr = Sinh(h)\nk = Gemm(r, v[6 4], c[4])\ny = Sigmoid(k)")
	if err != nil {
		t.Fatal(err)
	}
	tr, _, _ := training(t, m)
	if len(tr.names) != 2 || tr.names[0] != "v" || tr.names[1] != "c" {
		t.Errorf("%v are trained", tr.names)
	}
}

func TestUntrainable(t *testing.T) {
	for _, text := range []string{
		"x: 3 5\nh = Gemm(x, w[5 6], b[6])\ny = Sinh(h)",
		"x: 3 5\ny = Relu(x)",
	} {
		m, err := onnxtest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]*engine.Value{"x": noise(rand.New(rand.NewPCG(1, 2)), []int{3, 5})}
		g := &goal{Goal: teach.Goal{Target: &teach.Target{}, Tensor: "y", Scale: 1}, dims: []int{3, 6}}
		if _, err := trainerOf(m, []*goal{g}, in); !errors.Is(err, errUntrainable) {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func TestGoalOfAClassifier(t *testing.T) {
	m, err := onnxtest.Parse("x: 4 5\nh = Gemm(x, w[5 6], b[6])\ny = Relu(h)")
	if err != nil {
		t.Fatal(err)
	}
	_, in, _ := training(t, m)
	g := &goal{Goal: teach.Goal{Target: &teach.Target{Kind: teach.Probabilities, Classes: 6, Temperature: 2}, Tensor: "y", Scale: 1}, dims: []int{4, 6}, axis: 1}
	tr, err := trainerOf(m, []*goal{g}, in)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.session.Close()
	// At the distribution that the model predicts loss and gradient vanish.
	target := engine.Float32(teach.Softmax(predict(t, tr, m, in)["y"].F32, 6, 2), 4, 6)
	if l := loss(t, tr, m, in, []*engine.Value{target}); math.Abs(l) > 1e-6 {
		t.Errorf("loss %g", l)
	}
	sum := map[string][]float32{}
	if l := gradients(t, tr, in, []*engine.Value{target}, sum); math.Abs(l) > 1e-6 {
		t.Errorf("the graph says that the loss is %g", l)
	}
	for name, v := range sum {
		for i, x := range v {
			if math.Abs(float64(x)) > 1e-6 {
				t.Errorf("gradient %g of %s[%d]", x, name, i)
			}
		}
	}
}
