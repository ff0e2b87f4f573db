"""Fuse and compress the transformers of train.py with monge, and print one table.

    /usr/bin/python3 bench/transformer/table.py DIR [--monge bin/monge] [--limit N] [--only TEXT]

DIR is what train.py wrote; parts of the table whose models are missing are left out. Accuracies are top-1 on the 10,000 test images of MNIST (--limit takes fewer);
data for alignment and refit are 1,000 of 2,000 unlabelled training images. Needs Debian's python3-onnx.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import onnx
from onnx import compose, helper

PREPROCESS = ["--scale", "0.00392156862745098", "--mean", "0.1307", "--std", "0.3081"]
FORMS = ["", "_op13", "_packed", "_packed13", "_chunked", "_library", "_library13"]


def ensemble(paths, out):
    """Write a model that averages the class probabilities of several."""
    nodes, constants, probabilities = [], [], []
    for i, path in enumerate(paths):
        g = compose.add_prefix(onnx.load(path), "m%d/" % i).graph
        nodes.append(helper.make_node("Identity", ["input"], [g.input[0].name]))
        nodes += g.node
        constants += g.initializer
        probabilities.append("m%d/probabilities" % i)
        nodes.append(helper.make_node("Softmax", [g.output[0].name], [probabilities[-1]], axis=1))
    nodes.append(helper.make_node("Mean", probabilities, ["probabilities"]))
    first = onnx.load(paths[0])
    value = helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, ["N", 10])
    model = helper.make_model(helper.make_graph(nodes, "ensemble", first.graph.input, [value], constants),
                              opset_imports=first.opset_import, ir_version=first.ir_version)
    onnx.save(model, out)


class Bench:
    def __init__(self, args, scratch):
        self.args, self.scratch = args, scratch

    def model(self, name):
        return os.path.join(self.args.dir, name + ".onnx")

    def monge(self, *words):
        out = subprocess.run([self.args.monge, *words, "--json"], capture_output=True, text=True)
        if out.returncode != 0:
            sys.exit("monge %s: %s" % (" ".join(words), out.stderr.strip()))
        return json.loads(out.stdout)

    def judge(self, path):
        m = self.monge("eval", path, "--data", os.path.join(self.args.dir, "test.npz"), "--no-latency",
                       "--limit", str(self.args.limit), *PREPROCESS)["models"][0]
        return m

    def row(self, title, path, seconds=None):
        m = self.judge(path)
        took = "" if seconds is None else "%.1f" % seconds
        print("%-58s %7.2f %9d %10d %8s" % (title, 100 * m["top1"], m["params"], m["macs"], took), flush=True)

    def make(self, title, command, models, *flags, data=True):
        if self.args.only not in title:
            return
        out = os.path.join(self.scratch, "out.onnx")
        words = [command, *map(self.model, models), "-o", out, *flags]
        if data:
            words += ["--data", os.path.join(self.args.dir, "calib.npz"), *PREPROCESS]
        start = time.time()
        self.monge(*words)
        self.row(title, out, time.time() - start)

    def have(self, *names):
        return all(os.path.exists(self.model(n)) for n in names)

    def section(self, title):
        print("\n%-58s %7s %9s %10s %8s" % (title, "top-1", "params", "MACs", "seconds"))

    def fusions(self, a, b, plain):
        if not self.have(a, b):
            return
        self.section("%s and %s into one, widths of %s" % (a, b, b))
        for name in (a, b):
            self.row(name, self.model(name))
        path = os.path.join(self.scratch, "ensemble.onnx")
        ensemble([self.model(a), self.model(b)], path)
        self.row("ensemble", path)
        if plain:
            self.make("plain average", "fuse", (a, b), "--align", "none", data=False)
        self.make("OT by weights", "fuse", (a, b), "--align", "weights", data=False)
        self.make("OT by activations", "fuse", (a, b), "--align", "activations")
        self.make("OT by activations, refit", "fuse", (a, b), "--method", "ot", "--weights", "0.5,0.5")
        self.make("union, refit", "fuse", (a, b), "--method", "union", "--weights", "0.5,0.5")
        self.make("as by default: whichever is measured to be better", "fuse", (a, b))

    def compressions(self, name):
        if not self.have(name):
            return
        self.section(name + " narrowed: heads and hidden units")
        self.row(name, self.model(name))
        for keep in ("0.75", "0.5"):
            self.make("--keep %s by weights" % keep, "compress", (name,), "--keep", keep, data=False)
            self.make("--keep %s by activations" % keep, "compress", (name,), "--keep", keep, "--align", "activations")
            self.make("--keep %s, refit" % keep, "compress", (name,), "--keep", keep)
        self.make("--macs 0.5, refit", "compress", (name,), "--macs", "0.5")

    def into(self, name, narrow):
        if not self.have(name, narrow):
            return
        self.section("%s in the widths of %s, residual stream included" % (name, narrow))
        self.row(name, self.model(name))
        self.make("--into by activations", "compress", (name,), "--into", self.model(narrow), "--align", "activations")
        self.make("--into, refit", "compress", (name,), "--into", self.model(narrow))

    def forms(self, name):
        if not self.have(*(name + form for form in FORMS)):
            return
        self.section("%s as written by different exporters: --keep 0.5, refit" % name)
        for form in FORMS:
            report = self.monge("inspect", self.model(name + form))
            free = sum(s["narrowable"] for s in report["spaces"])
            title = "%s%s: %d of %d spaces can be narrowed, %.1f %%" % (
                name, form, free, len(report["spaces"]), 100 * report["narrowable_share"])
            self.make(title, "compress", (name + form,), "--keep", "0.5")


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("dir", metavar="DIR")
    args.add_argument("--monge", default="bin/monge", help="the program (default: %(default)s)")
    args.add_argument("--limit", type=int, default=0, help="test images (default: all)")
    args.add_argument("--only", default="", help="only rows whose title holds this text")
    args = args.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        b = Bench(args, scratch)
        b.forms("pre_a")
        for name in ("pre_a", "post_a"):
            b.compressions(name)
        b.into("wide", "pre_a")
        b.fusions("pre_a", "pre_b", True)
        b.fusions("pre_a_packed", "pre_b_packed", True)
        b.fusions("post_a", "post_b", True)
        b.fusions("ffn", "pre_b", False)
        b.fusions("wide", "pre_b", False)


if __name__ == "__main__":
    main()
