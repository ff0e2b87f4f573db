"""Write small networks whose axes are products, and networks with something in the
middle that cannot be followed, as ONNX models with random weights.

    python3 bench/families/products.py OUTDIR

Every family is written with two sets of weights (NAME_a.onnx, NAME_b.onnx); NAME.npz
holds inputs. Needs python3-onnx only.
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A graph that grows node by node."""

    def __init__(self, seed, shape):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights = [], []
        self.shape = shape

    def weight(self, *dims):
        name = f"w{len(self.weights)}"
        fan = max(1, int(np.prod(dims[1:])) if len(dims) != 2 else dims[0])
        self.weights.append(numpy_helper.from_array((self.rng.normal(size=dims) * (2 / fan) ** 0.5).astype("f"), name))
        return name

    def const(self, value):
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def __call__(self, op, *ins, **attrs):
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(ins), [out], name=f"{op}_{len(self.nodes)}", **attrs))
        return out

    def model(self, y, rank):
        self.nodes[-1].output[0] = "y"
        value = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        g = helper.make_graph(self.nodes, "g", [value("x", ["N", *self.shape])], [value("y", ["N"] + [f"d{i}" for i in range(rank - 1)])], self.weights)
        return helper.make_model(g, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8)


def head(n, x, width):
    return n.model(n("MatMul", n("Flatten", n("GlobalAveragePool", x)), n.weight(width, 5)), 2)


def multipliers(seed):
    """Depthwise convolutions that multiply channels, one behind the other."""
    n = Net(seed, (3, 8, 8))
    x, width = n("Relu", n("Conv", "x", n.weight(8, 3, 3, 3), n.weight(8), pads=[1] * 4)), 8
    for m in (2, 3):
        x = n("Relu", n("Conv", x, n.weight(width * m, 1, 3, 3), n.weight(width * m), group=width, pads=[1] * 4))
        width *= m
    return head(n, x, width)


def expanded(seed):
    """A block in the manner of MobileNet whose depthwise convolution doubles channels."""
    n = Net(seed, (3, 8, 8))
    x = n("Relu", n("Conv", "x", n.weight(12, 3, 3, 3), n.weight(12), pads=[1] * 4))
    e = n("Relu", n("Conv", x, n.weight(24, 12, 1, 1), n.weight(24)))
    d = n("Relu", n("Conv", e, n.weight(48, 1, 3, 3), n.weight(48), group=24, pads=[1] * 4))
    x = n("Add", x, n("Conv", d, n.weight(12, 48, 1, 1), n.weight(12)))
    return head(n, x, 12)


def queries(seed):
    """Attention in which three heads of queries share one of keys and values."""
    h, r, d, width = 4, 3, 8, 20
    n = Net(seed, (6, 10))
    x = n("Relu", n("MatMul", "x", n.weight(10, width)))
    def split(x, *sizes):
        return n("Reshape", x, n.const(np.array([0, 0, *sizes])))
    q = n("Transpose", split(n("MatMul", x, n.weight(width, h * r * d)), h, r, d), perm=[0, 2, 3, 1, 4])
    k = n("Transpose", split(n("MatMul", x, n.weight(width, h * d)), h, 1, d), perm=[0, 2, 3, 4, 1])
    v = n("Transpose", split(n("MatMul", x, n.weight(width, h * d)), h, 1, d), perm=[0, 2, 3, 1, 4])
    p = n("Softmax", n("Mul", n("MatMul", q, k), n.const(np.float32(d**-0.5))), axis=-1)
    o = n("Transpose", n("MatMul", p, v), perm=[0, 3, 1, 2, 4])
    return n.model(n("MatMul", split(o, h * r * d), n.weight(h * r * d, 7)), 3)


def middle(make):
    """A network with something in the middle that cannot be followed."""
    def build(seed):
        n = Net(seed, (3, 8, 8))
        c = n("Relu", n("Conv", "x", n.weight(16, 3, 3, 3), n.weight(16), pads=[1] * 4))
        q = make(n, n("Conv", c, n.weight(12, 16, 3, 3), n.weight(12), pads=[1] * 4))
        return head(n, n("Relu", n("Conv", q, n.weight(16, 12, 1, 1), n.weight(16))), 16)
    return build


def loop(n, x):
    value = lambda name, t=TensorProto.FLOAT, dims=None: helper.make_tensor_value_info(name, t, dims)
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Tanh", ["s"], ["t"])], "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("s")],
        [value("on", TensorProto.BOOL, []), value("t")])
    return n("Loop", n.const(np.int64(2)), "", x, body=body)


FAMILIES = {
    "multipliers": multipliers,
    "expanded": expanded,
    "queries": queries,
    "loop": middle(loop),
    "sequence": middle(lambda n, x: n("Tanh", n("SequenceAt", n("SequenceConstruct", x, x), n.const(np.int64(1))))),
    "unknown": middle(lambda n, x: n("BiasGelu", n("Transpose", x, perm=[0, 2, 3, 1]), n.weight(12), domain="com.microsoft")
                      and n("Transpose", n.nodes[-1].output[0], perm=[0, 3, 1, 2])),
}


def main(out, families):
    os.makedirs(out, exist_ok=True)
    for name, build in families.items():
        for suffix, seed in (("a", 1), ("b", 2)):
            model = build(seed)
            onnx.checker.check_model(model)
            onnx.save(model, os.path.join(out, f"{name}_{suffix}.onnx"))
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
        x = np.random.default_rng(3).normal(size=(160, *shape)).astype("f")
        np.savez(os.path.join(out, f"{name}.npz"), x=x)


if __name__ == "__main__":
    main(sys.argv[1], FAMILIES)
