"""Write two small networks as quantised models in every way in which that is done, with random weights.

    python3 bench/families/quantised.py OUTDIR

Needs onnx and onnxruntime, whose tools quantise. Each file is NAME_FORM.onnx: dynamic (MatMulInteger, ConvInteger), static
between QuantizeLinear and DequantizeLinear (qdq) or with operators on integers (qop), one scale for a weight or one for
each channel (pc), and weights scaled after a Cast. NAME.npz holds inputs. Weights have seven bits: products of eight
overflow on processors without VNNI, so that the order of channels matters to them.
"""
import os
import sys

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static


def normal(rng, *shape):
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 2 else shape[0])).astype(np.float32)


class Net:
    """A graph that is put together node by node."""

    def __init__(self, shape):
        self.rng, self.nodes, self.weights, self.shape = np.random.default_rng(1), [], [], shape

    def weight(self, value):
        self.weights.append(numpy_helper.from_array(value.astype(np.float32), "w%d" % len(self.weights)))
        return self.weights[-1].name

    def node(self, op, *inputs, **attributes):
        out = "t%d" % len(self.nodes)
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=op + out, **attributes))
        return out

    def save(self, path, y, size):
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(self.nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *self.shape])],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", size])], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        checker.check_model(model)
        save(model, path)


def mlp(path):
    n = Net((20,))
    x, sizes = "x", (20, 48, 40, 6)
    for i in range(3):
        x = n.node("Gemm", x, n.weight(normal(n.rng, sizes[i], sizes[i + 1])), n.weight(0.1 * n.rng.standard_normal(sizes[i + 1])))
        if i < 2:
            x = n.node("Relu", x)
    n.save(path, x, 6)
    return n


def residual(path):
    n = Net((3, 12, 12))
    conv = lambda x, i, o, k, **a: n.node("Conv", x, n.weight(normal(n.rng, o, i, k, k)), n.weight(0.1 * n.rng.standard_normal(o)), pads=[k // 2] * 4, **a)
    x = n.node("Relu", conv("x", 3, 16, 3))
    y = conv(n.node("Relu", conv(x, 16, 24, 3)), 24, 16, 3)
    x = n.node("Relu", n.node("Add", x, y))
    x = n.node("Relu", conv(x, 16, 20, 3, strides=[2, 2]))
    x = n.node("Flatten", n.node("GlobalAveragePool", x))
    x = n.node("MatMul", x, n.weight(normal(n.rng, 20, 7)))
    n.save(path, x, 7)
    return n


class Reader(CalibrationDataReader):
    def __init__(self, x):
        self.rows = iter([{"x": x[i:i + 1]} for i in range(32)])

    def get_next(self):
        return next(self.rows, None)


def scaled(net, path, y):
    """The weights in eight bits, scaled after a Cast."""
    nodes, stored = [], []
    for t in net.weights:
        w = numpy_helper.to_array(t)
        if w.ndim < 2:
            stored.append(t)
            continue
        axis = 0 if w.ndim == 4 else 1
        scale = np.abs(w).max(tuple(k for k in range(w.ndim) if k != axis), keepdims=True) / 127
        stored += [numpy_helper.from_array(np.round(w / scale).astype(np.int8), t.name + "/q"), numpy_helper.from_array(scale.astype(np.float32), t.name + "/s")]
        nodes += [helper.make_node("Cast", [t.name + "/q"], [t.name + "/f"], name="Cast" + t.name, to=TensorProto.FLOAT),
                  helper.make_node("Mul", [t.name + "/f", t.name + "/s"], [t.name], name="Mul" + t.name)]
    net.nodes, net.weights = nodes + net.nodes, stored
    net.save(path, "y", y)


def main(out):
    os.makedirs(out, exist_ok=True)
    for name, make, size in (("quantmlp", mlp, 6), ("quantresidual", residual, 7)):
        path = lambda form: os.path.join(out, "%s_%s.onnx" % (name, form))
        net = make(path("float"))
        x = np.random.default_rng(7).standard_normal((160, *net.shape)).astype(np.float32)
        np.savez(os.path.join(out, name + ".npz"), x=x)
        for form, typ, each in (("dynamic", QuantType.QInt8, False), ("dynamicu", QuantType.QUInt8, False), ("dynamicpc", QuantType.QInt8, True)):
            quantize_dynamic(path("float"), path(form), weight_type=typ, per_channel=each, reduce_range=True)
        for form, fmt, each in (("qdq", QuantFormat.QDQ, False), ("qdqpc", QuantFormat.QDQ, True), ("qop", QuantFormat.QOperator, False), ("qoppc", QuantFormat.QOperator, True)):
            quantize_static(path("float"), path(form), Reader(x), quant_format=fmt, per_channel=each, weight_type=QuantType.QInt8, reduce_range=True)
        scaled(net, path("scaled"), size)


if __name__ == "__main__":
    main(*sys.argv[1:])
