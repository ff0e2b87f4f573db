"""Run every network of testdata in onnxruntime on mnist_test.npz and write expected.json.

    python3 expected.py            (needs the Python package onnxruntime)
"""
import glob
import json
import os

import numpy as np
import onnxruntime

import mnist

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def main():
    data = np.load(os.path.join(HERE, "mnist_test.npz"))
    x, y = mnist.normalise(data["input"]), data["labels"]
    models = {}
    for path in sorted(glob.glob(os.path.join(HERE, "*.onnx"))):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        z = session.run(["logits"], {"input": x})[0]
        top = np.sort(z, 1)
        models[os.path.basename(path)] = {
            "correct": int((z.argmax(1) == y).sum()),
            # How far the closest decision is from tipping over: counts are exact
            # on every machine whose rounding errors stay below it.
            "smallest_lead": round(float((top[:, -1] - top[:, -2]).min()), 6)}
    lines = ",\n".join("  %s: %s" % (json.dumps(k), json.dumps(v)) for k, v in models.items())
    with open(os.path.join(HERE, "expected.json"), "w") as f:
        f.write('{"data": "mnist_test.npz", "images": %d, "scale": %r, "mean": %r, "std": %r, "models": {\n%s\n}}\n'
                % (len(y), 1 / 255, mnist.MEAN, mnist.STD, lines))


if __name__ == "__main__":
    main()
