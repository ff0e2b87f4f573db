package compress_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// postNorm is a stream of 12 channels on which the scales of normalisations act.
const postNorm = `
	opset 17
	x: N 5 7
	a = MatMul(x, w0[7 12])
	s = Add(a, pos[5 12])
	n = LayerNormalization(s, g1[12], b1[12])
	u = MatMul(n, w1[12 10])
	v = Relu(u)
	w = MatMul(v, w2[10 12])
	r = Add(n, w)
	o = LayerNormalization(r, g2[12], b2[12])
	y = MatMul(o, w3[12 3])`

// positioned is a stream of which a convolution of positions reads two groups of six channels.
const positioned = `
	opset 17
	x: N 5 7
	a = MatMul(x, w0[7 12])
	t = Transpose(a) perm=0,2,1
	c = Conv(t, w4[12 6 3], b4[12]) group=2 pads=1,1
	d = Transpose(c) perm=0,2,1
	e = Relu(d)
	s = Add(a, e)
	n = LayerNormalization(s, g1[12], b1[12])
	u = MatMul(n, w1[12 10])
	v = Relu(u)
	w = MatMul(v, w2[10 12])
	r = Add(n, w)
	o = LayerNormalization(r, g2[12], b2[12])
	y = MatMul(o, w3[12 3])`

// widened writes the stream of a model in twice as many channels: rows are those of a matrix with
// orthonormal columns. What scales of normalisations become of it is left to the caller.
func widened(t *testing.T, m *onnxio.Model, rows func(i, c int) float64) *onnxio.Model {
	t.Helper()
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	maps := edit.Maps{}
	for _, sp := range s.Analysis.Spaces {
		if sp.Stream == nil {
			continue
		}
		k := 2 * sp.Width
		g := edit.Transfer{In: make(edit.Rows, k), OutT: make(edit.Rows, k)}
		for i := range k {
			for c := range sp.Width {
				g.In[i] = append(g.In[i], edit.Entry{Col: c, Val: math.Sqrt2 * rows(i, c)})
				g.OutT[i] = append(g.OutT[i], edit.Entry{Col: c, Val: rows(i, c) / math.Sqrt2})
			}
		}
		maps[sp] = &edit.Map{Pieces: []int{k}, Groups: []edit.Transfer{g}, Scale: map[string]edit.Rows{}}
		for _, n := range sp.Stream.Scales {
			maps[sp].Scale[n.Weight] = g.In
			if n.Uniform {
				maps[sp].Scale[n.Weight] = slices.Repeat(edit.Rows{{{Col: 0, Val: 1}}}, k)
			}
		}
	}
	out, err := edit.Edit(s, maps)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// doubled rows hold every channel twice, reflected ones mix all of them but keep their mean.
func doubledRows(i, c int) float64 {
	if i%12 == c {
		return math.Sqrt(0.5)
	}
	return 0
}

func reflectedRows() func(i, c int) float64 {
	rng, v, sum := rand.New(rand.NewPCG(5, 6)), make([]float64, 24), 0.0
	for i := range v {
		v[i] = rng.NormFloat64()
		sum += v[i]
	}
	square := 0.0
	for i := range v {
		v[i] -= sum / 24
		square += v[i] * v[i]
	}
	return func(i, c int) float64 { // (I − 2vvᵀ/|v|²)·doubled
		return doubledRows(i, c) - 2*v[i]*(v[c]+v[c+12])*math.Sqrt(0.5)/square
	}
}

// uniform makes the scales of normalisations one, but for a little, and shifts zero.
func uniform(t *testing.T, m *onnxio.Model, little float64) *onnxio.Model {
	t.Helper()
	out := m.Clone()
	g, err := out.Graph()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 8))
	for _, name := range []string{"g1", "g2", "b1", "b2"} {
		v := make([]float64, 12)
		for i := range v {
			if name[0] == 'g' {
				v[i] = 1 + little*rng.NormFloat64()
			}
		}
		if err := g.SetConstant(onnxio.NewTensor(name, onnxio.Float, []int{12}, v)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// A stream that has twice the channels it needs is cut by half without loss: by a rotation where
// that is exact, or nearly, and by selection where that is better, which predictions tell.
func TestStreamsAreCut(t *testing.T) {
	enginetest.Require(t)
	pre, post := parse(t, modeltest.PreNorm), parse(t, postNorm)
	twice := func(i, c int) float64 { // six channels
		if i%6 == c {
			return math.Sqrt(0.5)
		}
		return 0
	}
	for name, c := range map[string]struct {
		m    *onnxio.Model
		want string
		most float64 // difference of outputs
	}{
		"pre-norm":                            {widened(t, uniform(t, pre, 0), reflectedRows()), "rotated", 1e-3},
		"pre-norm with scales":                {widened(t, pre, doubledRows), "rotated", 1e-3},
		"post-norm":                           {widened(t, uniform(t, post, 0), reflectedRows()), "rotated", 1e-3},
		"post-norm with scales":               {widened(t, post, doubledRows), "selected", 1e-3},
		"read in groups":                      {widened(t, parse(t, positioned), twice), "selected", 1e-3},
		"post-norm with scales of nearly one": {widened(t, uniform(t, post, 1e-3), reflectedRows()), "nearly rotated", 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			d := modeltest.Noise(t, c.m, 200, 3)
			out, r, err := compress.Model(context.Background(), c.m, compress.Options{
				Keep: 0.5, Exclude: []string{"w1"}, Options: job.Options{Data: d, Lossless: job.Off, Tune: job.Off},
			})
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, s := range r.Spaces {
				if s.Stream == "" {
					continue
				}
				if found = true; s.Stream != c.want || s.After != s.Before/2 || s.Before%12 != 0 {
					t.Errorf("%s: %d of %d channels, want it %s", s.Stream, s.After, s.Before, c.want)
				}
			}
			if !found {
				t.Errorf("no stream is cut: %+v", r.Spaces)
			}
			if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, c.m, d), modeltest.Outputs(t, out, d)); !(diff < c.most) {
				t.Errorf("outputs are %g off", diff)
			}
			modeltest.SameInBatches(t, out, d)
		})
	}
}

// Without data the directions that weights make and read are those that stay.
func TestStreamsAreCutWithoutData(t *testing.T) {
	enginetest.Require(t)
	m := widened(t, uniform(t, parse(t, modeltest.PreNorm), 0), reflectedRows())
	d := modeltest.Noise(t, m, 20, 3)
	out, r, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.5, Exclude: []string{"w1"}, Options: job.Options{NoData: true, Lossless: job.Off}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := modeltest.MaxDiff(t, modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); !(diff < 1e-3) {
		t.Errorf("outputs are %g off: %+v", diff, r.Spaces)
	}
}
