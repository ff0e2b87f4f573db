// Package latencytest makes latency tables of machines that do not exist, for tests: with them nothing
// is timed.
package latencytest

import (
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/latency"
	"github.com/monge-ml/monge/onnxio"
)

// Table is what the linear operators of a model take, at several widths, on a machine that needs a
// microsecond for each and a nanosecond for each multiply-accumulate, and as long for a part of a
// block of channels as for a whole one.
func Table(t testing.TB, m *onnxio.Model, block int) *latency.Table {
	t.Helper()
	an, err := coupling.Analyze(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	table := &latency.Table{Runtime: "none", CPU: "none", Threads: 1}
	for _, share := range []float64{1, 0.94, 0.875, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.125} {
		w := latency.Even(an, share, 4)
		for _, op := range an.Ops {
			table.Operators = append(table.Operators, row(an, &op, w, block))
		}
	}
	return table
}

// row is what an operator takes under widths.
func row(an *coupling.Analysis, op *coupling.LinearOp, w coupling.Widths, block int) latency.Row {
	sizes := func(axes []*coupling.Axis) (dims []int) {
		for _, a := range axes {
			dims = append(dims, max(w.Size(a), 1))
		}
		return dims
	}
	in, out := op.Node.GetInput(), op.Node.GetOutput()
	r := latency.Row{
		Op:      op.Node.GetOpType(),
		Inputs:  [][]int{sizes(an.Activations[in[0]]), sizes(an.Weights[in[1]].Axes)},
		Outputs: [][]int{sizes(an.Activations[out[0]])},
	}
	macs := float64(op.MACs(w))
	if r.Op == "Conv" {
		for _, n := range []int{r.Inputs[1][0], r.Inputs[1][1]} {
			if n >= block || n == r.Inputs[1][0] {
				macs *= float64((n+block-1)/block*block) / float64(n)
			}
		}
	}
	r.MS = 1e-3 + macs*1e-6
	return r
}
