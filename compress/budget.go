package compress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/internal/channels"
	"github.com/monge-ml/monge/internal/pipeline"
	"github.com/monge-ml/monge/internal/screen"
	"github.com/monge-ml/monge/onnxio"
)

// A budget is what may remain of a model.
type budget struct {
	unit  unit
	share float64 // of the model as it came; not used in bytes
	bytes int64
	ms    float64 // in place of the share
	// correction is how many times as long as predicted models take; 0: as long.
	correction float64
	// floor is the share of its channels that every space keeps.
	floor float64
}

// A unit is what a budget counts.
type unit string

const (
	inChannels unit = "channels" // of every space the same share
	inMACs     unit = "MACs"
	inParams   unit = "parameters"
	inBytes    unit = "bytes"
	inLatency  unit = "ms"
)

// defaultFloor is the share of its channels that every space keeps under a budget.
const defaultFloor = 1.0 / 8

// budget checks the options and says what they ask for. Under MaxDrop it is what the search begins
// with.
func (o *Options) budget() (budget, error) {
	b := budget{floor: cmp.Or(o.Floor, defaultFloor)}
	if err := o.storable(); err != nil {
		return b, err
	}
	set := 0
	for _, v := range []struct {
		name  string
		value float64
		unit  unit
		share float64
	}{{"keep", o.Keep, inChannels, o.Keep}, {"macs", o.MACs, inMACs, o.MACs}, {"params", o.Params, inParams, o.Params}, {"latency", o.Latency.Share, inLatency, o.Latency.Share}, {"max-drop", o.MaxDrop, inMACs, 1}} {
		if v.value == 0 {
			continue
		}
		set++
		if !(v.value > 0 && v.value <= 1) {
			return b, pipeline.Mistakef("%s is %g: want a share between 0 and 1", v.name, v.value)
		}
		b.unit, b.share = v.unit, v.share
	}
	if o.Size != 0 {
		set++
		b.unit, b.bytes = inBytes, o.Size
	}
	if o.Plan != nil {
		set++
		b.unit, b.share = inChannels, 1
	}
	if o.Latency.Time != 0 {
		set++
		b.unit, b.ms = inLatency, o.Latency.Time.Seconds()*1000
	}
	if err := o.Latency.check(); err != nil {
		return b, err
	}
	if set == 0 && o.DType != "" {
		b.unit, b.share, set = inChannels, 1, 1
	}
	switch {
	case set != 1:
		return b, fmt.Errorf("give one of keep, macs, params, size, latency, max-drop and plan")
	case o.Size < 0:
		return b, pipeline.Mistakef("size is %d: want a number of bytes", o.Size)
	case !(o.Floor >= 0 && o.Floor <= 1):
		return b, pipeline.Mistakef("floor is %g: want a share from 0 to 1", o.Floor)
	case b.unit != inLatency && o.LatencyTable != nil:
		return b, pipeline.Mistakef("a latency table has a meaning for latency alone")
	case o.Moves != nil && len(o.Moves) == 0:
		return b, pipeline.Mistakef("moves: there is none")
	case slices.ContainsFunc(o.Moves, func(m Move) bool { return m != Width && m != Depth && m != Rank }):
		return b, pipeline.Mistakef("moves are %v: want some of %s, %s and %s", o.Moves, Width, Depth, Rank)
	case o.Moves != nil && b.unit == inChannels:
		return b, pipeline.Mistakef("keep and plan give every space its width: moves have no place beside them")
	case o.Moves != nil && o.Uniform && !slices.Equal(o.Moves, []Move{Width}):
		return b, pipeline.Mistakef("uniform is about widths alone: other moves have no place beside it")
	case o.Multiple < 0:
		return b, pipeline.Mistakef("multiple is %d: want 1 or more, or 0 for what suits each space", o.Multiple)
	case o.MaxDrop > 0 && !o.Metric.Given() && o.EvalData == nil && (o.Data == nil || o.NoData):
		return b, pipeline.Mistakef("max-drop needs data to measure the drop on")
	case o.MaxDrop > 0 && o.DryRun:
		return b, pipeline.Mistakef("max-drop measures models: a dry run makes none")
	}
	return b, nil
}

// ErrUnmet says that a budget asks for less than there can be.
var ErrUnmet = errors.New("the budget cannot be met")

// widths gives every space that may change its share of channels, or what the plan says.
func (c *compression) widths(a *coupling.Analysis, b budget, ratio float64) map[*coupling.Space]int {
	if c.o.Plan != nil {
		given, _, _ := c.resolve(a) // what is wrong with it, narrowed says
		return given
	}
	out := map[*coupling.Space]int{}
	for _, s := range a.Spaces {
		if c.may(Width) && c.kept(s) == "" {
			out[s] = c.share(ratio, s, b)
		}
	}
	return out
}

// share is a share of the channels that a space had at first, not below its floor.
func (c *compression) share(ratio float64, s *coupling.Space, b budget) int {
	return min(max(c.rounded(s, ratio*float64(c.width(s))), c.least(s, b)), s.Width)
}

// rounded is the width of a space that is nearest to a number of channels: a multiple, or under a
// budget of latency one that is fast.
func (c *compression) rounded(s *coupling.Space, k float64) int {
	if c.clock != nil {
		return inGrid(c.grid(s), k)
	}
	m := c.grain(s, int(k))
	return int(math.Round(k/float64(m))) * m
}

// wider is the next larger width of a space; its own is the largest.
func (c *compression) wider(s *coupling.Space, k int) int {
	if c.clock != nil {
		return atLeast(c.grid(s), k+1)
	}
	return k + c.grain(s, k)
}

// least is the fewest channels that a space is left with: under a budget its floor, of the channels
// that it had at first, in multiples.
func (c *compression) least(s *coupling.Space, b budget) int {
	n := 1
	if s.Stream != nil {
		n = 2 // of one there is no variance
	}
	if b.unit != inChannels { // the share of every space is not given
		n = max(n, int(math.Ceil(b.floor*float64(c.width(s)))))
	}
	if c.clock != nil {
		return atLeast(c.grid(s), n)
	}
	m := c.grain(s, n)
	return min((n+m-1)/m*m, s.Width)
}

// grain is what widths of about k channels are multiples of. Small ones may be finer than
// [compression.multiple] says, unless that was asked for or is that of a depthwise convolution: they
// do not fill many blocks anyhow, and a small budget needs them.
func (c *compression) grain(s *coupling.Space, k int) int {
	m, least := c.multiple(s), channels.MultipleOfShare(s, c.o.Multiple)
	for k < 2*m && m > least {
		m /= 2
	}
	return max(m, least)
}

// multiple is what the widths of a space are multiples of.
func (c *compression) multiple(s *coupling.Space) int {
	if c.o.Keep > 0 || c.o.Plan != nil { // widths are given
		return channels.MultipleOfShare(s, c.o.Multiple)
	}
	return channels.Multiple(s, c.o.Multiple)
}

// ratio finds the share of channels to keep: given, or the largest whose cost is within the budget.
func (c *compression) ratio(a *coupling.Analysis, b budget) (float64, error) {
	if b.unit == inChannels {
		return b.share, nil
	}
	limit := c.limit(b)
	if c.leastCost(a, b) > limit {
		return 0, c.unmet(a, b, c.leastCost(a, b))
	}
	within := func(ratio float64) bool { return c.costAt(a, b, ratio) <= limit }
	if within(1) {
		return 1, nil
	}
	return largest(40, within), nil
}

// largest halves the range from 0 to 1 n times around the largest number that will do. 0 does.
func largest(n int, do func(float64) bool) float64 {
	lo, hi := 0.0, 1.0
	for range n {
		if mid := (lo + hi) / 2; do(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// costAt is the cost where every space keeps a share of its channels.
func (c *compression) costAt(a *coupling.Analysis, b budget, ratio float64) float64 {
	return c.cost(a, b, ofWidths(coupling.WidthsOf(c.widths(a, b, ratio))))
}

// leastCost is the cost where every space has as few channels as it may.
func (c *compression) leastCost(a *coupling.Analysis, b budget) float64 { return c.costAt(a, b, 0) }

// unmet says what remains, at least, of a model that cannot be made as small as its budget.
func (c *compression) unmet(a *coupling.Analysis, b budget, least float64) error {
	bare := b
	bare.floor = 0
	barest := c.leastCost(a, bare)
	told := func(x float64) string { return b.told(x * cmp.Or(b.correction, 1)) }
	could := func(least float64) string { return c.could(b, least*cmp.Or(b.correction, 1)) }
	if c.leastCost(a, b) == barest {
		return fmt.Errorf("%w: it is %s, and with as few channels as may be in every space that may change %s remain%s", ErrUnmet, told(c.limit(b)), told(least), could(least))
	}
	return fmt.Errorf("%w: it is %s, and where every space keeps %.3g of its channels, its floor, %s remain%s; without one (--floor 0) %s would%s",
		ErrUnmet, told(c.limit(b)), b.floor, told(least), could(least), told(barest), could(barest))
}

// told is a cost in words.
func (b budget) told(x float64) string {
	switch b.unit {
	case inLatency:
		return fmt.Sprintf("%.3g ms", x)
	case inBytes:
		return screen.Bytes(int64(math.Round(x)))
	}
	return screen.Count(int64(math.Round(x))) + " " + string(b.unit)
}

// could names the share of the model as it came that a cost is, rounded up to what can be asked
// for; nothing where no share was.
func (c *compression) could(b budget, cost float64) string {
	if b.share == 0 {
		return ""
	}
	b.correction = 0 // the cost is a corrected one
	share := b.share * cost / c.limit(b)
	step := math.Pow(10, math.Floor(math.Log10(share))-2)
	share = math.Ceil(share/step) * step
	if !(share < 1) {
		return ""
	}
	flag := map[unit]string{inMACs: "macs", inParams: "params", inLatency: "latency"}[b.unit]
	return fmt.Sprintf(", which is --%s %.3g", flag, share)
}

// limit is what the cost may be.
func (c *compression) limit(b budget) float64 {
	switch {
	case b.unit == inBytes:
		return float64(b.bytes)
	case b.unit == inLatency:
		return c.clock.limit(b)
	}
	return b.share * c.cost(c.analysis, b, shape{})
}

// cost is what the budget is about, for a model of a shape.
func (c *compression) cost(a *coupling.Analysis, b budget, s shape) float64 {
	switch b.unit {
	case inBytes:
		return float64(c.frame + c.weightBytes(a, s))
	case inLatency:
		return c.clock.predict(c, a, s)
	}
	size := sizeOf(a, s)
	if b.unit == inMACs {
		return float64(size.MACs)
	}
	return float64(size.Params)
}

// toSize compresses until the file is small enough. What the weights take is known beforehand;
// biases that a refit adds and stored shapes are not, so a result that is too large is made again
// with as much less.
func (c *compression) toSize(ctx context.Context, b budget) (*onnxio.Model, *Report, error) {
	limit := b.bytes
	s, folded, err := c.prepare(b, none)
	if err != nil {
		return nil, nil, err
	}
	floor := int64(c.leastCost(s.Analysis, b))
	const attempts = 8
	for i := range attempts {
		if i == attempts-1 {
			b.bytes = floor // what there is to be had
		}
		out, report, err := c.meet(ctx, s, folded, b)
		if err != nil || c.o.DryRun {
			return out, report, err
		}
		_, size := out.Size()
		switch {
		case size <= limit:
			return out, report, nil
		case b.bytes <= floor:
			b.bytes = limit
			return nil, nil, c.unmet(s.Analysis, b, float64(size))
		}
		b.bytes = max(floor, b.bytes-(size-limit)<<i) // widths come in steps
	}
	return nil, nil, nil // the last attempt has returned
}
