"""Write small networks of many families as ONNX models, with random weights.

    /usr/bin/python3 bench/families/make.py OUTDIR [NAME ...]

Every family is exported from two seeds (NAME_a.onnx, NAME_b.onnx), and the first once more in other ways:
other opsets, constants not folded, BatchNormalization kept, free axes besides the batch, sixteen bits; and weights
stored as other programs do: in Constant nodes, listed as inputs, behind Cast and Transpose, quantised.
NAME.npz holds inputs. Needs Debian's python3-torch and python3-onnx.
"""
import argparse
import os
import warnings

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import torch
import torch.nn as nn

import sequence
import vision

FAMILIES = {**vision.FAMILIES, **sequence.FAMILIES}
SAMPLES = 160
# suffix: (seed, opset, settings)
EXPORTS = {
    "a": (1, 17, {}),
    "b": (2, 17, {}),
    "old": (1, 11, {}),
    "plain": (1, 13, dict(do_constant_folding=False)),
    "train": (1, 15, dict(training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)),
    "fixed": (1, 16, dict(dynamic=False, batch=1)),
    "free": (1, 14, dict(free=True)),
    "batch2": (1, 12, dict(dynamic=False)),
}


def build(make, seed):
    """A network with weights and statistics that make every layer count."""
    torch.manual_seed(seed)
    net = make()
    for m in net.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            m.running_mean.normal_(0, 0.2)
            m.running_var.uniform_(0.5, 1.5)
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d)) and m.weight is not None:
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.2)
        if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)) and m.weight.grad_fn is None:
            m.weight.data.mul_(1.5)
    return net.eval()


def arrays(spec, n, seed):
    """Inputs by name: (shape) for floats, ((shape), k) for integers below k, ((shape), -2) for masks of integers."""
    rng = np.random.RandomState(seed)
    out = {}
    for name, s in spec.items():
        if isinstance(s[0], tuple):
            shape, k = s
            out[name] = rng.randint(0, k, (n, *shape)) if k > 0 else (np.arange(shape[-1]) < rng.randint(2, shape[-1] + 1, (n, 1))).astype(np.int64)
        else:
            out[name] = rng.randn(n, *s).astype(np.float32)
    return out


def free_axes(name, spec):
    """Axes besides the batch that such models leave open: the sides of images, time."""
    s = spec[name][0] if isinstance(spec[name][0], tuple) else spec[name]
    if name in ("image", "left", "right"):
        return {2: "height", 3: "width"}
    if name in ("wave", "ids", "input_ids", "token_type_ids", "attention_mask", "src"):
        return {1: "time" if name != "src" else "from"}
    if len(s) == 2 and name in ("mel", "points"):
        return {2: "time"}
    if name in ("dst", "features"):
        return {1: "to"}
    return {}


def export(net, spec, path, opset, do_constant_folding=True, training=torch.onnx.TrainingMode.EVAL, dynamic=True, free=False, batch=2):
    args = tuple(torch.from_numpy(a) for a in arrays(spec, batch, 0).values())
    with torch.no_grad():
        y = net(*args)
    y = y if isinstance(y, tuple) else (y,)
    names = ["y%d" % i for i in range(len(y))]
    axes = None
    if dynamic:
        axes = {k: {0: "N"} for k in spec}
        if free:
            for k in spec:
                axes[k].update(free_axes(k, spec))
        axes.update({k: {0: "N"} for k in names})
    torch.onnx.export(net, args, path, opset_version=opset, input_names=list(spec), output_names=names, dynamic_axes=axes, do_constant_folding=do_constant_folding, training=training)


def half(path, out):
    """A copy whose weights, inputs and arithmetic have sixteen bits, as converters make it."""
    m = onnx.load(path)
    f32, f16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    scales = {i for n in m.graph.node if n.op_type == "Resize" for i in n.input[1:]}  # float32 in any case
    tensors = [t for t in m.graph.initializer if t.name not in scales]
    for n in m.graph.node:
        if n.op_type in ("GRU", "LSTM"):  # onnxruntime has none of sixteen bits, and may crash
            return
        for a in n.attribute:
            if n.output[0] in scales:
                continue
            if a.type == onnx.AttributeProto.TENSOR:
                tensors.append(a.t)
            if n.op_type == "Cast" and a.name == "to" and a.i == f32:
                a.i = f16
    for t in tensors:
        if t.data_type == f32:
            t.CopyFrom(onnx.numpy_helper.from_array(np.clip(onnx.numpy_helper.to_array(t), -6e4, 6e4).astype(np.float16), t.name))
    for v in [*m.graph.input, *m.graph.output, *m.graph.value_info]:
        if v.type.tensor_type.elem_type == f32:
            v.type.tensor_type.elem_type = f16
    onnx.save(m, out)


def take(m):
    """Remove float weights of two axes or more, but no masks, from the initializers."""
    out = [t for t in m.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) > 1 and np.isfinite(onnx.numpy_helper.to_array(t)).all()]
    for t in out:
        m.graph.initializer.remove(t)
    return out


def constants(m):
    """All weights in Constant nodes, nodes without names (as Paddle2ONNX)."""
    nodes = [onnx.helper.make_node("Constant", [], [t.name], value=t) for t in m.graph.initializer]
    del m.graph.initializer[:]
    for n in m.graph.node:
        n.name = ""
        nodes.append(n)
    del m.graph.node[:]
    m.graph.node.extend(nodes)


def inputs(m):
    """Every initializer is listed as a graph input too (IR version 3), numbers in typed fields."""
    for t in m.graph.initializer:
        m.graph.input.append(onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)))
        if t.data_type == onnx.TensorProto.FLOAT:
            t.CopyFrom(onnx.helper.make_tensor(t.name, t.data_type, list(t.dims), onnx.numpy_helper.to_array(t).flatten()))
    m.ir_version = 3


def behind(m, make):
    """Weights read through other nodes."""
    nodes = []
    for t in take(m):
        stored, extra = make(t)
        m.graph.initializer.extend(stored)
        nodes += extra
    nodes += m.graph.node
    del m.graph.node[:]
    m.graph.node.extend(nodes)


def cast(t):
    """Stored in sixteen bits, and transposed."""
    w = onnx.numpy_helper.to_array(t)
    stored = onnx.numpy_helper.from_array(np.ascontiguousarray(w.T).astype(np.float16), t.name + "/stored")
    return [stored], [onnx.helper.make_node("Cast", [stored.name], [t.name + "/cast"], to=onnx.TensorProto.FLOAT),
                      onnx.helper.make_node("Transpose", [t.name + "/cast"], [t.name])]


def quantised(t):
    """Stored in eight bits, a scale for each output of a Conv or row of a matrix."""
    w = onnx.numpy_helper.to_array(t)
    scale = np.abs(w).reshape(w.shape[0], -1).max(1).astype(np.float32) / 127 + 1e-9
    q = np.round(w / scale.reshape(-1, *[1] * (w.ndim - 1))).astype(np.int8)
    stored = [onnx.numpy_helper.from_array(v, t.name + s) for v, s in ((q, "/q"), (scale, "/scale"), (np.zeros(len(scale), np.int8), "/zero"))]
    return stored, [onnx.helper.make_node("DequantizeLinear", [s.name for s in stored], [t.name], axis=0)]


DRESSES = {"constants": constants, "inputs": inputs, "cast": lambda m: behind(m, cast), "int8": lambda m: behind(m, quantised)}


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("out", metavar="OUTDIR")
    args.add_argument("names", nargs="*", metavar="NAME")
    args = args.parse_args()
    warnings.simplefilter("ignore")
    os.makedirs(args.out, exist_ok=True)
    torch.set_num_threads(1)
    for name in args.names or FAMILIES:
        make, spec = FAMILIES[name]
        np.savez(os.path.join(args.out, name + ".npz"), **arrays(spec, SAMPLES, 7))
        for suffix, (seed, opset, settings) in EXPORTS.items():
            path = os.path.join(args.out, "%s_%s.onnx" % (name, suffix))
            try:
                export(build(make, seed), spec, path, opset, **settings)
            except Exception as e:
                print("%s_%s: %s: %s" % (name, suffix, type(e).__name__, str(e).splitlines()[0][:150]), flush=True)
        path = os.path.join(args.out, name + "_a.onnx")
        half(path, os.path.join(args.out, name + "_half.onnx"))
        for suffix, dress in DRESSES.items():
            m = onnx.load(path)
            dress(m)
            onnx.save(m, os.path.join(args.out, "%s_%s.onnx" % (name, suffix)))


if __name__ == "__main__":
    main()
