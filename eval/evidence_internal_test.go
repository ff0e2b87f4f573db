package eval

import (
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Of outputs with many rows for each sample fewer samples are looked at, but not beside others.
func TestMapsAreKnownFromFewSamples(t *testing.T) {
	enginetest.Require(t)
	const n, batch = 60, 10
	data, err := dataset.New("pictures", map[string]*engine.Value{"x": engine.Float32(make([]float32, n*3*40*40), n, 3, 40, 40)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		model string
		seen  int
	}{
		{"x: N 3 40 40\ny = Conv(x, w1[5 3 1 1])", leastRows},
		{"x: N 3 40 40\ny = Conv(x, w1[5 3 4 4]) strides=4,4", n},
		{"x: N 3 40 40\nm = Conv(x, w1[5 3 1 1])\ng = GlobalAveragePool(m)\ny = Flatten(g)", n},
	} {
		m, err := onnxtest.Parse(x.model)
		if err != nil {
			t.Fatal(err)
		}
		list, err := gather(t.Context(), m, data, dataset.StreamOptions{Batch: batch})
		if err != nil {
			t.Fatal(err)
		}
		if got := list[0].dims[0]; got != x.seen {
			t.Errorf("%s: %d samples were looked at, want %d", x.model, got, x.seen)
		}
	}
}
