"""Train small transformers on MNIST and export them to ONNX in several forms.

    /usr/bin/python3 bench/transformer/train.py OUTDIR [NAME ...]

One thread per run, so that a seed gives the same weights however many cores there are.
Needs Debian's python3-torch and python3-onnx, and Go (which downloads MNIST as a module).
"""
import argparse
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "..", "testdata", "train"))
import mnist  # noqa: E402
from vit import Transformer  # noqa: E402

# name: (constructor's arguments, seed, epochs)
RECIPES = {
    "pre_a": (dict(), 1, 5),
    "pre_b": (dict(), 2, 5),
    "wide": (dict(d=128, heads=8, hidden=256), 3, 3),
    "ffn": (dict(hidden=256), 4, 5),
    "post_a": (dict(pre=False), 5, 5),
    "post_b": (dict(pre=False), 6, 5),
}
# file suffix: (form of attention, opset). LayerNormalization is an operator from opset 17 on.
EXPORTS = {
    "": ("separate", 17),
    "_op13": ("separate", 13),
    "_packed": ("packed", 17),
    "_packed13": ("packed", 13),
    "_chunked": ("chunked", 17),
    "_library": ("library", 17),
    "_library13": ("library", 13),
}
BATCH, PEAK = 128, 3e-3


def train(net, seed, epochs, x, y):
    order = torch.Generator().manual_seed(seed)
    opt = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(opt, PEAK, total_steps=epochs * (len(x) // BATCH), pct_start=0.2)
    net.train()
    for _ in range(epochs):
        idx = torch.randperm(len(x), generator=order)
        for i in range(0, len(x) - BATCH + 1, BATCH):
            j = idx[i:i + BATCH]
            loss = F.cross_entropy(net(x[j]), y[j])
            opt.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
            plan.step()
    net.eval()


@torch.no_grad()
def accuracy(net, x, y):
    hits = sum((net(x[i:i + 500]).argmax(1) == y[i:i + 500]).sum().item() for i in range(0, len(x), 500))
    return 100 * hits / len(x)


def export(net, path, opset):
    torch.onnx.export(net, torch.zeros(2, 1, 28, 28), path, opset_version=opset, input_names=["input"],
                      output_names=["logits"], dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}})


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("out", metavar="OUTDIR")
    args.add_argument("names", nargs="*", metavar="NAME", help=" ".join(RECIPES))
    args = args.parse_args()
    os.makedirs(args.out, exist_ok=True)
    torch.set_num_threads(1)
    data = {}
    for split in ("train", "t10k"):
        x, y = mnist.load(split)
        data[split] = torch.from_numpy(mnist.normalise(x)), torch.from_numpy(y)
        if split == "train":
            np.savez(os.path.join(args.out, "calib.npz"), input=x[np.random.RandomState(0).permutation(len(x))[:2000]])
        else:
            np.savez(os.path.join(args.out, "test.npz"), input=x, labels=y)
    for name in args.names or RECIPES:
        kwargs, seed, epochs = RECIPES[name]
        torch.manual_seed(seed)
        net = Transformer(**kwargs)
        start = time.time()
        train(net, seed, epochs, *data["train"])
        for suffix, (form, opset) in EXPORTS.items():
            export(net.rewrite(form), os.path.join(args.out, name + suffix + ".onnx"), opset)
        size = sum(p.numel() for p in net.parameters())
        print("%-8s %7d parameters  %.2f %% of the 10,000 test images  %.0f s"
              % (name, size, accuracy(net, *data["t10k"]), time.time() - start), flush=True)


if __name__ == "__main__":
    main()
