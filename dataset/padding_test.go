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
	const each, shared = "cut where they end, after 5 of 10 in the mean", "cut to the longest, 6 of 10"
	for _, c := range []struct {
		name, graph string
		pad         int64
		kinds       bool
		remark      string // "" where nothing is cut
	}{
		{"a vector for each word", "ids: int N T\nmask: int N T" + masked + "y = MatMul(f, v[4 3])", 0, false, each},
		{"one vector for all words, padded with a word", "ids: int N T\nmask: int N T" + masked + "y = ReduceSum(f, b{1}) keepdims=0", 1, false, each},
		{"a third array", "ids: int N T\nmask: int N T\nkind: int N T" + masked +
			"g = Gather(q[2 4], kind)\nh = Mul(g, u)\nk = Add(f, h)\ny = ReduceSum(k, b{1}) keepdims=0", 1, true, each},
		{"six words in any case", "ids: int N T\nmask: int N T" + masked + "y = Slice(f, g{0}, h{6}, i{1})", 0, false, shared},
		{"one number for each word", "ids: int N T\nmask: int N T" + masked + "y = ReduceSum(f, b{2}) keepdims=0", 0, false, shared},
		{"scores of places", "ids: int N T\nmask: int N T" + masked + "y = Transpose(f) perm=0,2,1", 0, false, shared},
		{"padding that counts", "ids: int N T\nmask: int N T\nm = Cast(mask) to=1\nz = ReduceSum(m) keepdims=0\ne = Gather(w[9 4], ids)\nf = ReduceSum(e, b{1}) keepdims=0\ny = Add(f, z)", 1, false, ""},
		{"a length that is fixed", "ids: int N 10\nmask: int N 10" + masked + "y = ReduceSum(f, b{1}) keepdims=0", 0, false, ""},
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
			if c.remark == "" {
				if out != d {
					t.Errorf("the data are others, which say %q", out.Remarks())
				}
				return
			}
			if got := dataset.Shapes(m, out, nil)["ids"]; !slices.Equal(got, []int{1, 6}) {
				t.Errorf("shape %v, want [1,6]", got)
			}
			if !strings.Contains(strings.Join(out.Remarks(), " "), c.remark) {
				t.Errorf("remarks %q, want %q", out.Remarks(), c.remark)
			}
			if got := out.Lengths() != nil; got != (c.remark == each) {
				t.Errorf("lengths %v", out.Lengths())
			}
		})
	}
}

// Padding that counts is found, whatever the first samples are like.
func TestUnpaddedBehindLongOnes(t *testing.T) {
	enginetest.Require(t)
	m, err := onnxtest.Parse("ids: int N T\ne = Gather(w[9 4], ids)\ny = ReduceSum(e, b{1}) keepdims=0")
	if err != nil {
		t.Fatal(err)
	}
	const n, full = 40, 10
	ids := make([]int64, n*full)
	for i := range n {
		for k := range full {
			if i < 12 || k < 2+i%4 {
				ids[i*full+k] = int64(1 + (i+k)%8)
			}
		}
	}
	d, err := dataset.New("words", map[string]*engine.Value{"ids": {Type: onnxio.Int64, Dims: []int{n, full}, I64: ids}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.Unpadded(t.Context(), []*onnxio.Model{m}, 1)
	if err != nil || out != d {
		t.Errorf("%q, %v", out.Remarks(), err)
	}
}

// A mask may be of numbers, and a number may stand beside the sequences.
func TestUnpaddedBeside(t *testing.T) {
	enginetest.Require(t)
	m, err := onnxtest.Parse("ids: int N T\nmask: N T\ns: 1\nu = Unsqueeze(mask, a{2})\ne = Gather(w[9 4], ids)\nf = Mul(e, u)\ng = Mul(f, s)\ny = ReduceSum(g, k{1}) keepdims=0")
	if err != nil {
		t.Fatal(err)
	}
	p := m.Proto.GetGraph()
	p.Input[2] = onnxio.NewValueInfo("s", onnxio.Float)
	d := sentences(t, 1, false)
	inputs, err := engine.Inputs(m)
	if err != nil {
		t.Fatal(err)
	}
	if len(inputs) != 3 {
		t.Fatalf("inputs %v", inputs)
	}
	whole, err := d.For(inputs[:1])
	if err != nil {
		t.Fatal(err)
	}
	ids, err := whole.Batch(0, d.Len())
	if err != nil {
		t.Fatal(err)
	}
	mask := &engine.Value{Type: onnxio.Int64, Dims: []int{12, 10}, I64: make([]int64, 120)}
	for i := range 12 {
		for k := range 3 + i%4 {
			mask.I64[i*10+k] = 1
		}
	}
	d, err = dataset.New("words", map[string]*engine.Value{"ids": ids["ids"], "mask": mask, "s": {Type: onnxio.Float, F32: []float32{2}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.Unpadded(t.Context(), []*onnxio.Model{m}, 1)
	if err != nil || out.Lengths() == nil {
		t.Fatalf("%q, %v", out.Remarks(), err)
	}
	v := out.Varied(2, 5)
	feed, err := v.For(inputs)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range v.Lengths() {
		b, err := feed.Padded(want).Batch(i, 1)
		if err != nil {
			t.Fatal(err)
		}
		if m := b["mask"]; len(m.F32) != want || slices.Contains(m.F32, 0) {
			t.Errorf("variant %d of %d words: %v %v", i, want, m.Dims, m.F32)
		}
	}
}

// unpadded are sentences, where padding was found to change nothing, and the inputs of a model.
func unpadded(t *testing.T) (*dataset.Data, []engine.IOInfo) {
	t.Helper()
	enginetest.Require(t)
	m, err := onnxtest.Parse("ids: int N T\nmask: int N T\nm = Cast(mask) to=1\nu = Unsqueeze(m, a{2})\ne = Gather(w[9 4], ids)\nf = Mul(e, u)\ny = ReduceSum(f, b{1}) keepdims=0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := sentences(t, 1, false).Unpadded(t.Context(), []*onnxio.Model{m}, 1)
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := engine.Inputs(m)
	if err != nil {
		t.Fatal(err)
	}
	return d, inputs
}

// Batches of ragged data hold sequences of like length, whole ones, each sample once.
func TestRagged(t *testing.T) {
	d, inputs := unpadded(t)
	r := d.Ragged(5)
	if r.Ragged(4) != r {
		t.Error("ragged data are put in order again")
	}
	feed, err := r.For(inputs)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := d.For(inputs)
	if err != nil {
		t.Fatal(err)
	}
	places := r.Places()
	var lengths []int
	for from := 0; from < r.Len(); from += 5 {
		n := min(5, r.Len()-from)
		v, err := feed.Batch(from, n)
		if err != nil {
			t.Fatal(err)
		}
		long := v["ids"].Dims[1]
		lengths = append(lengths, long)
		for i := range n {
			own, err := whole.Batch(places[from+i], 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"ids", "mask"} {
				row := v[name].I64[i*long : (i+1)*long]
				if !slices.Equal(row, own[name].I64[:long]) {
					t.Errorf("%s of sample %d: %v of %v", name, places[from+i], row, own[name].I64)
				}
			}
			if words := 3 + places[from+i]%4; words > long {
				t.Errorf("sample %d, of %d words, is cut after %d", places[from+i], words, long)
			}
		}
	}
	if slices.Sort(places); !slices.Equal(places, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) {
		t.Errorf("samples %v", places)
	}
	// Lengths are 3 to 6, three samples each: two are put aside for the batch that is not full, one of the
	// shorter half and one of the longer.
	if last := lengths[2]; last != 5 && last != 6 {
		t.Errorf("the batch that is not full has length %d", last)
	}
	if slices.Sort(lengths[:2]); !slices.Equal(lengths[:2], []int{4, 6}) {
		t.Errorf("lengths of batches %v", lengths)
	}
}

// Variants are as long as Lengths says, and a feed may be padded to any length.
func TestLengthsOfVariants(t *testing.T) {
	d, inputs := unpadded(t)
	v := d.Varied(3, 5)
	feed, err := v.For(inputs)
	if err != nil {
		t.Fatal(err)
	}
	lengths := v.Lengths()
	if len(lengths) != 48 || slices.Equal(lengths[:12], lengths[12:24]) {
		t.Errorf("lengths %v", lengths)
	}
	for i, want := range lengths {
		whole, err := feed.Batch(i, 1)
		if err != nil {
			t.Fatal(err)
		}
		words := 0
		for _, one := range whole["mask"].I64 {
			words += int(one)
		}
		if words != want {
			t.Errorf("variant %d has %d words, Lengths says %d", i, words, want)
		}
		cut, err := feed.Padded(want).Batch(i, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := cut["ids"]; !slices.Equal(got.Dims, []int{1, want}) || !slices.Equal(got.I64, whole["ids"].I64[:want]) {
			t.Errorf("variant %d: %v %v of %v", i, got.Dims, got.I64, whole["ids"].I64)
		}
	}
}
