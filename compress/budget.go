package compress

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/onnxio"
)

func (o Options) check() error {
	set := 0
	for _, v := range []struct {
		name  string
		value float64
	}{{"keep", o.Keep}, {"macs", o.MACs}, {"params", o.Params}, {"max-drop", o.MaxDrop}} {
		if v.value == 0 {
			continue
		}
		set++
		if !(v.value > 0 && v.value <= 1) {
			return fmt.Errorf("%s is %g: want a share between 0 and 1", v.name, v.value)
		}
	}
	if o.Size != 0 {
		set++
	}
	switch {
	case set != 1:
		return fmt.Errorf("give one of keep, macs, params, size and max-drop")
	case o.Size < 0:
		return fmt.Errorf("size is %d: want a number of bytes", o.Size)
	case o.Floor > 1:
		return fmt.Errorf("floor is %g: want a share between 0 and 1", o.Floor)
	case o.Multiple < 0:
		return fmt.Errorf("multiple is %d: want a positive number", o.Multiple)
	case o.MaxDrop > 0 && o.EvalData == nil && o.data() == nil:
		return fmt.Errorf("max-drop needs data to measure the drop on")
	case o.MaxDrop > 0 && o.DryRun:
		return fmt.Errorf("max-drop needs models to measure: a dry run makes none")
	}
	for _, p := range o.Exclude {
		if _, err := compileGlob(p); err != nil {
			return err
		}
	}
	return nil
}

// ErrUnmet says that a budget asks for less than there can be.
var ErrUnmet = errors.New("the budget cannot be met")

// widths gives every space that may change its share of channels.
func (o Options) widths(a *coupling.Analysis, ratio float64) map[*coupling.Space]int {
	out := map[*coupling.Space]int{}
	for _, s := range a.Spaces {
		if o.kept(s) == "" {
			out[s] = o.share(ratio, s)
		}
	}
	return out
}

// share is a share of the channels that a space had at first, not below its
// floor.
func (o Options) share(ratio float64, s *coupling.Space) int {
	m := o.multiple(s)
	k := int(math.Round(ratio*float64(o.base.width(s))/float64(m))) * m
	return min(max(k, o.least(s)), s.Width)
}

// defaultFloor is the share of its channels that every space keeps under a
// budget.
const defaultFloor = 1.0 / 8

// least is the fewest channels that a space is left with: under a budget its
// floor, of the channels that it had at first, in multiples.
func (o Options) least(s *coupling.Space) int {
	n := 1
	if o.Keep == 0 { // the share of every space is not given
		n = max(n, int(math.Ceil(o.floor()*float64(o.base.width(s)))))
	}
	m := o.multiple(s)
	return min((n+m-1)/m*m, s.Width)
}

func (o Options) floor() float64 {
	if o.Floor == 0 {
		return defaultFloor
	}
	return max(o.Floor, 0)
}

// multiple is what the widths of a space are multiples of.
func (o Options) multiple(s *coupling.Space) int { return s.Step(max(o.Multiple, 1)) }

// ratio finds the share of channels to keep: given, or the largest whose cost
// is within the budget.
func (o Options) ratio(a *coupling.Analysis) (float64, error) {
	if o.Keep != 0 {
		return o.Keep, nil
	}
	cost := func(r float64) float64 {
		w := coupling.Widths{}
		for s, k := range o.widths(a, r) {
			w.Set(s, k)
		}
		return o.cost(a, w)
	}
	budget := o.budget()
	if cost(0) > budget {
		return 0, o.unmet(a, budget)
	}
	lo, hi := 0.0, 1.0
	if cost(hi) <= budget {
		return 1, nil
	}
	for range 40 {
		mid := (lo + hi) / 2
		if cost(mid) <= budget {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo, nil
}

// unmet says what remains of a model that cannot be made as small as its budget.
func (o Options) unmet(a *coupling.Analysis, budget float64) error {
	remain := func(o Options) float64 {
		w := coupling.Widths{}
		for s, k := range o.widths(a, 0) {
			w.Set(s, k)
		}
		return o.cost(a, w)
	}
	bare := o
	bare.Floor = -1
	least, barest := remain(o), remain(bare)
	if least == barest {
		return fmt.Errorf("%w: it is %.4g %s, and with one channel in every space that may change %.4g remain", ErrUnmet, budget, o.unit(), barest)
	}
	return fmt.Errorf("%w: it is %.4g %s, and where every space keeps %.3g of its channels, its floor, %.4g remain; without one (--floor 0) %.4g would", ErrUnmet, budget, o.unit(), o.floor(), least, barest)
}

// budget is what cost may be.
func (o Options) budget() float64 {
	if o.Size > 0 {
		return float64(o.Size)
	}
	return max(o.MACs, o.Params) * o.cost(o.base.analysis, nil)
}

// cost is what the budget is about, for a model and widths.
func (o Options) cost(a *coupling.Analysis, w coupling.Widths) float64 {
	if o.Size > 0 {
		return float64(o.base.frame + o.base.weightBytes(a, w))
	}
	size := sizeOf(a, w)
	if o.MACs != 0 {
		return float64(size.MACs)
	}
	return float64(size.Params)
}

func (o Options) unit() string {
	switch {
	case o.Size > 0:
		return "bytes"
	case o.MACs != 0:
		return "MACs"
	}
	return "parameters"
}

// toSize compresses until the file is small enough. What the weights take is
// known beforehand; biases that a refit adds and stored shapes are not, so a
// result that is too large is made again with as much less.
func (o Options) toSize(ctx context.Context, m *onnxio.Model) (*onnxio.Model, *Report, error) {
	limit := o.Size
	s, folded, err := o.prepare(m, none)
	if err != nil {
		return nil, nil, err
	}
	least := coupling.Widths{}
	for sp, k := range o.widths(s.Analysis, 0) {
		least.Set(sp, k)
	}
	floor := int64(o.cost(s.Analysis, least))
	unmet := func(least int64) error {
		return fmt.Errorf("%w: it is %d bytes, and with one channel in every space that may change %d remain", ErrUnmet, limit, least)
	}
	if limit < floor {
		return nil, nil, unmet(floor)
	}
	const attempts = 8
	for i := range attempts {
		if i == attempts-1 {
			o.Size = floor // what there is to be had
		}
		out, report, err := o.model(ctx, s, folded)
		if err != nil || o.DryRun {
			return out, report, err
		}
		_, bytes := out.Size()
		switch {
		case bytes <= limit:
			return out, report, nil
		case o.Size <= floor:
			return nil, nil, unmet(bytes)
		}
		o.Size = max(floor, o.Size-(bytes-limit)<<i) // widths come in steps
	}
	return nil, nil, nil // the last attempt has returned
}

// whole is the result where nothing has to change.
func (o Options) whole(m *onnxio.Model) (*onnxio.Model, *Report, error) {
	s, err := edit.NewSubject(m, o.coupling())
	if err != nil {
		return nil, nil, err
	}
	o.base.see(s.Analysis)
	report := o.base.report()
	report.describe(s.Analysis, o, nil, nil)
	if o.DryRun {
		return nil, report, nil
	}
	return o.base.written(m, report)
}

func sizeOf(a *coupling.Analysis, w coupling.Widths) Size {
	macs, open := a.MACs(w)
	return Size{Params: a.Params(w), MACs: macs, Open: open}
}
