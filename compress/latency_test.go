package compress_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/latency"
	"github.com/monge-ml/monge/latency/latencytest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// wideNet is three convolutions of 64 channels, and a fourth for ten classes.
func wideNet() *onnxio.Model {
	rng := rand.New(rand.NewPCG(3, 3))
	pads := onnxtest.Attr("pads", 1, 1, 1, 1)
	return onnxtest.Model(
		onnxtest.Values(onnxtest.Value("x", "N", 3, 8, 8)), onnxtest.Values(onnxtest.Value("y", "N", 10, 8, 8)),
		onnxtest.Weights("w1", []int{64, 3, 3, 3}, rng), onnxtest.Weights("w2", []int{64, 64, 3, 3}, rng),
		onnxtest.Weights("w3", []int{64, 64, 3, 3}, rng), onnxtest.Weights("w4", []int{10, 64, 1, 1}, rng),
		onnxtest.Node("Conv", "x w1", "a", pads), onnxtest.Node("Relu", "a", "b"),
		onnxtest.Node("Conv", "b w2", "c", pads), onnxtest.Node("Relu", "c", "d"),
		onnxtest.Node("Conv", "d w3", "e", pads), onnxtest.Node("Relu", "e", "f"),
		onnxtest.Node("Conv", "f w4", "y"),
	)
}

func onTable(table *latency.Table, l compress.Latency) compress.Options {
	return compress.Options{Latency: l, LatencyTable: table, NoLatency: true, Options: job.Options{NoData: true}}
}

// A share of the time is met as the table tells it, and nearly used up; widths are those that are
// fast; and the result is the same every time.
func TestLatency(t *testing.T) {
	m := wideNet()
	for _, block := range []int{8, 16} {
		table := latencytest.Table(t, m, block)
		for _, share := range []float64{0.8, 0.6, 0.4, 0.2} {
			out, r, err := compress.Model(context.Background(), m, onTable(table, compress.Latency{Share: share}))
			if err != nil {
				t.Fatal(err)
			}
			l := r.Latency
			if l == nil || l.Asked != share || l.Predicted > share*1.0001 || l.Predicted < share-0.15 || l.Measured != nil || !l.Given || l.Multiple != block {
				t.Errorf("blocks of %d, %g: %+v", block, share, l)
			}
			for _, s := range r.Spaces {
				if s.Before == 64 && s.After > block && s.After%block != 0 {
					t.Errorf("blocks of %d, %g: %d channels", block, share, s.After)
				}
			}
			again, _, err := compress.Model(context.Background(), m, onTable(table, compress.Latency{Share: share}))
			if err != nil {
				t.Fatal(err)
			}
			if encode(t, out) != encode(t, again) {
				t.Errorf("blocks of %d, %g: another result the second time", block, share)
			}
		}
	}
}

// A time is a share of what the table says that the model takes.
func TestLatencyTime(t *testing.T) {
	m := wideNet()
	table := latencytest.Table(t, m, 8)
	whole := 4e-3 + 64*(64*9*(3+64+64)+10*64+6*64)*1e-6 // the last layer has 16 channels, to the machine
	half := time.Duration(whole / 2 * float64(time.Millisecond))
	_, r, err := compress.Model(context.Background(), m, onTable(table, compress.Latency{Time: half}))
	if err != nil {
		t.Fatal(err)
	}
	_, want, err := compress.Model(context.Background(), m, onTable(table, compress.Latency{Share: r.Latency.Asked}))
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(r.Latency.Asked-0.5) > 0.02 {
		t.Errorf("%s are %.3f of what the model takes", half, r.Latency.Asked)
	}
	if diff := cmp.Diff(want.Spaces, r.Spaces); diff != "" {
		t.Error(diff)
	}
	same, r, err := compress.Model(context.Background(), m, onTable(table, compress.Latency{Time: time.Hour}))
	if err != nil || encode(t, same) != encode(t, m) {
		t.Errorf("a model that is fast enough changed: %v, %+v", err, r)
	}
}

// With data, widths are allocated by what predictions lose for the time that is saved; a dry run tells
// the same and makes nothing.
func TestLatencyWithData(t *testing.T) {
	enginetest.Require(t)
	m := modeltest.Load(t, "cnn_a")
	o := onTable(latencytest.Table(t, m, 1), compress.Latency{Share: 0.5})
	o.NoData, o.Data, o.Tune = false, modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 150}), job.Off
	out, r, err := compress.Model(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Candidates) < 3 || r.Candidates[0].Name != compress.Allocated {
		t.Errorf("candidates: %+v", r.Candidates)
	}
	if r.Latency.Predicted > 0.5 || r.Latency.Predicted < 0.35 || out == nil {
		t.Errorf("%+v", r.Latency)
	}
	o.DryRun = true
	out, dry, err := compress.Model(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil || dry.Latency == nil || dry.Latency.Measured != nil {
		t.Errorf("dry run: %+v", dry.Latency)
	}
}

// What cannot be is said.
func TestLatencyRefused(t *testing.T) {
	m := wideNet()
	table := latencytest.Table(t, m, 8)
	other := &latency.Table{Operators: []latency.Row{{Op: "Gemm", Inputs: [][]int{{1, 8}, {8, 8}}, Outputs: [][]int{{1, 8}}, MS: 1}}}
	for want, o := range map[string]compress.Options{
		"the budget cannot be met: it is 0.0": onTable(table, compress.Latency{Share: 0.001}),
		"latency is 2":                        onTable(table, compress.Latency{Share: 2}),
		"latency is -1s":                      onTable(table, compress.Latency{Time: -time.Second}),
		"want one of them":                    onTable(table, compress.Latency{Share: 0.5, Time: time.Second}),
		"it has no row for a Conv":            onTable(other, compress.Latency{Share: 0.5}),
		"give one of":                         {Latency: compress.Latency{Share: 0.5}, MACs: 0.5},
		"a latency table has a meaning for":   {LatencyTable: table, MACs: 0.5},
	} {
		_, _, err := compress.Model(context.Background(), m, o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	_, _, err := compress.Model(context.Background(), m, onTable(table, compress.Latency{Share: 0.001}))
	if !errors.Is(err, compress.ErrUnmet) {
		t.Errorf("%v is not ErrUnmet", err)
	}
	if _, _, err := compress.Into(context.Background(), m, m, compress.Options{Latency: compress.Latency{Share: 0.5}}); err == nil || !strings.Contains(err.Error(), "latency") {
		t.Errorf("into: %v", err)
	}
}
