#!/usr/bin/env python3
"""Compares monge's int8 and fp16 with onnxruntime's own quantize_static and float16 on one model.

    bench/precision/compare.py MODEL CALIB TEST [--scale S --mean M --std S] [--monge bin/monge]
        [--narrow "--macs 0.5 --tune 0"]

narrows the model first if that is wanted, rounds the result with `monge compress --int8`, with
`--dtype fp16` (numbers stored, and with `--arithmetic` computed with), with onnxruntime's converter to
float16, and with quantize_static (QDQ, per channel where it can, scales by MinMax, Entropy and Percentile, after its
quant_pre_process), all on the same 200 samples of CALIB, and lets `monge eval` compare them with the
model that was given, on TEST. It takes onnxruntime, onnx and numpy from PyPI.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

SAMPLES = 200


class Reader(CalibrationDataReader):
    def __init__(self, arrays):
        n = len(next(iter(arrays.values())))
        self.batches = iter({name: x[i:i + 1] for name, x in arrays.items()} for i in range(n))

    def get_next(self):
        return next(self.batches, None)


def numbers(text):
    return np.array([float(x) for x in text.split(",")], np.float32)


def pixels(path):
    """The arrays of a file, or the pictures of a folder, whose sizes have to be those of the input."""
    if not os.path.isdir(path):
        data = np.load(path)
        return next(data[k] for k in data.files if data[k].ndim > 1)
    from PIL import Image
    files = sorted(os.path.join(d, f) for d, _, names in os.walk(path) for f in names)
    return np.stack([np.asarray(Image.open(f).convert("RGB")).transpose(2, 0, 1) for f in files])


def samples(path, args, rng, inputs):
    """What some of the inputs are fed: arrays of a file by their names, or the only one."""
    given = dict(np.load(path)) if not os.path.isdir(path) else {}
    arrays = {k: given[k] for k in inputs if k in given} or {inputs[0]: pixels(path)}
    n = len(next(iter(arrays.values())))
    some = np.sort(rng.permutation(n)[:args.samples])
    out = {}
    for k, x in arrays.items():
        x = x[some]
        if len(arrays) == 1 or x.dtype.kind == "f":  # whole numbers of several inputs are words and masks
            x = x.astype(np.float32) * args.scale
            shape = [1, -1] + [1] * (x.ndim - 2)
            x = (x - numbers(args.mean).reshape(shape)) / numbers(args.std).reshape(shape)
        out[k] = x
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("calib")
    p.add_argument("test")
    p.add_argument("--scale", type=float, default=1)
    p.add_argument("--mean", default="0")
    p.add_argument("--std", default="1")
    p.add_argument("--monge", default="bin/monge")
    p.add_argument("--classes", default="")
    p.add_argument("--narrow", default="")
    p.add_argument("--samples", type=int, default=SAMPLES, help="that quantize_static chooses its scales on")
    args = p.parse_args()
    classes = ["--classes", args.classes] if args.classes else []
    flags = ["--scale", str(args.scale), "--mean", args.mean, "--std", args.std, *classes]
    out = tempfile.mkdtemp()
    float_model = args.model
    if args.narrow:
        float_model = os.path.join(out, "narrow.onnx")
        subprocess.run([args.monge, "compress", args.model, "-o", float_model, "-q", "--data", args.calib, *flags, *args.narrow.split()], check=True)
    models = {"original": args.model, "given to both": float_model}
    ours = os.path.join(out, "monge.onnx")
    subprocess.run([args.monge, "compress", float_model, "-o", ours, "--int8", "-q", "--data", args.calib, *flags], check=True)
    models["monge --int8"] = ours
    for label, more in {"monge --dtype fp16": [], "monge --dtype fp16 --arithmetic": ["--arithmetic"]}.items():
        models[label] = os.path.join(out, label.replace(" ", "") + ".onnx")
        subprocess.run([args.monge, "compress", float_model, "-o", models[label], "--dtype", "fp16", *more, "-q", "--data", args.calib, *flags], check=True)
    try:
        models["onnxruntime's float16"] = os.path.join(out, "half.onnx")
        onnx.save(convert_float_to_float16(onnx.load(float_model), keep_io_types=True), models["onnxruntime's float16"])
        onnxruntime.InferenceSession(models["onnxruntime's float16"])
    except Exception as err:  # what the peer cannot do is part of the result
        print(f"onnxruntime's float16: {err}", file=sys.stderr)
        del models["onnxruntime's float16"]
    ready = os.path.join(out, "ready.onnx")
    try:
        quant_pre_process(float_model, ready)
    except Exception:  # its inference of symbolic shapes does not know every export
        quant_pre_process(float_model, ready, skip_symbolic_shape=True)
    inputs = [i.name for i in onnx.load(ready).graph.input]
    x = samples(args.calib, args, np.random.default_rng(0), inputs)
    for method in (CalibrationMethod.MinMax, CalibrationMethod.Entropy, CalibrationMethod.Percentile):
        for reduced in (False, True):  # weights of seven bits, as its documentation advises for processors without VNNI
            label = f"quantize_static {method.name}{', reduced' if reduced else ''}"
            path = os.path.join(out, f"ort_{method.name}_{reduced}.onnx")
            for per_channel in (True, False):  # some models it rounds by whole tensors only
                try:
                    quantize_static(ready, path, Reader(x), quant_format=QuantFormat.QDQ, per_channel=per_channel, reduce_range=reduced,
                                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=method)
                except Exception as err:  # what the peer cannot do is part of the result
                    print(f"{label}, per channel {per_channel}: {err}", file=sys.stderr)
                    continue
                models[label] = path
                break
    print(f"{'':34} {'agreement':>10} {'cosine':>9} {'top-1':>7} {'bytes':>10} {'latency':>10}")
    for label, path in models.items():
        done = json.loads(subprocess.run([args.monge, "eval", args.model, path, "--json", "-q", "--data", args.test, *flags],
                                         check=True, capture_output=True).stdout)["models"][1]
        top1 = done.get("top1")
        print(f"{label:34} {100 * done['agreement']:9.2f}% {done['cosine']:9.6f} {100 * top1 if top1 is not None else float('nan'):6.2f}% {done['bytes']:10,} {done['latency_ms']:7.3f} ms")


if __name__ == "__main__":
    main()
