"""Write small networks in which activations are multiplied with activations, and weights
stand in several places, as ONNX models with random weights.

    python3 bench/families/contractions.py OUTDIR

Files are as those of products.py.
"""
import sys

import numpy as np

import products
from products import Net, head


def nonlocal_block(seed):
    """A non-local block: softmax(QᵀK) over all positions of an image."""
    n = Net(seed, (3, 6, 6))
    x = n("Relu", n("Conv", "x", n.weight(8, 3, 3, 3), n.weight(8), pads=[1] * 4))
    def project():
        return n("Reshape", n("Conv", x, n.weight(5, 8, 1, 1), n.weight(5)), n.const(np.array([0, 5, -1])))
    p = n("Softmax", n("MatMul", n("Transpose", project(), perm=[0, 2, 1]), project()), axis=-1)
    a = n("MatMul", project(), n("Transpose", p, perm=[0, 2, 1]))
    o = n("Conv", n("Reshape", a, n.const(np.array([0, 5, 6, 6]))), n.weight(8, 5, 1, 1), n.weight(8))
    return head(n, n("Add", x, o), 8)


def einsum_attention(seed):
    n = Net(seed, (5, 8))
    x = n("Relu", n("MatMul", "x", n.weight(8, 10)))
    q, k, v = (n("Einsum", x, n.weight(10, 4, 3), equation="btd,dhe->bthe") for _ in range(3))
    p = n("Softmax", n("Einsum", q, k, equation="bthe,bshe->bhts"), axis=-1)
    o = n("Einsum", n("Einsum", p, v, equation="bhts,bshe->bthe"), n.weight(4, 3, 10), equation="bthe,hed->btd")
    return n.model(n("MatMul", n("Relu", n("Add", x, o)), n.weight(10, 5)), 3)


def tied(seed):
    """One weight makes a stream and, transposed, reads it."""
    n = Net(seed, (5, 9))
    e = n.weight(9, 12)
    x = n("MatMul", "x", e)
    x = n("Add", x, n("MatMul", n("Relu", n("MatMul", x, n.weight(12, 16))), n.weight(16, 12)))
    return n.model(n("MatMul", x, n("Transpose", e, perm=[1, 0])), 3)


def siamese(seed):
    """Both halves of the input through the same weights."""
    n = Net(seed, (12,))
    w1, b1, w2 = n.weight(6, 10), n.weight(10), n.weight(10, 7)
    def branch(start):
        half = n("Slice", "x", n.const(np.array([start])), n.const(np.array([start + 6])), n.const(np.array([1])))
        return n("MatMul", n("Relu", n("Gemm", half, w1, b1)), w2)
    d = n("Abs", n("Sub", branch(0), branch(6)))
    return n.model(n("MatMul", n("Relu", n("MatMul", d, n.weight(7, 8))), n.weight(8, 4)), 2)


def gram(seed):
    """Products of all pairs of features, as factorisation machines make them."""
    n = Net(seed, (5, 9))
    x = n("MatMul", n("Relu", n("MatMul", "x", n.weight(9, 12))), n.weight(12, 6))
    g = n("Flatten", n("MatMul", x, n("Transpose", x, perm=[0, 2, 1])))
    return n.model(n("MatMul", n("Relu", n("MatMul", g, n.weight(25, 8))), n.weight(8, 4)), 2)


def squeezed(seed):
    """A Squeeze without axes, behind which no number of axes is known."""
    n = Net(seed, (3, 8, 8))
    x = n("Relu", n("Conv", "x", n.weight(8, 3, 3, 3), n.weight(8), pads=[1] * 4))
    x = n("Relu", n("Conv", x, n.weight(6, 8, 3, 3), n.weight(6), pads=[1] * 4))
    x = n("Relu", n("Gemm", n("Squeeze", n("GlobalAveragePool", x)), n.weight(6, 9), n.weight(9)))
    return n.model(n("Gemm", x, n.weight(9, 4), n.weight(4)), 2)


FAMILIES = {
    "nonlocal": nonlocal_block,
    "einsum": einsum_attention,
    "tied": tied,
    "siamese": siamese,
    "gram": gram,
    "squeezed": squeezed,
}

if __name__ == "__main__":
    products.main(sys.argv[1], FAMILIES)
