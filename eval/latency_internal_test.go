package eval

import (
	"testing"
	"time"
)

// fakeClock is a machine on which run i takes cost[i] times what the machine's speed is at the
// moment.
type fakeClock struct {
	at    time.Time
	cost  []time.Duration
	slow  func(since time.Duration) float64
	began time.Time
}

func (c *fakeClock) now() time.Time { return c.at }

func (c *fakeClock) run(i int) error {
	c.at = c.at.Add(time.Duration(float64(c.cost[i]) * c.slow(c.at.Sub(c.began))))
	return nil
}

// Two models are told apart rightly on a machine that becomes three times slower while they are
// timed: what is measured one after the other is not.
func TestTurns(t *testing.T) {
	c := &fakeClock{cost: []time.Duration{2 * time.Millisecond, time.Millisecond}, slow: func(d time.Duration) float64 { return 1 + 4*d.Seconds() }}
	w := &watch{run: c.run, now: c.now, least: MinRuns}
	times, err := w.time(2)
	if err != nil {
		t.Fatal(err)
	}
	if share := ms(median(times[1])) / ms(median(times[0])); share < 0.47 || share > 0.53 {
		t.Errorf("the second model takes %.3f of the time of the first, not a half", share)
	}
	if c.at.Sub(c.began) < 2*enough {
		t.Errorf("timed for %s only", c.at.Sub(c.began))
	}
}

// A number of runs and a time limit are kept to.
func TestDone(t *testing.T) {
	for _, x := range []struct {
		cost         time.Duration
		least        int
		within       time.Duration
		fewest, most int
	}{
		{time.Second, MinRuns, 0, 30, 30},
		{time.Second, MinRuns, 2 * time.Second, fewestRuns, fewestRuns},
		{100 * time.Millisecond, MinRuns, 2 * time.Second, 20, 21},
		{10 * time.Microsecond, 5000, 0, 5000, 6000},
		{10 * time.Microsecond, MinRuns, 0, mostRuns, 2 * mostRuns},
	} {
		c := &fakeClock{cost: []time.Duration{x.cost, x.cost}, slow: func(time.Duration) float64 { return 1 }}
		times, err := (&watch{run: c.run, now: c.now, least: x.least, within: x.within}).time(2)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range times {
			if len(l) < x.fewest || len(l) > x.most {
				t.Errorf("%d runs of %s, not %d to %d", len(l), x.cost, x.fewest, x.most)
			}
		}
	}
}

// Sittings share what is asked for: five of them take as long, and have as many runs, as one.
func TestSittings(t *testing.T) {
	for _, x := range []struct {
		cost, within time.Duration
		fewest, most int
	}{
		{time.Second, 0, MinRuns, MinRuns},
		{time.Second, 2 * time.Second, fewestRuns, fewestRuns},
		{10 * time.Millisecond, 200 * time.Millisecond, 20, 25},
		{10 * time.Microsecond, 0, mostRuns, 10 * mostRuns},
	} {
		runs := 0
		for range sittings {
			c := &fakeClock{cost: []time.Duration{x.cost}, slow: func(time.Duration) float64 { return 1 }}
			times, err := (&watch{run: c.run, now: c.now, least: MinRuns, within: x.within, sittings: sittings}).time(1)
			if err != nil {
				t.Fatal(err)
			}
			runs += len(times[0])
		}
		if runs < x.fewest || runs > x.most {
			t.Errorf("%d runs of %s within %s count, want %d to %d", runs, x.cost, x.within, x.fewest, x.most)
		}
	}
}
