"""Check otfusion.py against the networks that the method's authors published, and keep
what a test can use of them: plans, cost matrices and a few numbers, not the networks.

    python3 testdata/reference/published.py MODELS ALIGN.npz TEST.npz

MODELS holds mlpnet_a.onnx, mlpnet_b.onnx (784-400-200-100-10, no bias), what the authors'
code made of them (fused_wts.onnx, fused_acts.onnx), and the wider and narrower pair
hetero_wide.onnx and hetero_narrow.onnx. ALIGN.npz holds the 200 training images that the
authors' code aligned on, TEST.npz the 10,000 test images (`input` uint8, `labels`).
Writes published.json and published.npz.
"""
import os
import sys

import numpy as np

import otfusion

# source, target, share of the target, scaling
CASES = [
    ("mlpnet_a", "mlpnet_b", 0.5, "mean"),
    ("hetero_wide", "hetero_narrow", 0.5, "mean"),
    ("hetero_wide", "hetero_narrow", 0.5, "sum"),
    ("hetero_wide", "hetero_narrow", 0.0, "mean"),
    ("hetero_wide", "hetero_narrow", 0.0, "sum"),
]

HERE = os.path.dirname(os.path.abspath(__file__))


def images(path):
    z = np.load(path)
    return ((z["input"] / 255 - 0.1307) / 0.3081).reshape(len(z["input"]), -1), z["labels"]


def correct(net, x, y):
    return int((otfusion.preactivations(net, x)[-1].argmax(1) == y).sum())


def difference(net, want):
    """The largest relative Frobenius distance over the layers."""
    return max(float(np.linalg.norm(w - v) / np.linalg.norm(v)) for (w, _), (v, _) in zip(net, want))


def main():
    folder, align, test = sys.argv[1:]

    def load(name):
        return otfusion.load(os.path.join(folder, name + ".onnx"))

    samples, _ = images(align)
    x, y = images(test)
    out = {"epsilon": otfusion.EPSILON, "samples": len(samples), "images": len(x), "parents": {}, "cases": []}
    costs = {}
    for name in ("mlpnet_a", "mlpnet_b", "hetero_wide", "hetero_narrow"):
        out["parents"][name] = {"correct": correct(load(name), x, y)}
    for source, target, share, scaling in CASES:
        for how, file in (("weights", "fused_wts"), ("activations", "fused_acts")):
            args = load(source), load(target), samples if how == "activations" else None, share, scaling
            fused, plans = otfusion.fuse(*args)
            case = {"source": source, "target": target, "align": how, "target_share": share, "scaling": scaling,
                    "correct": correct(fused, x, y),
                    "outputs_keep_order": bool((otfusion.targets(plans[-1][1]) == np.arange(10)).all())}
            if source == "mlpnet_a":
                transported, _ = otfusion.fuse(*args, transport_outputs=True)
                case["difference_from_authors"] = difference(fused, load(file))
                case["difference_when_outputs_are_transported"] = difference(transported, load(file))
                assert case["difference_from_authors"] < 1e-6
                costs[how] = plans[-2][0].astype(np.float32)
            print(case)
            if share == 0.5 and scaling == "mean":
                case["plans"] = [{"to": otfusion.targets(t).tolist(), "cost": float((c * t).sum())} for c, t in plans[:-1]]
                case["tensors"] = otfusion.summary(fused)
            out["cases"].append(case)
    for how, c in costs.items():
        # The stored costs are rounded to float32: the plan must still be the same.
        plan = next(k for k in out["cases"] if k["align"] == how)["plans"][-1]["to"]
        assert (otfusion.targets(otfusion.plan(c.astype(np.float64))) == plan).all()
    otfusion.write(os.path.join(HERE, "published.json"), out)
    np.savez_compressed(os.path.join(HERE, "published.npz"), **costs)


if __name__ == "__main__":
    main()
