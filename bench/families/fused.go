//go:build cgo

package main

import (
	"context"
	"fmt"

	"github.com/monge-ml/monge/compress"
	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/fuse"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/qdq"
	"github.com/monge-ml/monge/job"
	"github.com/monge-ml/monge/onnxio"
)

// fusions fuses a model, by weights, with what it is equal to, and with its half.
func (t *trial) fusions() {
	t.step("fused with itself", func() error { return t.equal(t.model) })
	t.step("fused with a permuted copy", func() error {
		m, form, err := qdq.Expand(t.model)
		if err != nil {
			return err
		}
		t.form = form
		s, err := edit.NewSubject(m, coupling.Options{})
		if err != nil {
			return err
		}
		moved := edit.Maps{}
		for _, sp := range s.Analysis.Spaces {
			if !sp.Frozen {
				moved[sp] = permutation(sp)
			}
		}
		copied, err := t.edit(s, moved)
		if err != nil {
			return err
		}
		return t.equal(copied)
	})
	t.step("fused with its half", func() error {
		half, _, err := compress.Model(context.Background(), t.model, compress.Options{Keep: 0.5, Options: job.Options{NoData: true}})
		if err != nil {
			return err
		}
		for _, order := range [][]*onnxio.Model{{t.model, half}, {half, t.model}} {
			m, _, err := fuse.Models(context.Background(), order, fuse.Options{Options: job.Options{NoData: true}})
			if err != nil {
				return err
			}
			if err := t.loads("fuse", m); err != nil {
				return err
			}
		}
		return nil
	})
}

// equal fails where the model, fused with one that computes the same, is not what it was.
func (t *trial) equal(other *onnxio.Model) error {
	m, r, err := fuse.Models(context.Background(), []*onnxio.Model{other, t.model}, fuse.Options{Options: job.Options{NoData: true}})
	if err != nil {
		return err
	}
	if len(r.Kept) > 0 {
		t.cells["fuse"] += fmt.Sprintf("(%d kept) ", len(r.Kept))
	}
	return t.same(m)
}
