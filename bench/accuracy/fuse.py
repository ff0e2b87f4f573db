#!/usr/bin/env python3
"""Accuracy of `monge fuse`: every case is fused by the program itself and judged on test images.

    bench/accuracy/fuse.py MODELS DATA [-m bin/monge] [-o FOLDER] [-k PATTERN] [--list]

MODELS holds otfusion/ and cifar10/, DATA the .npz sets (calibration: *_calib.npz, never their labels;
judged on mnist_test.npz and cifar10_dev.npz). One table is printed, with the least that is asked of a
case and what is aimed at. Needs Python's standard library, and numpy and onnx for the rows that compare
weights with a reference. Fusions run one after the other.
"""
import argparse, fnmatch, json, os, subprocess, sys, time

MNIST = "--scale 0.00392156862745098 --mean 0.1307 --std 0.3081".split()
CIFAR = "--scale 0.00392156862745098 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225".split()
BEST, FIRST = "best parent", "A"

# name, kind of data, parents, arguments, least, aim. A tuple ("best", x) is x points from the better
# parent in the same run. {M} and {D} stand for the folders.
CASES = [
    # Transport alone (no refit): what the reference does.
    ("mnist/average", "mnist", "mlpnet_a mlpnet_b", "--align none", 73.84, None),
    ("mnist/ot-weights", "mnist", "mlpnet_a mlpnet_b", "--align weights", 95.58, None),
    ("mnist/ot-activations", "mnist", "mlpnet_a mlpnet_b", "--align activations --data {D}/mnist_align200.npz", 96.31, None),
    ("hetero/ot-weights", "mnist", "hetero_wide hetero_narrow", "--align weights", None, None),
    ("hetero/ot-weights-sum", "mnist", "hetero_wide hetero_narrow", "--align weights --scaling sum", None, None),
    ("hetero/ot-activations", "mnist", "hetero_wide hetero_narrow", "--align activations --data {D}/mnist_align200.npz", 94.73, None),
    ("hetero/ot-activations-sum", "mnist", "hetero_wide hetero_narrow", "--align activations --scaling sum --data {D}/mnist_align200.npz", None, None),
    ("hetero/none-of-narrow", "mnist", "hetero_wide hetero_narrow", "--align activations --weights 1,0 --data {D}/mnist_align200.npz", 87.37, None),
    ("vgg11q/average", "cifar", "vgg11q_a vgg11q_b", "--align none", None, None),
    ("vgg11q/ot-weights", "cifar", "vgg11q_a vgg11q_b", "--align weights", None, None),
    ("vgg11q/ot-activations", "cifar", "vgg11q_a vgg11q_b", "--align activations --data {D}/cifar10_calib.npz", None, None),
    ("resnet20/average", "cifar", "resnet20_a resnet20_b", "--align none", None, None),
    ("resnet20/ot-weights", "cifar", "resnet20_a resnet20_b", "--align weights", None, None),
    ("resnet20/ot-activations", "cifar", "resnet20_a resnet20_b", "--align activations --data {D}/cifar10_calib.npz", None, None),
    ("vgg11h/squeezed-weights", "cifar", "vgg11h_w vgg11q_a", "--align weights --weights 1,0", None, None),
    ("vgg11h/squeezed-activations", "cifar", "vgg11h_w vgg11q_a", "--align activations --weights 1,0 --data {D}/cifar10_calib.npz", None, None),
    # With the refit.
    ("mnist/fuse", "mnist", "mlpnet_a mlpnet_b", "--refit-samples 1000", 97.60, 97.80),
    ("mnist/fuse-half", "mnist", "mlpnet_a mlpnet_b", "--refit-samples 1000 --weights 0.5,0.5", 97.60, 97.80),
    ("hetero/fuse-half", "mnist", "hetero_wide hetero_narrow", "--refit-samples 1000 --weights 0.5,0.5", 96.75, 97.10),
    ("hetero/fuse-none-of-narrow", "mnist", "hetero_wide hetero_narrow", "--refit-samples 1000 --weights 1,0", 96.45, 96.80),
    ("noniid/fuse-half", "mnist", "noniid_norm_same_a noniid_norm_same_b", "--refit-samples 1000 --weights 0.5,0.5", ("best", 0), 93.0),
    ("vgg11q/fuse", "cifar", "vgg11q_a vgg11q_b", "--refit-samples 2000", ("best", -1.7), ("best", 0)),
    ("vgg11q/fuse-1.5x", "cifar", "vgg11q_a vgg11q_b", "--refit-samples 2000 --keep 1.5", ("best", 0.8), ("best", 1.9)),
    ("resnet20/fuse", "cifar", "resnet20_a resnet20_b", "", ("best", -0.9), ("best", 0.1)),
    ("resnet20/fuse-half", "cifar", "resnet20_a resnet20_b", "--weights 0.5,0.5", 81.3, 85.0),
    ("resnet20/fuse-1.5x", "cifar", "resnet20_a resnet20_b", "--keep 1.5", ("best", 0.1), ("best", 0.9)),
]
DATA = {"mnist": (MNIST, "mnist_calib.npz", "mnist_test.npz", "otfusion"),
        "cifar": (CIFAR, "cifar10_calib.npz", "cifar10_dev.npz", "cifar10")}


def call(*args):
    p = subprocess.run(list(args) + ["--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode != 0:
        raise SystemExit(" ".join(args) + ": " + p.stderr.strip())
    return json.loads(p.stdout)


def accuracy(monge, models, data, prep):
    r = call(monge, "eval", *models, "--data", data, "--no-latency", *prep)
    return [100 * m["top1"] for m in r["models"]]


def distance(a, b):
    """The largest relative difference between weights of the same shapes, in order."""
    import numpy, onnx
    from onnx import numpy_helper
    load = lambda f: [numpy_helper.to_array(t) for t in onnx.load(f).graph.initializer]
    wa, wb = load(a), load(b)
    assert [x.shape for x in wa] == [x.shape for x in wb], "the weights' shapes differ"
    return max(float(numpy.linalg.norm(x - y) / numpy.linalg.norm(y)) for x, y in zip(wa, wb))


def bound(x, best):
    if x is None:
        return "", None
    if isinstance(x, tuple):
        return "best %+.1f" % x[1], best + x[1]
    return "%.2f" % x, x


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models"), p.add_argument("data")
    p.add_argument("-m", "--monge", default="bin/monge")
    p.add_argument("-o", "--out", default="bench/out/accuracy")
    p.add_argument("-k", "--cases", default="*", help="a pattern of case names, as in 'resnet20/*'")
    p.add_argument("--list", action="store_true", help="print the commands, run nothing")
    p.add_argument("extra", nargs="*", help="further flags for fuse, after --")
    o = p.parse_args()
    os.makedirs(o.out, exist_ok=True)
    parents = {}
    print("| case | parents | result | least | aim | met | seconds | method, balance |\n|---|---|---|---|---|---|---|---|", flush=True)
    for name, kind, pair, args, least, aim in CASES:
        if not fnmatch.fnmatch(name, o.cases):
            continue
        prep, calib, test, folder = DATA[kind]
        files = [os.path.join(o.models, folder, m + ".onnx") for m in pair.split()]
        args = args.format(M=o.models, D=o.data).split()
        if "--align" not in args and "--data" not in args:
            args += ["--data", os.path.join(o.data, calib)]
        out = os.path.join(o.out, name.replace("/", "_") + ".onnx")
        cmd = [o.monge, "fuse", *files, "-o", out, "--force", *args, *(prep if "--data" in args else []), *o.extra]
        if o.list:
            print(" ".join(cmd))
            continue
        test = os.path.join(o.data, test)
        if pair not in parents:
            parents[pair] = accuracy(o.monge, files, test, prep)
        start = time.time()
        done = call(*cmd)
        seconds = time.time() - start
        got = accuracy(o.monge, [out], test, prep)[0]
        best = max(parents[pair])
        (lt, lv), (at, av) = bound(least, best), bound(aim, best)
        eps = 0.005  # accuracies are printed with two digits
        met = "" if lv is None else "aim" if av is not None and got >= av - eps else "yes" if got >= lv - eps else "NO"
        how = "%s %s" % (done["method"], ":".join("%.2f" % w for w in done["weights"]))
        if "contribution" in done:
            how += " gave " + ":".join("%.2f" % w for w in done["contribution"])
        print("| %s | %s | %.2f | %s | %s | %s | %.0f | %s |" % (name, " ".join("%.2f" % x for x in parents[pair]), got, lt, at, met, seconds, how), flush=True)
        reference = {"mnist/ot-weights": "fused_wts.onnx", "mnist/ot-activations": "fused_acts.onnx"}.get(name)
        if reference:
            print("|   largest relative difference from %s | | %.2g | 1e-3 | | | | |" % (reference, distance(out, os.path.join(o.models, folder, reference))), flush=True)


main()
