package dataset

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitHoldsOutEveryNth(t *testing.T) {
	d := &Data{order: []int{3, 1, 4, 15, 9, 2, 6}}
	for _, c := range []struct {
		every     int
		fit, held []int
	}{
		{3, []int{3, 1, 15, 9, 6}, []int{4, 2}},
		{8, []int{3, 1, 4, 15, 9, 2, 6}, nil},
		{1, []int{3, 1, 4, 15, 9, 2, 6}, nil},
	} {
		fit, held := d.Split(c.every)
		if diff := cmp.Diff(c.fit, fit.order); diff != "" {
			t.Errorf("every %d, fit: %s", c.every, diff)
		}
		if diff := cmp.Diff(c.held, held.order); diff != "" {
			t.Errorf("every %d, held: %s", c.every, diff)
		}
	}
	if diff := cmp.Diff([]int{3, 1, 4, 15, 9, 2, 6}, d.order); diff != "" {
		t.Errorf("the data set itself changed: %s", diff)
	}
}
