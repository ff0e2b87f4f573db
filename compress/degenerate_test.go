package compress_test

import (
	"context"

	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
)

// Data that say little, or are of a size that sums of squares do not hold, end in a model whose
// outputs are numbers where those of the original are, and never in an error.
func TestDegenerateData(t *testing.T) {
	for name, m := range modeltest.Structures(t) {
		for kind, d := range modeltest.Degenerate(t, m, 20) {
			t.Run(name+"/"+kind, func(t *testing.T) {
				o := compress.Options{Keep: 0.5, Options: job.Options{Data: d, Tune: job.Off, Lossless: job.Off}}
				if kind == "one huge" {
					o.Tune, o.Epochs = job.On, 1
				}
				if kind == "of all sizes" {
					o.Keep, o.MACs = 0, 0.5
				}
				out, _, err := compress.Model(context.Background(), m, o)
				if err != nil {
					t.Fatal(err)
				}
				modeltest.FiniteWhere(t, m, out, d)
			})
		}
	}
}
