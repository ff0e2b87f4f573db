package compress_test

import (
	"fmt"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
)

// BenchmarkLayers compresses chains of small dense layers: what a thousand of them take is no more
// than some twice what five hundred do.
func BenchmarkLayers(b *testing.B) {
	enginetest.Require(b)
	for _, layers := range []int{500, 1000} {
		b.Run(fmt.Sprint(layers), func(b *testing.B) {
			m := modeltest.Chain(b, layers)
			o := compress.Options{MACs: 0.5}
			o.Data, o.Tune = modeltest.Noise(b, m, 256, 3), job.Off
			for b.Loop() {
				if _, _, err := compress.Model(b.Context(), m, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
