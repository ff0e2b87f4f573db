package admit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/monge-ml/monge/engine"
	"github.com/monge-ml/monge/internal/admit"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// doubled repeats a line, in which CUR stands for what is made and PREV for what was before.
func doubled(times int, first, line, last string) string {
	lines := []string{first}
	for i := range times {
		lines = append(lines, strings.NewReplacer("CUR", fmt.Sprint("t", i+1), "PREV", fmt.Sprint("t", i)).Replace(line))
	}
	return strings.Join(append(lines, strings.ReplaceAll(last, "LAST", fmt.Sprint("t", times))), "\n")
}

// TestSizes: models of a few bytes that ask for more memory than there is are refused before any of
// it is taken, and named with the tensor; what is only deep is not.
func TestSizes(t *testing.T) {
	const conv, mean = "x: N 3 8 8\nt0 = Conv(x, w[4 3 1 1])", "y = Softmax(LAST)"
	for name, c := range map[string]struct{ text, large string }{
		"concat":       {doubled(40, conv, "CUR = Concat(PREV, PREV) axis=1", mean), `"t38"`},
		"wide":         {doubled(40, conv, "CUR = Concat(PREV, PREV) axis=3", mean), `elements`},
		"tile":         {doubled(40, conv, "CUR = Tile(PREV, rCUR{1 2 2 1})", mean), `elements`},
		"expand":       {"x: N 3\nh = MatMul(x, w[3 4])\nu = Unsqueeze(h, a{2})\ny = Expand(u, s{1 4 1000000000})", `"y"`},
		"outer":        {"x: 1 65536\nt = Transpose(x) perm=1,0\ny = MatMul(t, x)", `"y"`},
		"pads":         {"x: N 3 8 8\ny = Conv(x, w[4 3 2 2]) pads=100000,100000,100000,100000", `"y"`},
		"large pads":   {"x: N 3 8 8\ny = Conv(x, w[4 3 2 2]) pads=2147483647,2147483647,2147483647,2147483647", `"y"`},
		"strides":      {"x: N 3 8 8\ny = ConvTranspose(x, w[3 4 2 2]) strides=20000,20000", `"y"`},
		"resize":       {"x: N 3 8 8\ny = Resize(x, _, s<1>, z{1 3 100000 100000})", `"y"`},
		"pad":          {"x: N 3 8 8\ny = Pad(x, p{0 0 0 0 0 0 100000 100000})", `"y"`},
		"input":        {"x: N 1 40000 40000\ny = Relu(x)", `"x"`},
		"added":        {doubled(60, conv, "CUR = Add(PREV, PREV)", mean), ""},
		"halves":       {doubled(60, conv, "aCUR bCUR = Split(PREV, sCUR{2 2}) axis=1\nCUR = Concat(bCUR, aCUR) axis=1", mean), ""},
		"double, half": {doubled(60, conv, "dCUR = Concat(PREV, PREV) axis=1\naCUR CUR = Split(dCUR, sCUR{4 4}) axis=1", mean), ""},
	} {
		m, err := onnxtest.Parse(c.text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		err = admit.Model(t.Context(), m, admit.Options{})
		switch {
		case c.large == "" && err == nil:
		case c.large == "" || !errors.Is(err, engine.ErrMemory) || !strings.Contains(err.Error(), c.large):
			t.Errorf("%s: %v, want %q", name, err, c.large)
		}
	}
}

// TestBatch: of large samples fewer are run at once.
func TestBatch(t *testing.T) {
	for size, want := range map[int]int{64: 32, 4096: 8, 16384: 1} {
		m, err := onnxtest.Parse(fmt.Sprintf("x: N 1 %d %d\ny = Relu(x)", size, size))
		if err != nil {
			t.Fatal(err)
		}
		if n := admit.Batch(m, nil, 32); n != want {
			t.Errorf("%d×%d numbers a sample: %d at once, want %d", size, size, n, want)
		}
	}
}

// TestMemory: what a tensor of a sample may take follows the memory that there is; what is made of
// weights is never too large for being as large as they are.
func TestMemory(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		memory int64
		large  bool
	}{
		"image":                {"x: N 3 200 200\ny = Relu(x)", 1 << 20, true},
		"image, more memory":   {"x: N 3 200 200\ny = Relu(x)", 1 << 21, false},
		"tied embedding":       {"x: int N 4\nh = Gather(w[500 256], x)\nt = Transpose(w) perm=1,0\ny = MatMul(h, t)", 1 << 20, false},
		"beside an embedding":  {"x: int N 4\nh = Gather(w[500 256], x)\ny = Expand(h, s{4 4 2000})", 1 << 20, false},
		"larger than one":      {"x: int N 4\nh = Gather(w[500 256], x)\nu = Unsqueeze(h, a{3})\ny = Expand(u, s{4 4 256 2000})", 1 << 20, true},
		"20,000×20,000 pixels": {"x: N 1 20000 20000\ny = Relu(x)", 0, true},
		"of which there are 8": {"x: N 1 20000 20000\ny = Relu(x)", 8 << 30, false},
	} {
		m, err := onnxtest.Parse(c.text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		in := map[string]*engine.Value{} // sizes are looked at, and nothing is run
		if err := admit.Model(t.Context(), m, admit.Options{Inputs: in, Trial: &engine.Trial{Memory: c.memory}}); errors.Is(err, engine.ErrMemory) != c.large {
			t.Errorf("%s: %v", name, err)
		}
	}
}
