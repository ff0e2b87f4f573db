package compress

import (
	"testing"

	"github.com/monge-ml/monge/eval"
)

// The front holds what nothing else beats, and bends at the knee.
func TestFront(t *testing.T) {
	top := func(x float64) eval.Result { return eval.Result{Top1: &x} }
	for name, c := range map[string]struct {
		macs         []int64 // of the points; the original has 100
		quality      []float64
		front, knees string // x for those that are
	}{
		"bends at the second":   {[]int64{90, 50, 25}, []float64{0.98, 0.97, 0.5}, "xxx", ".x."},
		"one is beaten":         {[]int64{90, 50, 25}, []float64{0.9, 0.97, 0.5}, ".xx", ".x."},
		"the original is worse": {[]int64{90, 50}, []float64{0.995, 0.99}, "xx", ".."},
		"as good for less":      {[]int64{50, 50}, []float64{0.99, 0.98}, "x.", ".."},
		"nothing is lost":       {[]int64{75, 50}, []float64{0.99, 0.99}, ".x", ".."},
	} {
		e := &Exploration{Before: Size{MACs: 100}, Original: top(0.99)}
		for i, m := range c.macs {
			e.Points = append(e.Points, Point{Report: &Report{After: Size{MACs: m}}, Result: top(c.quality[i])})
		}
		e.mark()
		sign := func(is bool) string {
			if is {
				return "x"
			}
			return "."
		}
		front, knees := "", ""
		for _, p := range e.Points {
			front, knees = front+sign(p.Front), knees+sign(p.Knee)
		}
		if front != c.front || knees != c.knees {
			t.Errorf("%s: front %s, knee %s", name, front, knees)
		}
	}
}
