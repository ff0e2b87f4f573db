package coupling

import (
	"strings"
	"testing"

	"github.com/monge-ml/monge/onnxio/onnxtest"
)

// A rule that panics is an error that names the node.
func TestPanicNamesTheNode(t *testing.T) {
	m, err := onnxtest.Parse("x: N 4\na = Gemm(x, w[4 6])\nb = Relu(a)\ny = Gemm(b, v[6 3])")
	if err != nil {
		t.Fatal(err)
	}
	an, err := newAnalyzer(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	an.ops["Relu"] = op{apply: func(c *call) ([]*value, error) { return []*value{c.in[3]}, nil }}
	err = an.run()
	if err == nil || !strings.Contains(err.Error(), `Relu "Relu_b": internal error`) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
}
