package tune

import (
	"math"
	"time"
)

// An Ending says why a distillation ended.
type Ending string

const (
	// Complete: all steps were taken that there were to be.
	Complete Ending = "complete"
	// Clock: the time was over. The schedule was complete all the same, with fewer steps.
	Clock Ending = "clock"
	// Interrupted: it was told to stop, with the schedule as far as it was.
	Interrupted Ending = "interrupted"
)

const (
	// probes is the number of steps, the first left out, from which on it is believed how long one
	// takes. Slow ones are believed sooner: once a part of the time of one in hasty is over.
	probes, hasty = 4, 8
	// recent is the number of steps over which the time of one is averaged.
	recent = 32
)

// A schedule tells how far a run is, from 0 to 1, by its steps and by the clock. What follows it has
// come to its end when the run does, whatever the machine does in a second. Where the clock does not
// shorten the run, the schedule depends on the number of steps alone.
type schedule struct {
	most       int       // steps
	start, end time.Time // end is zero where only steps count
	now        func() time.Time

	done  int
	total int // steps that there will be, as far as is known
	// from is how far the run was after since steps, when total became known.
	from  float64
	since int
	last  time.Time
	each  time.Duration // what a step takes; zero: not known
}

func newSchedule(most int, end time.Time, now func() time.Time) *schedule {
	start := now()
	return &schedule{most: most, total: most, start: start, end: end, now: now, last: start}
}

// progress is how far the run is.
func (s *schedule) progress() float64 {
	if s.over() {
		return 1
	}
	return s.from + (1-s.from)*float64(s.done-s.since)/float64(s.total-s.since)
}

func (s *schedule) over() bool { return s.done >= s.total }

// step counts a step that has been taken.
func (s *schedule) step() {
	s.done++
	if s.end.IsZero() {
		return
	}
	now := s.now()
	took := now.Sub(s.last)
	s.last = now
	if s.done <= 2 { // the first one takes longer
		s.each = took
	} else {
		s.each += (took - s.each) / time.Duration(min(s.done-1, recent))
	}
	left := s.end.Sub(now)
	if s.done <= probes && left > 0 && now.Sub(s.start) < s.end.Sub(s.start)/hasty {
		return
	}
	total := s.most
	if fit := max(left, 0) / max(s.each, 1); fit < time.Duration(s.most-s.done) {
		total = s.done + int(fit)
	}
	if total != s.total {
		s.from, s.since = s.progress(), s.done
		s.total = total
	}
}

// hopeless reports whether too few steps fit into the time.
func (s *schedule) hopeless() bool {
	return s.done <= probes && s.total < min(leastSteps, s.most)
}

// ending says why a schedule is over that nothing interrupted.
func (s *schedule) ending() Ending {
	if s.total < s.most {
		return Clock
	}
	return Complete
}

// told is how far the run is, in numbers for a person: of milliseconds where the clock decides, else
// of steps.
func (s *schedule) told() (done, total int) {
	if s.total == s.most {
		return s.done, s.most
	}
	return int(s.last.Sub(s.start).Milliseconds()), int(s.end.Sub(s.start).Milliseconds())
}

// rate is the size of the next step. It rises over the first steps and falls as a cosine. Where
// there are few steps it stays below the largest: large ones upset a model at first, and a short run
// does not make up for that. It stays below a limit in any case.
func (s *schedule) rate(largest, limit float64) float64 {
	rate := min(limit, largest*min(1, math.Sqrt(float64(s.total)/fullRate)))
	rate *= 0.5 * (1 + math.Cos(math.Pi*s.progress()))
	return rate * min(1, float64(s.done+1)/float64(min(warmUp, 1+s.total/4)))
}
