package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

// ChannelStats are the mean and the variance of each channel of a tensor over samples and positions.
type ChannelStats struct {
	Rows int64     // samples times positions
	Mean []float64 // one per channel
	Var  []float64 // divided by Rows, as a batch normalization does
}

// Add takes in the statistics of other rows (Chan, Golub and LeVeque 1979).
func (s *ChannelStats) Add(other *ChannelStats) {
	if other.Rows == 0 {
		return
	}
	total := float64(s.Rows + other.Rows)
	share := float64(other.Rows) / total
	for c := range s.Mean {
		d := other.Mean[c] - s.Mean[c]
		s.Mean[c] += d * share
		s.Var[c] += (other.Var[c]-s.Var[c])*share + d*d*share*(1-share)
	}
	s.Rows += other.Rows
}

// ChannelMoments lets onnxruntime compute the statistics of the channels of a kept tensor, along an axis (counted from the
// end if negative). Of the options Threads, Batches and Progress are used. Each batch is centred by its own mean, so that
// large means cost no precision.
func ChannelMoments(ctx context.Context, f *Flow, tensor string, axis int, o MomentOptions) (*ChannelStats, error) {
	s, err := channelMoments(ctx, f, tensor, axis, o)
	if err != nil {
		return nil, fmt.Errorf("statistics of tensor %q: %w", tensor, err)
	}
	return s, nil
}

func channelMoments(ctx context.Context, f *Flow, tensor string, axis int, o MomentOptions) (*ChannelStats, error) {
	var batches []int
	for i := range f.Batches() {
		if o.Batches == nil || o.Batches(i) {
			batches = append(batches, i)
		}
	}
	var session *Session
	var total *ChannelStats
	for done, i := range batches {
		in, err := f.Batch(i, tensor)
		if err != nil {
			return nil, err
		}
		v := in[tensor]
		axis, err := axisOf(axis, len(v.Dims))
		if err != nil {
			return nil, err
		}
		if !isFloat(v.Type) || v.Len() == 0 {
			return nil, fmt.Errorf("elements are %v, shape %s", v.Type, dimString(v.Dims))
		}
		if session == nil {
			if session, err = Open(buildChannels(len(v.Dims), axis), Options{Threads: o.Threads}); err != nil {
				return nil, err
			}
			defer session.Close()
		}
		out, err := session.Run(ctx, map[string]*Value{momentX: v})
		if err != nil {
			return nil, err
		}
		s := &ChannelStats{
			Rows: int64(v.Len() / v.Dims[axis]),
			Mean: out[channelMean].Float64(),
			Var:  out[channelVar].Float64(),
		}
		switch {
		case total == nil:
			total = s
		case len(total.Mean) != len(s.Mean):
			return nil, fmt.Errorf("%d channels in one batch, %d in another", len(total.Mean), len(s.Mean))
		default:
			total.Add(s)
		}
		if o.Progress != nil {
			o.Progress(done+1, len(batches))
		}
	}
	if total == nil {
		return nil, errors.New("no batches")
	}
	return total, nil
}

const (
	channelMean = "mean"
	channelVar  = "var"
)

// buildChannels returns the graph for a tensor of some rank.
func buildChannels(rank, axis int) *onnxio.Model {
	b := &momentGraph{graph: &onnxpb.GraphProto{Name: ptr("channels")}}
	free := slices.Repeat([]int{-1}, rank)
	b.input(momentX, free)
	var others []int64
	for i := range rank {
		if i != axis {
			others = append(others, int64(i))
		}
	}
	// The axes would be all of them if the list were empty: a tensor of one axis gets a second one.
	x := momentX
	if rank == 1 {
		x = b.node("Unsqueeze", []string{x, b.ints("new_axis", 1)}, "rows")
		others = []int64{1}
	}
	flat := b.ints("flat", -1)
	mean := b.node("ReduceMean", []string{x}, "mean_kept", attrInts("axes", others...))
	b.node("Reshape", []string{mean, flat}, channelMean)
	d := b.node("Sub", []string{x, mean}, "centred")
	v := b.node("ReduceMean", []string{b.node("Mul", []string{d, d}, "squares")}, "var_kept", attrInts("axes", others...))
	b.node("Reshape", []string{v, flat}, channelVar)
	b.output(channelMean)
	b.output(channelVar)
	return b.model()
}

// GramChannels returns the sums and the Gram matrix of the channels of a kept tensor, along an axis, over samples and
// positions. For products with the channels of another tensor use [CollectMoments] with that as target.
func GramChannels(ctx context.Context, f *Flow, tensor string, axis int, o MomentOptions) (*Moments, error) {
	m, err := CollectMoments(ctx, f, Reading{Tensor: tensor, Axis: axis}, nil, o)
	if err != nil {
		return nil, err
	}
	return m[0], nil
}
