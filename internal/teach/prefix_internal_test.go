package teach

import (
	"context"
	"math"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/engine/enginetest"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
	"github.com/monge-ml/monge/onnxio"
)

// Models that are a known one at first are judged from where they differ, in whatever order, and as if
// nothing were known of them.
func TestReuse(t *testing.T) {
	enginetest.Require(t)
	ctx := context.Background()
	s, err := edit.NewSubject(modeltest.Load(t, "resnet_a"), coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var children []*onnxio.Model
	for _, sp := range s.Analysis.Spaces {
		if !sp.Narrowable() {
			continue
		}
		w := coupling.WidthsOf(map[*coupling.Space]int{sp: (sp.Width + 1) / 2})
		child, err := edit.Edit(s, edit.Maps{sp: edit.First(sp, w)})
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, child)
	}
	for _, b := range s.Analysis.Blocks() {
		child := s.Model.Clone()
		if _, err := edit.Drop(child, []*coupling.Block{b}); err != nil {
			t.Fatal(err)
		}
		children = append(children, child)
	}
	n := len(children)
	if n < 4 {
		t.Fatalf("%d models", n)
	}
	children = append(children, s.Model, children[n/2], children[0])
	parents := Parents{{Subject: s, Share: 1}}
	data := Judged(modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 25}))
	plain, err := NewJudge(ctx, parents, data, Options{Batch: 16})
	if err != nil {
		t.Fatal(err)
	}
	judge, err := NewJudge(ctx, parents, data, Options{Batch: 16})
	if err == nil {
		err = judge.Reuse(s)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer judge.Close()
	reused := 0
	for i, child := range children {
		want, err := plain.Divergence(ctx, child)
		if err != nil {
			t.Fatal(err)
		}
		have, err := judge.Divergence(ctx, child)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(have-want) > 1e-5*(math.Abs(want)+0.01) {
			t.Errorf("model %d: %g, want %g", i, have, want)
		}
		if len(judge.prefix.flow.Keep()) > 0 {
			reused++
		}
	}
	if reused < n/2 {
		t.Errorf("of %d models something was kept for %d", len(children), reused)
	}
	if err := judge.Close(); err != nil || judge.prefix != nil {
		t.Errorf("closed: %v", err)
	}
}
