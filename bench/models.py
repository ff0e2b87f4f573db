"""Write large networks with random weights, to measure time and memory with.

    python3 bench/models.py OUTDIR [NAME ...]
"""
import argparse
import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "testdata", "train"))
from nets import Block  # noqa: E402
from train import export  # noqa: E402


def vgg11():
    """VGG11 for 32x32 images at full width, convolutions with bias, no BatchNorm."""
    layers, cin = [], 3
    for width, pool in ((64, 1), (128, 1), (256, 0), (256, 1), (512, 0), (512, 1), (512, 0), (512, 1)):
        layers += [nn.Conv2d(cin, width, 3, padding=1), nn.ReLU()] + [nn.MaxPool2d(2)] * pool
        cin = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


class ResNet56(nn.Module):
    """ResNet56 for 32x32 images: 27 basic blocks, option-A shortcuts, BatchNorm."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        blocks, cin = [], 16
        for width in (16, 32, 64):
            for i in range(9):
                blocks.append(Block(cin, width, 2 if i == 0 and width > 16 else 1, "option-a"))
                cin = width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.fc(self.pool(x).flatten(1))


def mlp100m():
    """784-8192-8192-3200-10."""
    layers, cin = [nn.Flatten()], 784
    for width in (8192, 8192, 3200):
        layers += [nn.Linear(cin, width), nn.ReLU()]
        cin = width
    return nn.Sequential(*layers, nn.Linear(cin, 10))


# name: (constructor, seed, input shape)
MODELS = {
    "vgg11_a": (vgg11, 1, (3, 32, 32)),
    "vgg11_b": (vgg11, 2, (3, 32, 32)),
    "resnet56": (ResNet56, 3, (3, 32, 32)),
    "mlp100m": (mlp100m, 4, (1, 28, 28)),
    "mlp100m_b": (mlp100m, 5, (1, 28, 28)),
    **{"vgg11_%s" % x: (vgg11, 6 + i, (3, 32, 32)) for i, x in enumerate("cdef")},
}


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("out", metavar="OUTDIR")
    args.add_argument("names", nargs="*", metavar="NAME", help=" ".join(MODELS))
    args = args.parse_args()
    os.makedirs(args.out, exist_ok=True)
    for name in args.names or MODELS:
        build, seed, shape = MODELS[name]
        torch.manual_seed(seed)
        net = build().eval()
        for m in net.modules():
            if isinstance(m, nn.BatchNorm2d):
                # Fresh statistics are 0 and 1: folding them would be no work.
                nn.init.normal_(m.running_mean, std=0.1)
                nn.init.uniform_(m.running_var, 0.5, 1.5)
        path = os.path.join(args.out, name + ".onnx")
        export(net, path, shape)
        size = sum(p.numel() for p in net.parameters())
        print("%-10s %10d parameters %11d bytes" % (name, size, os.path.getsize(path)), flush=True)


if __name__ == "__main__":
    main()
