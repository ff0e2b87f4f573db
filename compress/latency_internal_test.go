package compress

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/eval"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/latency"
	"github.com/monge-ml/monge/latency/latencytest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// What a table predicts is corrected by what narrowed models take: on a machine on which these take a
// quarter longer than it says, or a quarter less, as long comes out as was asked.
func TestLatencyIsCorrected(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	pads := onnxtest.Attr("pads", 1, 1, 1, 1)
	m := onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 3, 8, 8)), onnxtest.Values(onnxtest.Value("y", "N", 10, 8, 8)),
		onnxtest.Weights("w1", []int{64, 3, 3, 3}, rng), onnxtest.Weights("w2", []int{64, 64, 3, 3}, rng),
		onnxtest.Weights("w3", []int{10, 64, 3, 3}, rng),
		onnxtest.Node("Conv", "x w1", "a", pads), onnxtest.Node("Relu", "a", "b"),
		onnxtest.Node("Conv", "b w2", "c", pads), onnxtest.Node("Relu", "c", "d"),
		onnxtest.Node("Conv", "d w3", "y", pads),
	)
	table := latencytest.Table(t, m, 4)
	for off, part := range map[float64]float64{1.25: 0, 0.75: 0, 1: 0, 0.6: 0.7, 0.9: 0.7, 0.71: 0.7} { // of the least that there can be, by the table
		c := clocked(t, m, Options{LatencyTable: table, Options: job.Options{NoData: true}})
		took := func(m *onnxio.Model) float64 { return predicted(t, table, m) }
		timed := 0
		c.clock.compare = func(_ context.Context, models []*onnxio.Model, _ eval.LatencyOptions) ([]eval.Timing, error) {
			timed++
			return []eval.Timing{{QuickMS: took(models[0])}, {QuickMS: off * took(models[1])}}, nil
		}
		b, most := budget{unit: inLatency, share: 0.5, floor: defaultFloor}, over
		if part > 0 {
			most = late
			b.share = part * c.leastCost(c.analysis, b) / c.clock.whole
		}
		out, r, err := c.narrowed(context.Background(), b)
		if part > 0 && off > part*(1+late) {
			if !errors.Is(err, ErrUnmet) || timed != 1 {
				t.Errorf("%g of the prediction, %g of the least: %v after %d timings", off, part, err, timed)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if share := off * took(out) / took(m); share > b.share*(1+most) || share < b.share*0.84 {
			t.Errorf("%g of the prediction: the result takes %.3f, %.3f was asked", off, share, b.share)
		}
		if math.Abs(r.Latency.Asked-b.share) > 1e-9 {
			t.Errorf("%g of the prediction: %g was asked, %g is told", off, b.share, r.Latency.Asked)
		}
		if timed > corrections+1 || r.Latency.Trials != timed || off == 1 && timed != 1 {
			t.Errorf("%g of the prediction: %d models were timed, %d are told", off, timed, r.Latency.Trials)
		}
	}
}

// clocked starts a compression that times models although it was given a table.
func clocked(t *testing.T, m *onnxio.Model, o Options) *compression {
	t.Helper()
	c, err := start(t.Context(), m, o, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.startClock(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	c.clock.given, c.clock.silent = false, false
	return c
}

// What is timed is the model that was chosen, without its blocks and with two operators where one
// becomes two, and so is what comes out.
func TestMovesAreTimed(t *testing.T) {
	enginetest.Require(t)
	m := modeltest.Load(t, "resnet_a")
	table := latencytest.Table(t, m, 1)
	for _, moves := range [][]Move{{Depth}, {Rank}, {Width, Depth, Rank}} {
		o := Options{LatencyTable: table, Moves: moves, Options: job.Options{Data: modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 150}), Tune: job.Off, Lossless: job.Off}}
		c := clocked(t, m, o)
		var shares []float64
		c.clock.compare = func(_ context.Context, models []*onnxio.Model, _ eval.LatencyOptions) ([]eval.Timing, error) {
			took := []eval.Timing{{QuickMS: predicted(t, table, models[0])}, {QuickMS: predicted(t, table, models[1])}}
			shares = append(shares, took[1].QuickMS/took[0].QuickMS)
			return took, nil
		}
		out, r, err := c.narrowed(context.Background(), budget{unit: inLatency, share: 0.8, floor: defaultFloor})
		if err != nil {
			t.Fatal(err)
		}
		as := func(share float64) bool { return math.Abs(share-r.Latency.Predicted) < 1e-6 }
		if share := predicted(t, table, out) / predicted(t, table, m); !as(share) || share > 0.8*(1+over) || !slices.ContainsFunc(shares, as) {
			t.Errorf("%v: it takes %.4f, %v were timed, %.4f predicted", moves, share, shares, r.Latency.Predicted)
		}
		if len(moves) == 1 && len(r.Blocks)+len(r.Ranks) == 0 {
			t.Errorf("%v: nothing was done", moves)
		}
	}
}

// On a machine on which narrow models take less than the table says, and with data to choose by, what
// was asked comes out too.
func TestFasterThanTheTable(t *testing.T) {
	enginetest.Require(t)
	m := modeltest.Load(t, "cnn_a")
	table := latencytest.Table(t, m, 1)
	for _, off := range []float64{0.8, 0.6} {
		o := Options{LatencyTable: table, Options: job.Options{Data: modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 150}), Tune: job.Off, Lossless: job.Off}}
		c := clocked(t, m, o)
		c.clock.compare = func(_ context.Context, models []*onnxio.Model, _ eval.LatencyOptions) ([]eval.Timing, error) {
			return []eval.Timing{{QuickMS: predicted(t, table, models[0])}, {QuickMS: off * predicted(t, table, models[1])}}, nil
		}
		b := budget{unit: inLatency, floor: defaultFloor}
		least := c.leastCost(c.analysis, b) / c.clock.whole
		for _, asked := range []float64{0.9 * least, 0.5} {
			b.share = asked
			out, _, err := c.narrowed(context.Background(), b)
			if err != nil {
				t.Errorf("%g of the prediction, %g asked: %v", off, asked, err)
				continue
			}
			if share := off * predicted(t, table, out) / predicted(t, table, m); share > asked*(1+late) {
				t.Errorf("%g of the prediction: it takes %g, %g was asked", off, share, asked)
			}
		}
	}
}

// predicted is what a table says that a model takes.
func predicted(t *testing.T, table *latency.Table, m *onnxio.Model) float64 {
	t.Helper()
	an, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return table.For(an, nil).MS(latency.Shape{})
}
