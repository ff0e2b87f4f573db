package teach

import (
	"context"
	"testing"

	"github.com/monge-ml/monge/coupling"
	"github.com/monge-ml/monge/dataset"
	"github.com/monge-ml/monge/internal/edit"
	"github.com/monge-ml/monge/internal/modeltest"
)

// parent is a model as one of two.
func parent(t *testing.T, name string) Parent {
	t.Helper()
	s, err := edit.NewSubject(modeltest.Load(t, name), coupling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Parent{Subject: s, Share: 0.5}
}

func TestJudge(t *testing.T) {
	d := modeltest.Data(t, "mnist_calib", dataset.Options{Limit: 100})
	a, b := parent(t, "mlp_a"), parent(t, "mlp_b")
	ctx := context.Background()
	alone, err := NewJudge(ctx, []Parent{{Subject: a.Subject, Share: 1}}, d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if x, err := alone.Divergence(ctx, a.Subject.Model); err != nil || x > 1e-9 || x < -1e-9 {
		t.Errorf("a model diverges from itself by %g (%v)", x, err)
	}
	both, err := NewJudge(ctx, []Parent{a, b}, d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	da, err := both.Divergence(ctx, a.Subject.Model)
	if err != nil {
		t.Fatal(err)
	}
	db, err := both.Divergence(ctx, b.Subject.Model)
	if err != nil {
		t.Fatal(err)
	}
	if da <= 0 || db <= 0 {
		t.Errorf("the parents diverge from their mean by %g and %g", da, db)
	}
}
