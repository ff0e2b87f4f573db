package compress_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A few samples, or one several times, make no model worse than none do.
func TestFewSamplesAreNoWorseThanNone(t *testing.T) {
	test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 300})
	for _, name := range []string{"mlp_a", "cnn_a"} {
		m := modeltest.Load(t, name)
		none, _, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.75, Options: job.Options{NoData: true}})
		if err != nil {
			t.Fatal(err)
		}
		want := modeltest.Correct(t, none, test)
		for _, n := range []int{1, 2, 9} {
			d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: n})
			out, r, err := compress.Model(context.Background(), m, compress.Options{Keep: 0.75, Options: job.Options{Data: d, Tune: job.Off, NoEval: true}})
			if err != nil {
				t.Fatal(err)
			}
			if got := modeltest.Correct(t, out, test); got < want-3 {
				t.Errorf("%s, %d samples: %d of %d right, without data %d; %+v", name, n, got, test.Len(), want, r.Candidates)
			}
			if n == 1 && !r.Blind {
				t.Errorf("%s: one sample was trusted", name)
			}
		}
	}
}

// heads are networks whose last layers see one row a sample, fewer than they have channels.
func heads(width int) (*onnxio.Model, error) {
	return onnxtest.Parse(fmt.Sprintf(`
		input: N 1 28 28
		a = Conv(input, w0[12 1 5 5]) strides=[2,2]
		b = Relu(a)
		c = Conv(b, w1[24 12 3 3]) strides=[2,2]
		d = Relu(c)
		e = Conv(d, w2[%[1]d 24 1 1])
		f = Relu(e)
		p = GlobalAveragePool(f)
		h = Conv(p, w3[%[2]d %[1]d 1 1])
		i = Relu(h)
		g = Flatten(i)
		y = Gemm(g, w4[%[2]d 10])`, width, width-width/6))
}

// Under a budget a model is no worse on inputs that it was not made with than with equal shares,
// also where layers see fewer rows than they have channels.
func TestNeverWorseThanEqualShares(t *testing.T) {
	test := modeltest.Data(t, "mnist_test", dataset.Options{Limit: 200})
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
	better := 0
	for _, width := range []int{96, 180} {
		m, err := heads(width)
		if err != nil {
			t.Fatal(err)
		}
		s, err := edit.NewSubject(m, coupling.Options{})
		if err != nil {
			t.Fatal(err)
		}
		judge, err := teach.NewJudge(context.Background(), []teach.Parent{{Subject: s, Share: 1}}, test, teach.Options{})
		if err != nil {
			t.Fatal(err)
		}
		far := func(uniform bool) float64 {
			out, r, err := compress.Model(context.Background(), m, compress.Options{Params: 0.6, Uniform: uniform, Options: job.Options{Data: d, Tune: job.Off, NoEval: true}})
			if err != nil {
				t.Fatal(err)
			}
			taken := 0
			for _, c := range r.Candidates {
				if c.Taken {
					taken++
				}
				if c.Taken && !c.Refitted && c.Name != compress.Blind {
					t.Errorf("width %d: %s is taken without a refit", width, c.Name)
				}
			}
			if len(r.Candidates) > 0 != !uniform || !uniform && taken != 1 {
				t.Errorf("width %d: candidates %+v", width, r.Candidates)
			}
			for _, s := range r.Spaces {
				if s.After*8 < s.Before {
					t.Errorf("width %d: %s: %d → %d", width, s.Name, s.Before, s.After)
				}
			}
			x, err := judge.Divergence(context.Background(), out)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		chosen, even := far(false), far(true)
		t.Logf("width %d: divergence %.4f, with equal shares %.4f", width, chosen, even)
		if chosen > 1.05*even {
			t.Errorf("width %d: divergence %g, with equal shares %g", width, chosen, even)
		}
		if chosen < even {
			better++
		}
	}
	if better == 0 {
		t.Error("allocation was never better than equal shares")
	}
}
