package compress_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/latency/latencytest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// withWeight is a model in which a weight is set.
func withWeight(t *testing.T, text, name string, set func(w *onnxio.Tensor)) *onnxio.Model {
	t.Helper()
	m, err := onnxtest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	modeltest.SetWeight(t, m, name, set)
	return m
}

// ofRank gives a weight, as a matrix of its first axis by all others, a rank.
func ofRank(rank int) func(w *onnxio.Tensor) {
	return func(w *onnxio.Tensor) {
		rows, cols := w.Dims[0], w.Len()/w.Dims[0]
		rng := rand.New(rand.NewPCG(1, 2))
		a, b := mat.NewDense(rows, rank, nil), mat.NewDense(rank, cols, nil)
		for _, x := range []*mat.Dense{a, b} {
			x.Apply(func(_, _ int, _ float64) float64 { return rng.NormFloat64() / math.Sqrt(math.Sqrt(float64(rows*rank))) }, x)
		}
		var ab mat.Dense
		ab.Mul(a, b)
		w.SetFloat64(w.Dims, ab.RawMatrix().Data)
	}
}

const (
	// twoBlocks has two residual blocks, of which the second may be of zeros.
	twoBlocks = `
		x: N 3 6 6
		s = Conv(x, w0[12 3 3 3], b0[12]) pads=1,1,1,1
		r = Relu(s)
		c = Conv(r, w1[12 12 3 3], b1[12]) pads=1,1,1,1
		d = Relu(c)
		e = Conv(d, w2[12 12 3 3], b2[12]) pads=1,1,1,1
		a = Add(e, r)
		h = Relu(a)
		i = Conv(h, w3[12 12 3 3], b3[12]) pads=1,1,1,1
		j = Relu(i)
		k = Conv(j, w4[12 12 3 3]) pads=1,1,1,1
		l = Add(h, k)
		m = Relu(l)
		g = GlobalAveragePool(m)
		f = Flatten(g)
		y = Gemm(f, w6[12 5], b6[5])`
	// oneLow has a layer that may be of low rank.
	oneLow = `
		x: N 24
		a = Gemm(x, w1[24 96], b1[96])
		b = Tanh(a)
		c = Gemm(b, low[96 96], b2[96])
		d = Tanh(c)
		y = Gemm(d, w3[96 6], b3[6])`
)

// moved compresses a model by other moves than narrowing, or with them, on made-up data.
func moved(t *testing.T, m *onnxio.Model, o compress.Options) (*onnxio.Model, *compress.Report) {
	t.Helper()
	o.Data, o.Tune, o.Lossless = modeltest.Noise(t, m, 200, 5), job.Off, job.Off
	out, report, err := compress.Model(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	modeltest.SameInBatches(t, out, modeltest.Noise(t, m, 9, 6))
	return out, report
}

// What costs nothing is what goes: the result is the same function, under budgets of
// multiply-accumulates and of time.
func TestMovesWithoutLoss(t *testing.T) {
	zero := func(w *onnxio.Tensor) { w.SetFloat64(w.Dims, make([]float64, w.Len())) }
	for name, c := range map[string]struct {
		model         *onnxio.Model
		time          float64
		blocks, ranks []string
	}{
		"a block of zeros":    {withWeight(t, twoBlocks, "w4", zero), 0.58, []string{"l"}, nil},
		"a layer of low rank": {withWeight(t, oneLow, "low", ofRank(4)), 0.65, nil, []string{"Gemm_c"}},
	} {
		macs := compress.Options{MACs: 0.6}
		timed := onTable(latencytest.Table(t, c.model, 1), compress.Latency{Share: c.time})
		timed.NoData = false
		for unit, o := range map[string]compress.Options{"MACs": macs, "time": timed} {
			out, report := moved(t, c.model, o)
			var blocks, ranks []string
			for _, b := range report.Blocks {
				blocks = append(blocks, b.Name)
			}
			for _, r := range report.Ranks {
				ranks = append(ranks, r.Name)
			}
			if len(blocks) != len(c.blocks) || !slices.Equal(ranks, c.ranks) {
				t.Errorf("%s, %s: without blocks %v and with ranks %v, want %v and %v", name, unit, blocks, ranks, c.blocks, c.ranks)
			}
			if l := report.Latency; l == nil && report.After.MACs > report.Before.MACs*6/10 || l != nil && l.Predicted > c.time {
				t.Errorf("%s, %s: %d multiply-accumulates of %d, %+v", name, unit, report.After.MACs, report.Before.MACs, l)
			}
			if size, _ := out.Size(); size != report.After.Params {
				t.Errorf("%s, %s: %d parameters, %d reported", name, unit, size, report.After.Params)
			}
			d := modeltest.Noise(t, c.model, 50, 7)
			if e := modeltest.RelativeError(modeltest.Outputs(t, c.model, d), modeltest.Outputs(t, out, d)); e > 3e-4 {
				t.Errorf("%s, %s: error %g", name, unit, e)
			}
		}
	}
}

// Convolutions that are products of rows and columns become that, without a loss.
func TestSeparableWithoutLoss(t *testing.T) {
	m, err := onnxtest.Parse(twoBlocks)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"w1", "w2", "w3", "w4"} {
		modeltest.SetWeight(t, m, name, modeltest.Separable(4))
	}
	timed := onTable(latencytest.Table(t, m, 1), compress.Latency{Share: 0.6})
	timed.NoData = false
	for unit, o := range map[string]compress.Options{"parameters": {Params: 0.5}, "time": timed} {
		out, report := moved(t, m, o)
		if len(report.Ranks) < 2 || len(report.Blocks) > 0 {
			t.Errorf("%s: ranks %+v, blocks %+v", unit, report.Ranks, report.Blocks)
		}
		for _, r := range report.Ranks {
			if !r.Spatial || r.Rank < 4 || r.Of != 36 {
				t.Errorf("%s: %+v", unit, r)
			}
		}
		if l := report.Latency; l == nil && report.After.Params > report.Before.Params/2 || l != nil && l.Predicted > 0.6 {
			t.Errorf("%s: %d parameters of %d, %+v", unit, report.After.Params, report.Before.Params, l)
		}
		d := modeltest.Noise(t, m, 50, 7)
		if e := modeltest.RelativeError(modeltest.Outputs(t, m, d), modeltest.Outputs(t, out, d)); e > 3e-4 {
			t.Errorf("%s: error %g", unit, e)
		}
	}
}

// Only the moves that are asked for are made, and what is reported is what there is.
func TestMovesAsked(t *testing.T) {
	m, err := onnxtest.Parse(twoBlocks)
	if err != nil {
		t.Fatal(err)
	}
	for _, moves := range [][]compress.Move{{compress.Width}, {compress.Depth}, {compress.Rank}, {compress.Width, compress.Depth, compress.Rank}} {
		out, report := moved(t, m, compress.Options{Params: 0.65, Moves: moves})
		narrower := slices.ContainsFunc(report.Spaces, func(s compress.Space) bool { return s.After != s.Before && s.After > 0 })
		for move, made := range map[compress.Move]bool{compress.Width: narrower, compress.Depth: len(report.Blocks) > 0, compress.Rank: len(report.Ranks) > 0} {
			if made && !slices.Contains(moves, move) {
				t.Errorf("%v: %s was changed", moves, move)
			}
			if !made && len(moves) == 1 && moves[0] == move {
				t.Errorf("%v: nothing was done", moves)
			}
		}
		if report.After.Params > report.Before.Params*65/100 {
			t.Errorf("%v: %d parameters of %d", moves, report.After.Params, report.Before.Params)
		}
		if size, _ := out.Size(); size > report.After.Params {
			t.Errorf("%v: %d parameters, %d reported", moves, size, report.After.Params)
		}
	}
}

// Moves that cannot be judged, or that have no place beside other settings, are refused.
func TestMovesRefused(t *testing.T) {
	m := modeltest.Perceptron(t)
	few := modeltest.Noise(t, m, 40, 1)
	for name, o := range map[string]compress.Options{
		"few samples": {MACs: 0.5, Moves: []compress.Move{compress.Rank}, Options: job.Options{Data: few}},
		"no data":     {MACs: 0.5, Moves: []compress.Move{compress.Depth}, Options: job.Options{NoData: true}},
		"keep":        {Keep: 0.5, Moves: []compress.Move{compress.Rank}},
		"uniform":     {MACs: 0.5, Uniform: true, Moves: []compress.Move{compress.Rank}},
		"unknown":     {MACs: 0.5, Moves: []compress.Move{"height"}},
		"none":        {MACs: 0.5, Moves: []compress.Move{}},
	} {
		if _, _, err := compress.Model(context.Background(), m, o); err == nil || !strings.Contains(err.Error(), "moves") {
			t.Errorf("%s: error %v, want one about moves", name, err)
		}
	}
}
