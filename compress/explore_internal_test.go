package compress

import "testing"

// The front holds what nothing else beats, and bends at the knee.
func TestFront(t *testing.T) {
	for name, c := range map[string]struct {
		macs  []int64 // of the points; the original has 100
		worth []float64
		front string // x for those that are on it
		knee  int
	}{
		"bends at the second":   {[]int64{90, 50, 25}, []float64{0.98, 0.97, 0.5}, "xxx", 2},
		"one is beaten":         {[]int64{90, 50, 25}, []float64{0.9, 0.97, 0.5}, ".xx", 2},
		"the original is worse": {[]int64{90, 50}, []float64{0.995, 0.99}, "xx", -1},
		"as good for less":      {[]int64{50, 50}, []float64{0.99, 0.98}, "x.", -1},
		"nothing is lost":       {[]int64{75, 50}, []float64{0.99, 0.99}, ".x", -1},
		"less is better":        {[]int64{75, 50, 25}, []float64{-9, 0.9, 0.5}, ".xx", 2},
		"the same twice":        {[]int64{50, 50}, []float64{0.98, 0.98}, "xx", -1},
	} {
		on, knee := Front(append([]int64{100}, c.macs...), append([]float64{0.99}, c.worth...))
		front := ""
		for _, is := range on[1:] {
			if is {
				front += "x"
			} else {
				front += "."
			}
		}
		if front != c.front || knee != c.knee {
			t.Errorf("%s: front %s, knee %d", name, front, knee)
		}
	}
}
