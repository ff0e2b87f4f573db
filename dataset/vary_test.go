package dataset

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

func uniform(t *testing.T, seed uint64, dims ...int) *Data {
	t.Helper()
	v := engine.Float32(make([]float32, engine.Count(dims)), dims...)
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range v.F32 {
		v.F32[i] = rng.Float32()
	}
	d, err := New("images", map[string]*engine.Value{"x": v}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func batchOf(t *testing.T, d *Data, from, n int, dims ...int64) []float32 {
	t.Helper()
	f, err := d.For([]engine.IOInfo{{Name: "x", Type: onnxpb.TensorProto_FLOAT, Dims: dims}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.Batch(from, n)
	if err != nil {
		t.Fatal(err)
	}
	return b["x"].F32
}

// Samples come first and unchanged; variants do not depend on how they are read, on subsets taken,
// and on anything but the seed.
func TestVaried(t *testing.T) {
	d := uniform(t, 1, 5, 3, 8, 9)
	dims := []int64{-1, 3, 8, 9}
	size := 3 * 8 * 9
	v := d.Varied(2, 7)
	if v.Len() != 15 || d.Len() != 5 {
		t.Fatalf("%d samples, %d before", v.Len(), d.Len())
	}
	all := batchOf(t, v, 0, 15, dims...)
	if !slices.Equal(all[:5*size], batchOf(t, d, 0, 5, dims...)) {
		t.Error("samples have been changed")
	}
	for i := range 15 {
		if !slices.Equal(all[i*size:(i+1)*size], batchOf(t, v, i, 1, dims...)) {
			t.Errorf("place %d is another one when read alone", i)
		}
	}
	_, held := v.Split(5)
	for k, i := range []int{4, 9, 14} {
		if !slices.Equal(all[i*size:(i+1)*size], batchOf(t, held, k, 1, dims...)) {
			t.Errorf("place %d is another one in a subset", i)
		}
	}
	for i := 5; i < 15; i++ {
		if slices.Equal(all[i*size:(i+1)*size], all[i%5*size:(i%5+1)*size]) {
			t.Errorf("variant %d is as the sample", i)
		}
	}
	if slices.Equal(all[5*size:], batchOf(t, d.Varied(2, 8), 5, 10, dims...)) {
		t.Error("another seed makes no difference")
	}
}

// Every value of a variant lies between those of two samples: images are moved about and mixed,
// both layouts alike.
func TestVariedLayouts(t *testing.T) {
	const n, c, h, w = 4, 3, 8, 9
	first := uniform(t, 3, n, c, h, w)
	x := batchOf(t, first, 0, n, -1, c, h, w)
	y := make([]float32, len(x))
	turn := func(f func(i, j int)) {
		for s := range n {
			for k := range c {
				for p := range h * w {
					f((s*c+k)*h*w+p, (s*h*w+p)*c+k)
				}
			}
		}
	}
	turn(func(i, j int) { y[j] = x[i] })
	last, err := New("images", map[string]*engine.Value{"x": engine.Float32(y, n, h, w, c)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := batchOf(t, first.Varied(1, 2), n, n, -1, c, h, w)
	b := batchOf(t, last.Varied(1, 2), n, n, -1, h, w, c)
	low, high := slices.Min(x), slices.Max(x)
	turn(func(i, j int) {
		if a[i] != b[j] || a[i] < low || a[i] > high {
			t.Fatalf("%g in one layout, %g in the other", a[i], b[j])
		}
	})
}

// Vectors are mixed only: a variant is a sample or on the line between two.
func TestVariedVectors(t *testing.T) {
	d := uniform(t, 5, 6, 7)
	x := batchOf(t, d, 0, 6, -1, 7)
	v := batchOf(t, d.Varied(1, 3), 6, 6, -1, 7)
	moved := 0
	for i := range 6 {
		got := v[i*7 : (i+1)*7]
		best, same := math.Inf(1), slices.Equal(got, x[i*7:(i+1)*7])
		for j := range 6 {
			var dot, with, rest float64
			for k := range 7 {
				d, g := float64(x[j*7+k]-x[i*7+k]), float64(got[k]-x[i*7+k])
				dot, with = dot+d*d, with+d*g
			}
			for k := range 7 {
				d, g := float64(x[j*7+k]-x[i*7+k]), float64(got[k]-x[i*7+k])
				if dot > 0 {
					g -= d * with / dot
				}
				rest += g * g
			}
			best = min(best, rest)
		}
		if best > 1e-10 {
			t.Errorf("variant %d is on no line from its sample to another", i)
		}
		if !same {
			moved++
		}
	}
	if moved == 0 {
		t.Error("nothing was mixed")
	}
}

// Sequences of tokens begin as the sample and end as another one, in all inputs at the same place,
// within what both have before they are filled up, and have some words of a third. Whole numbers of
// other shapes stay as they are.
func TestVariedTokens(t *testing.T) {
	const n, length = 6, 9
	ids, mask := make([]int64, n*length), make([]float32, n*length)
	for i := range n {
		for k := range length - i {
			ids[i*length+k], mask[i*length+k] = int64(10*(i+1)+k), 1
		}
	}
	d, err := New("tokens", map[string]*engine.Value{
		"ids":  {Type: onnxpb.TensorProto_INT64, Dims: []int{n, length}, I64: ids},
		"mask": {Type: onnxpb.TensorProto_FLOAT, Dims: []int{n, length}, F32: mask},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Varied(4, 1).For([]engine.IOInfo{
		{Name: "ids", Type: onnxpb.TensorProto_INT64, Dims: []int64{-1, length}}, {Name: "mask", Type: onnxpb.TensorProto_FLOAT, Dims: []int64{-1, length}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.Batch(0, 5*n)
	if err != nil {
		t.Fatal(err)
	}
	got, seen := b["ids"].I64, b["mask"].F32
	if !slices.Equal(got[:n*length], ids) || !slices.Equal(seen[:n*length], mask) {
		t.Error("samples have been changed")
	}
	changed, strange := 0, 0
	for s := n; s < 5*n; s++ {
		row, own := got[s*length:(s+1)*length], int64(s%n+1)
		end := slices.Index(seen[s*length:(s+1)*length], 0)
		if end < 0 {
			end = length
		}
		other := row[end-1] / 10 // whose end stays
		if row[0]/10 != own || other != own && end != length-int(other-1) {
			t.Errorf("%v begins as %d and ends as %d", row, own, other)
		}
		if other != own {
			changed++
		}
		third := int64(0)
		for k, x := range row {
			of := x / 10
			switch {
			case k >= end:
				if x != 0 || seen[s*length+k] != 0 {
					t.Errorf("%v, mask %v: place %d", row, seen[s*length:(s+1)*length], k)
				}
				continue
			case of != own && of != other && third == 0:
				third = of
				strange++
			}
			if of != own && of != other && of != third {
				t.Errorf("%v: place %d is of a fourth sequence", row, k)
			}
			if x != ids[int(of-1)*length+k] || seen[s*length+k] != mask[int(of-1)*length+k] {
				t.Errorf("%v, mask %v: place %d", row, seen[s*length:(s+1)*length], k)
			}
		}
	}
	if changed < n || strange < n/2 {
		t.Errorf("of %d variants %d end as others do, and %d have words of a third", 4*n, changed, strange)
	}

	numbers := &engine.Value{Type: onnxpb.TensorProto_INT64, Dims: []int{2, 3, 1}, I64: []int64{1, 2, 3, 4, 5, 6}}
	if d, err = New("numbers", map[string]*engine.Value{"x": numbers}, nil); err != nil {
		t.Fatal(err)
	}
	if f, err = d.Varied(1, 1).For([]engine.IOInfo{{Name: "x", Type: onnxpb.TensorProto_INT64, Dims: []int64{-1, 3, 1}}}); err != nil {
		t.Fatal(err)
	}
	if b, err = f.Batch(2, 2); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b["x"].I64, numbers.I64) {
		t.Errorf("%v", b["x"].I64)
	}
}
