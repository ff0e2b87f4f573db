package modeltest

import (
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// Words returns a model that reads sequences of words, ids and mask [N, T], and makes a vector of each
// word, y [N, T, 6], which padding changes nothing of but where it stands, and one of all words
// together, p [N, 6]; another one that is near it; and 60 sequences of 2 to 12 words, padded to that
// length.
func Words(t testing.TB, length int) (m, near *onnxio.Model, d *dataset.Data) {
	t.Helper()
	m, err := onnxtest.Parse(`
		ids: int N T
		mask: int N T
		m = Cast(mask) to=1
		u = Unsqueeze(m, a{2})
		e = Gather(w[9 8], ids)
		h = MatMul(e, v[8 16])
		b = Add(h, c[16])
		r = Relu(b)
		y = MatMul(r, q[16 6])
		f = Mul(y, u)
		p = ReduceSum(f, k{1}) keepdims=0
		-> y p`)
	if err != nil {
		t.Fatal(err)
	}
	near = m.Clone()
	SetWeight(t, near, "v", func(v *onnxio.Tensor) {
		for i := range v.F32 {
			v.F32[i] *= 1 + 0.1*float32(i%3)
		}
	})
	const n = 60
	rng := rand.New(rand.NewPCG(4, 4))
	ids, mask := make([]int64, n*length), make([]int64, n*length)
	for i := range n {
		for k := range []int{2, 3, 3, 4, 5, 12}[i%6] {
			ids[i*length+k], mask[i*length+k] = rng.Int64N(9), 1
		}
	}
	d, err = dataset.New("words", map[string]*engine.Value{
		"ids":  {Type: onnxio.Int64, Dims: []int{n, length}, I64: ids},
		"mask": {Type: onnxio.Int64, Dims: []int{n, length}, I64: mask},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, near, d
}
