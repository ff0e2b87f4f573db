package onnxio_test

import (
	"slices"
	"testing"

	"github.com/monge-ml/monge/onnxio"
	"github.com/monge-ml/monge/onnxio/onnxpb"
)

func TestFacts(t *testing.T) {
	node := func(domain, op string) *onnxpb.NodeProto { return &onnxpb.NodeProto{Domain: &domain, OpType: &op} }
	for _, c := range []struct {
		domain, op string
		want       onnxio.Facts
	}{
		{"", "Flatten", onnxio.Rearranges},
		{"ai.onnx", "Floor", onnxio.Pointwise | onnxio.Steps},
		{"", "Add", onnxio.Broadcasts | onnxio.Adds | onnxio.Commutes},
		{"", "Div", onnxio.Broadcasts},
		{"", "Conv", 0},
		{"com.microsoft", "Gelu", 0}, // another operator of the same name
	} {
		if got := onnxio.FactsOf(node(c.domain, c.op)); got != c.want {
			t.Errorf("%s of %q: facts %b, want %b", c.op, c.domain, got, c.want)
		}
	}
	if got := onnxio.Operators(onnxio.Adds | onnxio.Commutes); !slices.Equal(got, []string{"Add", "Mean", "Sum"}) {
		t.Errorf("sums that commute: %v", got)
	}
	// What adds or commutes has several inputs; what is pointwise has one.
	for _, op := range append(onnxio.Operators(onnxio.Adds), onnxio.Operators(onnxio.Commutes)...) {
		if f := onnxio.FactsOf(node("", op)); !f.Has(onnxio.Broadcasts) || f.Has(onnxio.Pointwise) || f.Has(onnxio.Rearranges) {
			t.Errorf("%s: facts %b", op, f)
		}
	}
}
