package tune

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/internal/teach"
	"github.com/monge-ml/monge/onnxio"
)

// placesRead is how many places are read of sequences that are cut to lengths.
func placesRead(ends, lengths []int) (total int) {
	for _, n := range ends {
		total += lengths[slices.IndexFunc(lengths, func(l int) bool { return l >= n })]
	}
	return total
}

// No other lengths, as many, read fewer places, and a further one would save less than it is worth.
func TestLengthsFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ends := rapid.SliceOfN(rapid.IntRange(1, 9), 1, 20).Draw(t, "ends")
		got := lengthsFor(ends)
		if !slices.IsSorted(got) || got[len(got)-1] != slices.Max(ends) || len(got) > mostLengths {
			t.Fatalf("%v of %v", got, ends)
		}
		least := make([]int, mostLengths+1) // by the number of lengths
		for k := range least {
			least[k] = math.MaxInt
		}
		for set := range 1 << 9 { // of lengths below the longest
			lengths := []int{}
			for n := 1; n < slices.Max(ends); n++ {
				if set>>n&1 > 0 {
					lengths = append(lengths, n)
				}
			}
			if lengths = append(lengths, slices.Max(ends)); len(lengths) <= mostLengths {
				least[len(lengths)] = min(least[len(lengths)], placesRead(ends, lengths))
			}
		}
		if n := placesRead(ends, got); n != least[len(got)] {
			t.Fatalf("%v of %v read %d places, others %d", got, ends, n, least[len(got)])
		}
	})
	if got := lengthsFor(nil); got != nil {
		t.Errorf("%v of nothing", got)
	}
	if got := lengthsFor([]int{7, 7, 7}); !slices.Equal(got, []int{7}) {
		t.Errorf("%v where all are alike", got)
	}
}

// Sequences are trained on in runs of like length, each by a trainer of its own, which computes what
// the one for the longest would.
func TestShortSequences(t *testing.T) {
	ctx := context.Background()
	m, child, d := modeltest.Words(t, 14)
	for _, m := range []*onnxio.Model{m, child} { // padding has outputs of its own in the other one
		p := m.Proto.GetGraph()
		p.Output = p.Output[1:]
	}
	d, err := d.Unpadded(ctx, []*onnxio.Model{m}, 1)
	if err != nil || d.Lengths() == nil {
		t.Fatal(d.Lengths(), err)
	}
	s, err := edit.NewSubject(m, coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	parents := teach.Parents{{Subject: s, Share: 1}}
	o := Options{Data: d}
	o.defaults()
	r := &run{o: o, parents: parents, child: child, rng: rand.New(rand.NewPCG(1, 7))}
	defer r.close()
	if err := r.open(ctx); err != nil {
		t.Fatal(err)
	}
	var lengths []int
	for _, t := range r.trainers {
		lengths = append(lengths, t.length)
	}
	if len(lengths) < 2 || lengths[len(lengths)-1] != 0 || lengths[0] >= 6 {
		t.Fatalf("trainers for lengths %v", lengths)
	}
	data := d.Varied(1, 3)
	feed, err := data.For(r.reader.inputs)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	of := map[*trainer]bool{}
	for _, st := range r.stages(data, r.reader.starts(0, data.Len()), 100) {
		of[st.trainer] = true
		for _, i := range st.runs[0] {
			if seen[i] || st.trainer.length > 0 && data.Lengths()[i] > st.trainer.length {
				t.Errorf("sample %d of length %d in a run of %d, seen before: %v", i, data.Lengths()[i], st.trainer.length, seen[i])
			}
			seen[i] = true
		}
		for _, tr := range r.trainers { // only what the output says, which padding does not change
			tr.closeness = 0
		}
		got, loss, err := r.gradients(ctx, feed, data.Len(), st)
		if err != nil {
			t.Fatal(err)
		}
		want, long, err := r.gradients(ctx, feed, data.Len(), stage{r.trainer, st.runs})
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(loss-long) > 1e-4*long || long == 0 {
			t.Errorf("loss %v, of the longest %v", loss, long)
		}
		for name, x := range want {
			if len(x) != len(got[name]) || distance(got[name], x, 1) > 1e-3 {
				t.Errorf("length %d: gradient of %q is off by %v", st.trainer.length, name, distance(got[name], x, 1))
			}
		}
	}
	if len(seen) < data.Len()-15 || len(of) < 2 {
		t.Errorf("%d of %d samples seen, by %d trainers", len(seen), data.Len(), len(of))
	}
	_, report, err := Distill(ctx, child, parents, Options{Data: d, Epochs: 20})
	if err != nil {
		t.Fatal(err)
	}
	if report.Kept || !(report.After < report.Before/2) {
		t.Errorf("%+v", *report)
	}
}
