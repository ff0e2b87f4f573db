package compress

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestWithinByCounts: a drop by exactly the share that is allowed is allowed, and one sample more
// is not, whatever the division leaves.
func TestWithinByCounts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		rows := 1 + rng.IntN(5000)
		percent := 1 + rng.IntN(99)
		most := rows * percent / 100
		var limit float64
		if _, err := fmt.Sscan(fmt.Sprintf("0.%02d", percent), &limit); err != nil {
			t.Fatal(err)
		}
		if l := (loss{count: most, rows: rows}); !l.within(limit) {
			t.Errorf("%+v is more than %g", l, limit)
		}
		if l := (loss{count: most + 1, rows: rows}); l.within(limit) {
			t.Errorf("%+v is no more than %g", l, limit)
		}
	}
	if l := (loss{count: 148 - 140, rows: 160}); !l.within(0.05) {
		t.Error("148 of 160 to 140 of 160 is more than 5%")
	}
	if (loss{part: .06}).within(.05) || !(loss{part: .04}).within(.05) {
		t.Error("parts do not compare")
	}
}
