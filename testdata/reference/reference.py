"""Fuse the MLPs of testdata by the reference method and write reference.json.

    python3 testdata/reference/reference.py
"""
import os

import numpy as np

import otfusion

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..")
SAMPLES = 200

# source, target, share of the target, scalings
CASES = [
    ("mlp_nobias_a", "mlp_nobias_b", 0.5, ["mean"]),
    ("mlp_a", "mlp_b", 0.5, ["mean"]),
    ("mlp_wide", "mlp_a", 0.5, ["mean", "sum"]),
    ("mlp_wide", "mlp_a", 0.0, ["mean", "sum"]),
]


def images(name):
    z = np.load(os.path.join(DATA, name))
    return ((z["input"] / 255 - 0.1307) / 0.3081).reshape(len(z["input"]), -1), z


def load(name):
    return otfusion.load(os.path.join(DATA, name + ".onnx"))


def judge(net, x, y):
    """Correct answers, and the smallest lead of a first over a second class."""
    z = otfusion.preactivations(net, x)[-1]
    top = np.sort(z, 1)
    return int((z.argmax(1) == y).sum()), float((top[:, -1] - top[:, -2]).min())


def stable(c, t):
    """The plan stays the same when every cost moves by up to 1e-5 of itself, so that
    it may be compared with one computed from float32 activations."""
    rng = np.random.default_rng(0)
    nearby = (c * (1 + rng.uniform(-1e-5, 1e-5, c.shape)) for _ in range(20))
    return all((otfusion.targets(otfusion.plan(d)) == otfusion.targets(t)).all() for d in nearby)


def main():
    samples, _ = images("mnist_calib.npz")
    samples = samples[:SAMPLES]
    test, z = images("mnist_test.npz")
    out = {"method": "Singh & Jaggi 2020, uniform masses, exact plans, Euclidean costs",
           "epsilon": otfusion.EPSILON, "samples": SAMPLES, "images": len(test), "parents": {}, "cases": []}
    for name in sorted({n for case in CASES for n in case[:2]}):
        out["parents"][name] = {"correct": judge(load(name), test, z["labels"])[0]}
    for source, target, share, scalings in CASES:
        a, b = load(source), load(target)
        for align in ("weights", "activations"):
            for scaling in scalings:
                fused, plans = otfusion.fuse(a, b, samples if align == "activations" else None, share, scaling)
                assert all(stable(c, t) for c, t in plans[:-1]), (source, target, align)
                correct, lead = judge(fused, test, z["labels"])
                out["cases"].append({
                    "source": source, "target": target, "align": align, "scaling": scaling, "target_share": share,
                    "plans": [{"to": otfusion.targets(t).tolist(), "cost": float((c * t).sum())} for c, t in plans[:-1]],
                    "outputs_keep_order": bool((otfusion.targets(plans[-1][1]) == np.arange(10)).all()),
                    "correct": correct, "smallest_lead": lead, "tensors": otfusion.summary(fused)})
                print("%-13s -> %-13s %-12s %-5s target share %.1f: %d of %d correct"
                      % (source, target, align, scaling, share, correct, len(test)))
        if len(a[0][0]) == len(b[0][0]):
            mean = [tuple(None if p is None else (p + q) / 2 for p, q in zip(s, t)) for s, t in zip(a, b)]
            out["parents"][source + "+" + target] = {"correct": judge(mean, test, z["labels"])[0]}
    otfusion.write(os.path.join(HERE, "reference.json"), out)


if __name__ == "__main__":
    main()
