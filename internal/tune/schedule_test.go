package tune

import (
	"math"
	"testing"
	"time"
)

// A pace runs a schedule on a clock of its own: took says what each step takes. It returns the
// schedule as it is at the end, the progress at which every step was taken and when all was over.
func pace(most int, limit time.Duration, took func(step int) time.Duration) (s *schedule, at []float64, all time.Duration) {
	start := time.Unix(0, 0)
	now := start
	end := start.Add(limit)
	if limit == 0 {
		end = time.Time{}
	}
	s = newSchedule(most, end, func() time.Time { return now })
	for !s.over() && !s.hopeless() {
		at = append(at, s.progress())
		now = now.Add(took(s.done))
		s.step()
	}
	return s, at, now.Sub(start)
}

func always(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

// Where the time does not shorten a run, its schedule is that of the steps, to the last bit, however
// long the first or some other step takes.
func TestTheClockChangesNothingWhereThereIsTime(t *testing.T) {
	bumpy := func(k int) time.Duration {
		switch {
		case k == 0:
			return 2 * time.Second
		case k%50 == 7:
			return 100 * time.Millisecond
		}
		return 10 * time.Millisecond
	}
	_, want, _ := pace(500, 0, bumpy)
	s, got, _ := pace(500, 30*time.Second, bumpy)
	if done, total := s.told(); done != 500 || total != 500 {
		t.Errorf("told %d of %d steps", done, total)
	}
	if s.ending() != Complete || len(got) != 500 {
		t.Fatalf("%d steps, %s", len(got), s.ending())
	}
	for k := range got {
		if got[k] != want[k] || want[k] != float64(k)/500 {
			t.Fatalf("step %d at %g, want %g", k, got[k], want[k])
		}
	}
}

// Where it does, the run ends in time with its schedule complete, also if the machine changes its
// pace on the way.
func TestTheScheduleCompletesInTime(t *testing.T) {
	const limit = 10 * time.Second
	for name, took := range map[string]func(int) time.Duration{
		"even":       always(20 * time.Millisecond),
		"slow start": func(k int) time.Duration { return 20*time.Millisecond + time.Second>>(4*min(k, 9)) },
		"slower": func(k int) time.Duration {
			return 20 * time.Millisecond << min(k/150, 1)
		},
		"faster": func(k int) time.Duration {
			return 40 * time.Millisecond >> min(k/100, 1)
		},
	} {
		s, at, all := pace(2000, limit, took)
		if all > limit+40*time.Millisecond || all < limit*95/100 || s.ending() != Clock || s.done < 200 {
			t.Errorf("%s: %d steps in %s, %s", name, s.done, all, s.ending())
		}
		for k := 1; k < len(at); k++ {
			if !(at[k] > at[k-1]) || at[k] > 1 {
				t.Fatalf("%s: step %d at %g, the one before at %g", name, k, at[k], at[k-1])
			}
		}
		if done, total := s.told(); total != int(limit.Milliseconds()) || done != int(all.Milliseconds()) {
			t.Errorf("%s: %d of %d ms", name, done, total)
		}
		if last := at[len(at)-1]; last < 0.96 {
			t.Errorf("%s: the last step at %g", name, last)
		}
	}
}

func TestTooLittleTime(t *testing.T) {
	for _, c := range []struct {
		most     int
		limit    time.Duration
		step     time.Duration
		hopeless bool
		steps    int // at most, before that is known
	}{
		{2000, time.Minute, 3 * time.Second, true, 3},
		{2000, time.Minute, 40 * time.Second, true, 1},
		{2000, time.Minute, time.Second, false, 60},
		{10, time.Minute, time.Second, false, 10}, // asked for
		{10, 5 * time.Second, time.Second, true, 1},
		{2000, time.Millisecond, time.Second, true, 1},
	} {
		s, at, _ := pace(c.most, c.limit, always(c.step))
		if s.hopeless() != c.hopeless || len(at) > c.steps {
			t.Errorf("%+v: %d steps, hopeless: %t", c, len(at), s.hopeless())
		}
	}
}

// The rate rises, then falls to next to nothing, and is smaller where there are few steps.
func TestRate(t *testing.T) {
	rates := func(most int) (out []float64) {
		s := newSchedule(most, time.Time{}, time.Now)
		for ; !s.over(); s.step() {
			out = append(out, s.rate(2, math.Inf(1)))
		}
		return out
	}
	long := rates(1000)
	if long[0] > 0.11 || long[999] > 1e-4 || math.Abs(long[500]-1) > 0.01 {
		t.Errorf("%g at first, %g in the middle, %g in the end", long[0], long[500], long[999])
	}
	if short := rates(100); math.Abs(short[50]-0.5) > 0.01 {
		t.Errorf("%g in the middle of a short run", short[50])
	}
}
