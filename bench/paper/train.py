#!/usr/bin/env python3
"""VGG11 and ResNet18 on CIFAR-10 as in Singh & Jaggi (2020): trained, fused by monge, fine-tuned.

    bench/paper/train.py --data FOLDER --out FOLDER [--monge bin/monge] [--minutes 12]
        [--width 1] [--steps N] [--nets vgg11,resnet18] [--device cuda]

FOLDER has train.npz and test.npz with `input`, uint8 [N,3,32,32], and `labels`. Two networks of each
kind are trained from different seeds for as long as --minutes allow, or for --steps; --width 0.125
makes small ones, to try the script without a GPU. They are exported to ONNX, fused by monge in the
ways of the paper and in its own, and judged on the test images by `monge eval`; what is fused is
loaded into PyTorch again and fine-tuned with labels. A table in Markdown comes out.

VGG11 has neither biases nor normalisation, as in the paper. ResNet18 has BatchNormalization, which
the paper's has not; monge folds it. Needs torch, numpy, onnx and onnxscript.
"""
import argparse
import json
import os
import subprocess
import time

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as F

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def vgg11(width, plain):
    layers, last = [], 3
    for n in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if n == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        n = max(4, int(n * width))
        layers += [nn.Conv2d(last, n, 3, padding=1, bias=plain), nn.ReLU()]
        last = n
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(last, 10, bias=plain))
    for m in net:
        if isinstance(m, nn.Conv2d):  # without normalisation the usual start is too small for eight layers
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    return net


class Block(nn.Module):
    def __init__(self, i, o, stride, plain):
        super().__init__()
        norm = nn.Identity if plain else nn.BatchNorm2d
        self.a, self.na = nn.Conv2d(i, o, 3, stride, 1, bias=plain), norm(o)
        self.b, self.nb = nn.Conv2d(o, o, 3, 1, 1, bias=plain), norm(o)
        self.skip = nn.Sequential() if stride == 1 and i == o else nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=plain), norm(o))

    def forward(self, x):
        y = self.nb(self.b(F.relu(self.na(self.a(x)))))
        return F.relu(y + self.skip(x))


def resnet18(width, plain):
    w = [max(4, int(n * width)) for n in (64, 128, 256, 512)]
    layers = [nn.Conv2d(3, w[0], 3, 1, 1, bias=plain), nn.Identity() if plain else nn.BatchNorm2d(w[0]), nn.ReLU()]
    last = w[0]
    for i, n in enumerate(w):
        layers += [Block(last, n, 1 if i == 0 else 2, plain), Block(n, n, 1, plain)]
        last = n
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 10))


NETS = {"vgg11": (vgg11, 0.03), "resnet18": (resnet18, 0.1)}


class Images:
    """Images on the device, augmented there."""

    def __init__(self, path, device, limit=0):
        with np.load(path) as f:
            x, y = f["input"], f["labels"]
        if limit:
            x, y = x[:limit], y[:limit]
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, STD))
        self.x = (torch.from_numpy(x).to(device).float() / 255 - mean) / std
        self.y = torch.from_numpy(y.astype(np.int64)).to(device)

    def batches(self, size, augment):
        order = torch.randperm(len(self.y), device=self.y.device) if augment else torch.arange(len(self.y), device=self.y.device)
        for i in range(0, len(order), size):
            x, y = self.x[order[i:i + size]], self.y[order[i:i + size]]
            if augment:
                x = F.pad(x, (4, 4, 4, 4), mode="reflect")
                dx, dy = (int(v) for v in torch.randint(0, 9, (2,)))
                x = x[:, :, dy:dy + 32, dx:dx + 32]
                flip = torch.rand(len(x), device=x.device) < 0.5
                x = torch.where(flip.view(-1, 1, 1, 1), x.flip(3), x)
            yield x.contiguous(memory_format=torch.channels_last), y


def train(net, data, rate, seconds, steps, batch=128):
    """SGD with a rate that rises for a tenth of the time and falls to zero."""
    net.train().to(memory_format=torch.channels_last)
    opt = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    fast = data.x.is_cuda
    start, done = time.time(), 0
    while True:
        for x, y in data.batches(batch, True):
            part = done / steps if steps else (time.time() - start) / seconds
            if part >= 1:
                return done
            for g in opt.param_groups:
                g["lr"] = rate * min(part / 0.1, (1 - part) / 0.9) + 1e-6
            with torch.autocast("cuda", torch.bfloat16, enabled=fast):
                loss = F.cross_entropy(net(x), y, label_smoothing=0.05)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5)
            opt.step()
            done += 1


@torch.no_grad()
def scores(net, data):
    net.eval()
    return torch.cat([F.softmax(net(x).float(), 1) for x, _ in data.batches(500, False)])


def right(said, data):
    return float((said.argmax(1) == data.y).float().mean())


def export(net, path):
    net = net.eval().cpu().to(memory_format=torch.contiguous_format)
    x = torch.zeros(2, 3, 32, 32)
    program = torch.onnx.export(net, (x,), dynamo=True, input_names=["input"], output_names=["logits"],
                                dynamic_shapes=({0: torch.export.Dim("batch")},), external_data=False, verbose=False)
    program.save(path)


def loaded(path, make, width, device):
    """The network of an ONNX file whose normalisations were folded, as one of PyTorch."""
    graph = onnx.load(path).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    found = []
    for n in graph.node:
        if n.op_type in ("Conv", "Gemm"):
            w = constants[n.input[1]]
            if n.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in n.attribute):
                w = w.T
            found.append((w, constants[n.input[2]] if len(n.input) > 2 and n.input[2] else np.zeros(len(w), np.float32)))
    net, order = make(width, True), []
    hooks = [m.register_forward_hook(lambda m, *_: order.append(m)) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    net.eval()(torch.zeros(1, 3, 32, 32))
    for h in hooks:
        h.remove()
    # The exporter writes operators in the order in which they are called, monge keeps it.
    if len(order) != len(found):
        raise SystemExit(f"{path}: {len(found)} operators, {len(order)} expected")
    with torch.no_grad():
        for m, (w, b) in zip(order, found):
            m.weight.copy_(torch.tensor(w))
            if m.bias is None:
                m.bias = nn.Parameter(torch.zeros(len(w)))
            m.bias.copy_(torch.tensor(b))
    return net.to(device)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--monge", default="bin/monge")
    p.add_argument("--minutes", type=float, default=12, help="of training and fine-tuning, all networks together")
    p.add_argument("--width", type=float, default=1)
    p.add_argument("--steps", type=int, default=0, help="of training each network, instead of --minutes")
    p.add_argument("--nets", default="vgg11,resnet18")
    p.add_argument("--limit", type=int, default=0, help="test images")
    p.add_argument("--calib", type=int, default=2000, help="training images, without labels, for monge")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--tune", default="", help="flags of the refitted and distilled row, as in '--time 5m'")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    torch.backends.cudnn.benchmark = True
    data = Images(os.path.join(a.data, "train.npz"), a.device)
    test = Images(os.path.join(a.data, "test.npz"), a.device, a.limit)
    flags = ["--scale", "1/255", "--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD))]
    calib, judge = (os.path.join(a.out, n) for n in ("calib.npz", "test.npz"))
    with np.load(os.path.join(a.data, "train.npz")) as f:
        np.savez(calib, input=f["input"][:a.calib])
    with np.load(os.path.join(a.data, "test.npz")) as f:
        n = a.limit or len(f["labels"])
        np.savez(judge, input=f["input"][:n], labels=f["labels"][:n])

    def monge(*args):
        r = subprocess.run([a.monge, *args, "--json"], capture_output=True, text=True)
        if r.returncode:
            raise SystemExit(r.stderr)
        return json.loads(r.stdout)

    names = a.nets.split(",")
    # Of the time each of the four networks gets a fifth, and the fine-tuning the rest.
    each, rest = a.minutes * 60 * 0.2 * 4 / (2 * len(names)), a.minutes * 60 * 0.2 / (4 * len(names))
    print(f"\nwidth {a.width:g}, {'%d steps' % a.steps if a.steps else '%.0f s' % each} for each network, {len(test.y)} test images, {a.device}")
    for name in names:
        make, rate = NETS[name]
        paths, said = [], []
        for seed in (0, 1):
            torch.manual_seed(seed)
            net = make(a.width, False).to(a.device)
            start = time.time()
            steps = train(net, data, rate, each, a.steps)
            print(f"{name}, seed {seed}: {steps} steps in {time.time() - start:.0f} s")
            said.append(scores(net, test))
            paths.append(os.path.join(a.out, f"{name}_{'ab'[seed]}.onnx"))
            export(net, paths[-1])
        print(f"\n| {name} | top-1 | fine-tuned |\n|---|---|---|")
        rows = [("model A", paths[0]), ("model B", paths[1])]
        with_data = ["--data", calib, *flags]
        half = ["--weights", "0.5,0.5"]
        for what, args in (("vanilla average", ["--align", "none", *half]), ("OT, by weights", ["--align", "weights", *half]),
                           ("OT, by activations", ["--align", "activations", *half, *with_data]), ("monge, refitted", ["--tune", "0", *with_data]),
                           ("monge, refitted and distilled", [*a.tune.split(), *with_data])):
            out = os.path.join(a.out, f"{name}_{what.split(',')[0].split()[0]}_{len(rows)}.onnx")
            monge("fuse", *paths, "-o", out, "--force", *args)
            rows.append((what, out))
        judged = monge("eval", *[path for _, path in rows], "--data", judge, *flags, "--no-latency")["models"]
        for (what, path), m in zip(rows, judged):
            tuned = ""
            if path not in paths and what != "OT, by weights":
                net = loaded(path, make, a.width, a.device)
                before = right(scores(net, test), test)
                if abs(before - m["top1"]) > 0.005:
                    raise SystemExit(f"{path}: {before} in PyTorch, {m['top1']} in onnxruntime")
                train(net, data, rate / 10, rest, a.steps // 4)
                tuned = f"{100 * right(scores(net, test), test):.2f}"
            print(f"| {what} | {100 * m['top1']:.2f} | {tuned} |", flush=True)
            if what == "model B":
                print(f"| ensemble | {100 * right(sum(said), test):.2f} | |")


if __name__ == "__main__":
    main()
