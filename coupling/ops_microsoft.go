package coupling

import (
	"strings"

	"github.com/monge-ml/monge/onnxio"
)

// Operators that onnxruntime's optimiser writes, domain com.microsoft.

// fusedConvAxes: a Conv, then perhaps the sum with a fourth input, then an activation.
func fusedConvAxes(c *call) (string, error) {
	expr, err := convAxes(c)
	if err != nil || c.input(3) == nil {
		return expr, err
	}
	in, out, _ := strings.Cut(expr, " -> ")
	return in + ", " + out + " -> " + out, nil
}

// fusedMatMulAxes: a MatMul whose operands may be transposed.
func fusedMatMulAxes(c *call) (string, error) {
	if c.attrInt("transBatchA", 0) != 0 || c.attrInt("transBatchB", 0) != 0 {
		return "", errUnranked
	}
	expr, err := matMulAxes(c)
	if err != nil {
		return "", err
	}
	in, out, _ := strings.Cut(expr, " -> ")
	operands := strings.Split(in, ", ")
	for i, attr := range []string{"transA", "transB"} {
		if letters := strings.Fields(operands[i]); c.attrInt(attr, 0) != 0 && len(letters) > 1 {
			n := len(letters)
			letters[n-1], letters[n-2] = letters[n-2], letters[n-1]
			operands[i] = strings.Join(letters, " ")
		}
	}
	return strings.Join(operands, ", ") + " -> " + out, nil
}

// biased: activations that first add a bias along the last axis, if they are given one.
func biased(c *call) ([]*value, error) {
	if c.input(1) == nil {
		return unary(c)
	}
	return elementwise(c)
}

// skipNormAxes: the sum of two tensors and perhaps a bias, normalised over the last axis; the sum
// itself is the fourth output.
func skipNormAxes(c *call) (string, error) {
	if c.in[0].rank() != 3 || c.in[1].rank() != 3 {
		return "", errUnranked
	}
	params := strings.Repeat(", c", max(len(c.in)-2, 0))
	return "n s {c}, n s {c}" + params + " -> n s {c}, n s u, n s u, n s {c}", nil
}

// fusedGemmAxes: a Gemm, then an activation that sees one element at a time.
func fusedGemmAxes(c *call) (string, error) {
	switch onnxio.AttrString(c.node, "activation", "") {
	case "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Softplus", "HardSigmoid", "Selu", "Celu":
		return gemmAxes(c)
	}
	return "", errUnranked
}
