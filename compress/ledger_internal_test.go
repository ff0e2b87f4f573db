package compress

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/job"
)

// TestLedger: what a step changes of a cost, and where that is known from before, is what the cost
// of the whole model changes by.
func TestLedger(t *testing.T) {
	for _, name := range []string{"cnn_a", "resnet_a", "vit_a"} {
		c, err := start(t.Context(), modeltest.Load(t, name), Options{Keep: 0.5, Options: job.Options{NoData: true}}, false)
		if err != nil {
			t.Fatal(err)
		}
		s, _, err := c.prepare(budget{unit: inChannels, share: 0.5}, none)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range []budget{{unit: inMACs, share: 0.5}, {unit: inParams, share: 0.5}, {unit: inBytes, bytes: c.bytes / 2}} {
			seen := &observed{subject: s, curves: map[*coupling.Space][]float64{}}
			var free []*coupling.Space
			rng := rand.New(rand.NewPCG(1, 1))
			for _, sp := range s.Analysis.Spaces {
				if c.kept(sp) != "" {
					continue
				}
				free = append(free, sp)
				curve := make([]float64, sp.Width+1)
				for k := range curve {
					curve[k] = float64(sp.Width-k) * rng.Float64()
				}
				seen.curves[sp] = curve
			}
			g := c.greedy(s.Analysis, b, seen, map[*coupling.Space]int{})
			for _, wider := range []bool{false, true} {
				moves := 0
				for ; (wider || g.cost > g.limit) && g.move(free, wider); moves++ {
					if want := c.cost(s.Analysis, b, *g.now); g.cost != want {
						t.Fatalf("%s, %s, move %d: the cost is taken for %g, is %g", name, b.unit, moves, g.cost, want)
					}
					for st, change := range g.known {
						w := coupling.WidthsOf(g.widths)
						w.Set(st.space, st.to)
						if want := c.cost(s.Analysis, b, ofWidths(w)) - g.cost; math.Abs(change-want) > 0 {
							t.Fatalf("%s, %s: %s at %d channels changes the cost by %g, not %g", name, b.unit, st.space.Name, st.to, want, change)
						}
					}
				}
				if !wider && moves == 0 {
					t.Errorf("%s, %s: nothing was tried", name, b.unit)
				}
			}
		}
	}
}

// TestSampled: where there are more spaces than can be tried, some of every kind are, and the others
// answer like those around them.
func TestSampled(t *testing.T) {
	var spaces []*coupling.Space
	for i := range 100 {
		spaces = append(spaces, &coupling.Space{Residual: i%50 == 7, Groups: 1})
	}
	tried := func(list []*sample) (n int) {
		for _, s := range list {
			n += len(s.tried)
		}
		return n
	}
	if list := sampled(spaces, 100); len(list) != 2 || tried(list) != 100 {
		t.Errorf("%d of %d kinds are tried, of 100 spaces", tried(list), len(list))
	}
	list := sampled(spaces, 10)
	if n := tried(list); len(list) != 2 || len(list[1].tried) == 0 || n < 10 || n > 12 {
		t.Errorf("%d are tried, want 10", n)
	}
	s := list[0]
	var known []response
	for i := range s.tried {
		known = append(known, response{{0, 0}, {1, float64(s.places[i])}})
	}
	for i, want := range map[int]float64{0: float64(s.places[0]), s.places[1]: float64(s.places[1]), s.places[1] + 3: float64(s.places[1] + 3), len(s.all) - 1: float64(s.places[len(s.places)-1])} {
		if got := s.at(known, i, 1); math.Abs(got-want) > 1e-12 {
			t.Errorf("space %d answers %g, want %g", i, got, want)
		}
	}
}
