package eval

import (
	"math"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Of outputs with many rows for each sample, or of more numbers than there is room for, fewer samples
// are run, but not beside others: the last sample cannot be.
func TestMapsAreKnownFromFewSamples(t *testing.T) {
	enginetest.Require(t)
	const n, batch = 60, 10
	pixels := make([]float32, n*3*40*40)
	pixels[len(pixels)-1] = float32(math.NaN())
	data, err := dataset.New("pictures", map[string]*engine.Value{"x": engine.Float32(pixels, n, 3, 40, 40)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, all := range map[string]bool{
		"x: N 3 40 40\ny = Conv(x, w1[5 3 1 1])":                                                   false,
		"x: N 3 40 40\nf = Reshape(x, s{0 1 4800})\ny = Tile(f, r{1 1 25})":                        false,
		"x: N 3 40 40\ny = Conv(x, w1[5 3 4 4]) strides=4,4":                                       true,
		"x: N 3 40 40\nm = Conv(x, w1[5 3 1 1])\ng = GlobalAveragePool(m)\ny = Flatten(g)\n-> m y": true,
	} {
		m, err := onnxtest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := gather(t.Context(), m, data, dataset.StreamOptions{Batch: batch}); (err != nil) != all {
			t.Errorf("%s: all samples are run: %t; error %v", text, all, err)
		}
	}
}
