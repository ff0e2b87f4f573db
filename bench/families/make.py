"""Write small networks of many families as ONNX models, with random weights.

    /usr/bin/python3 bench/families/make.py OUTDIR [NAME ...]

Every family is exported from two seeds (NAME_a.onnx, NAME_b.onnx), and the first once more in other ways:
other opsets, constants not folded, BatchNormalization kept, free axes besides the batch, sixteen bits.
NAME.npz holds inputs. Needs Debian's python3-torch and python3-onnx.
"""
import argparse
import os
import warnings

import numpy as np
import onnx
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
        if os.path.exists(os.path.join(args.out, name + "_a.onnx")):
            half(os.path.join(args.out, name + "_a.onnx"), os.path.join(args.out, name + "_half.onnx"))


if __name__ == "__main__":
    main()
