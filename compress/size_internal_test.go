package compress

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
)

// An attempt at a size whose file is too large is not distilled: it will be made again.
func TestOnlyWhatMeetsASizeIsDistilled(t *testing.T) {
	m := modeltest.Perceptron(t)
	_, own := m.Size()
	for _, c := range []struct {
		size    int64
		distils bool
	}{{own, true}, {own / 10, false}} {
		o := Options{Size: c.size, Uniform: true, Options: job.Options{Data: modeltest.Noise(t, m, 100, 3), Tune: job.On, Epochs: 1, NoEval: true}}
		run, err := start(context.Background(), m, o, false)
		if err != nil {
			t.Fatal(err)
		}
		b := budget{unit: inBytes, bytes: own / 2}
		s, folded, err := run.prepare(b, none)
		if err != nil {
			t.Fatal(err)
		}
		_, report, err := run.meet(context.Background(), s, folded, b)
		if err != nil {
			t.Fatal(err)
		}
		if (report.Tune != nil) != c.distils || report.Refit == nil {
			t.Errorf("%d of %d bytes: distillation %+v, refit %+v", c.size, own, report.Tune, report.Refit)
		}
	}
}
