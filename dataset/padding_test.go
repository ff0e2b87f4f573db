package dataset_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// sentences are 12 sequences of 3 to 6 words in 10 places, with masks, and kinds of words, where kinds
// are wanted.
func sentences(t *testing.T, pad int64, kinds bool) *dataset.Data {
	t.Helper()
	const n, full = 12, 10
	ids, mask, kind := make([]int64, n*full), make([]int64, n*full), make([]int64, n*full)
	for i := range n {
		for k := range full {
			at := i*full + k
			if ids[at] = pad; k < 3+i%4 {
				ids[at], mask[at], kind[at] = int64(2+(5*i+k)%7), 1, int64(k/2%2)
			}
		}
	}
	arrays := map[string]*engine.Value{
		"ids":  {Type: onnxio.Int64, Dims: []int{n, full}, I64: ids},
		"mask": {Type: onnxio.Int64, Dims: []int{n, full}, I64: mask},
	}
	if kinds {
		arrays["kind"] = &engine.Value{Type: onnxio.Int64, Dims: []int{n, full}, I64: kind}
	}
	d, err := dataset.New("words", arrays, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestUnpadded(t *testing.T) {
	enginetest.Require(t)
	const masked = `
		m = Cast(mask) to=1
		u = Unsqueeze(m, a{2})
		e = Gather(w[9 4], ids)
		f = Mul(e, u)
		`
	for _, c := range []struct {
		name, graph string
		pad         int64
		kinds       bool
		long        int
	}{
		{"a vector for each word", "ids: int N T\nmask: int N T" + masked + "y = MatMul(f, v[4 3])", 0, false, 6},
		{"one vector for all words, padded with a word", "ids: int N T\nmask: int N T" + masked + "y = ReduceSum(f, b{1}) keepdims=0", 1, false, 6},
		{"a third array", "ids: int N T\nmask: int N T\nkind: int N T" + masked +
			"g = Gather(q[2 4], kind)\nh = Mul(g, u)\nk = Add(f, h)\ny = ReduceSum(k, b{1}) keepdims=0", 1, true, 6},
		{"padding that counts", "ids: int N T\nmask: int N T\nm = Cast(mask) to=1\nz = ReduceSum(m) keepdims=0\ne = Gather(w[9 4], ids)\nf = ReduceSum(e, b{1}) keepdims=0\ny = Add(f, z)", 1, false, 10},
		{"a length that is fixed", "ids: int N 10\nmask: int N 10" + masked + "y = ReduceSum(f, b{1}) keepdims=0", 0, false, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := onnxtest.Parse(c.graph)
			if err != nil {
				t.Fatal(err)
			}
			d := sentences(t, c.pad, c.kinds)
			out, err := d.Unpadded(t.Context(), []*onnxio.Model{m}, 1)
			if err != nil {
				t.Fatal(err)
			}
			shapes := dataset.Shapes(m, out, nil)
			if got := shapes["ids"]; !slices.Equal(got, []int{1, c.long}) && c.long != 10 {
				t.Errorf("shape %v, want [1,%d]", got, c.long)
			}
			if said := strings.Contains(strings.Join(out.Remarks(), " "), "cut to the longest, 6 of 10"); said != (c.long == 6) {
				t.Errorf("remarks %q", out.Remarks())
			}
			if c.long == 10 && out != d {
				t.Error("the data are others")
			}
		})
	}
}
