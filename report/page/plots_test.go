package page

import (
	"math"
	"strings"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
)

// Marks of an axis are as far apart as their labels say: in digits that tell them apart, in one
// unit.
func TestTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		share  bool
		want   string
	}{
		{288.9e6, 289.3e6, false, "288.9M 289.0M 289.1M 289.2M 289.3M"},
		{1.07e6, 1.29e6, false, "1.10M 1.15M 1.20M 1.25M"},
		{0, 2000, false, "0 0.5k 1.0k 1.5k 2.0k"},
		{-0.05, 0.4, false, "0 0.1 0.2 0.3 0.4"},
		{0.93, 1.02, true, "94% 96% 98% 100%"},
	} {
		tick := ticks{low: 0, high: math.Inf(1), share: c.share}
		if c.share {
			tick.high = 1
		}
		var got []string
		for _, k := range tick.Ticks(c.lo, c.hi) {
			got = append(got, k.Label)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("from %g to %g: %s, want %s", c.lo, c.hi, text, c.want)
		}
	}
}

// What differs little is drawn as differing little.
func TestLeastSpan(t *testing.T) {
	a := plot.Axis{Min: 0.991, Max: 0.992}
	room(&a, 1.5, true)
	if a.Max-a.Min < 0.09 || a.Min > 0.991 || a.Max < 0.992 {
		t.Errorf("%g to %g", a.Min, a.Max)
	}
}

// A name stands at its own spot, or a line leads from it: it covers nothing, and is not what stands
// nearest to another spot.
func TestPlaces(t *testing.T) {
	for name, spots := range map[string][]vg.Point{
		"alone":    {{X: 50, Y: 50}, {X: 200, Y: 50}},
		"in a row": {{X: 220, Y: 150}, {X: 240, Y: 150}, {X: 262, Y: 150}},
		"touching": {{X: 200, Y: 30}, {X: 204, Y: 29}, {X: 170, Y: 25}},
		"one spot": {{X: 150, Y: 90}, {X: 150, Y: 90}, {X: 150, Y: 90}},
	} {
		c := crowd{area: vg.Rectangle{Max: vg.Point{X: 290, Y: 180}}, spots: spots}
		sizes := make([]vg.Point, len(spots))
		for i := range sizes {
			sizes[i] = vg.Point{X: 45, Y: letters}
		}
		c.place(sizes)
		for i, box := range c.names {
			if nearest(c.area, box.Min) != box.Min || nearest(c.area, box.Max) != box.Max {
				t.Errorf("%s: name %d is outside: %v", name, i, box)
			}
			own := distance(spots[i], nearest(box, spots[i]))
			for j, o := range spots {
				d := distance(o, nearest(box, o))
				if d < mark || own <= 2*beside && d < own {
					t.Errorf("%s: name %d is %.0f from spot %d, %.0f from its own", name, i, d, j, own)
				}
			}
			for j, o := range c.names[:i] {
				if o.Min.X < box.Max.X && box.Min.X < o.Max.X && o.Min.Y < box.Max.Y && box.Min.Y < o.Max.Y {
					t.Errorf("%s: names %d and %d cover each other", name, i, j)
				}
			}
		}
	}
}
