"""Train the networks of testdata on MNIST and export them to ONNX.

    python3 train.py [--out DIR] [NAME ...]

One thread per run, so that a seed gives the same weights however many cores there are.
"""
import argparse
import os
import time

import torch
import torch.nn.functional as F

import mnist
import nets
import vit

# name: (constructor, seed, epochs, peak learning rate)
RECIPES = {
    "mlp_a": (lambda: nets.MLP(64, 32), 1, 12, 4e-3),
    "mlp_b": (lambda: nets.MLP(64, 32), 2, 12, 4e-3),
    "mlp_wide": (lambda: nets.MLP(128, 64), 3, 12, 4e-3),
    "mlp_nobias_a": (lambda: nets.MLP(64, 32, bias=False), 4, 12, 4e-3),
    "mlp_nobias_b": (lambda: nets.MLP(64, 32, bias=False), 5, 12, 4e-3),
    "cnn_a": (nets.CNN, 6, 3, 1e-2),
    "cnn_b": (nets.CNN, 7, 3, 1e-2),
    "vgg": (nets.VGG, 8, 3, 4e-3),
    "resnet_a": (nets.ResNet, 9, 3, 1e-2),
    "resnet_b": (nets.ResNet, 10, 3, 1e-2),
    "resnet_optiona": (lambda: nets.ResNet("option-a"), 11, 3, 1e-2),
    "vit_a": (lambda: vit.Transformer(32, 4, 64, 2, form="separate"), 12, 4, 4e-3),
    "vit_b": (lambda: vit.Transformer(32, 4, 64, 2, form="separate"), 13, 4, 4e-3),
}
BATCH = 128


def train(net, seed, epochs, peak, x, y):
    order = torch.Generator().manual_seed(seed)
    opt = torch.optim.Adam(net.parameters(), weight_decay=1e-5)
    steps = epochs * (len(x) // BATCH)
    plan = torch.optim.lr_scheduler.OneCycleLR(opt, peak, total_steps=steps, pct_start=0.25)
    net.train()
    for _ in range(epochs):
        idx = torch.randperm(len(x), generator=order)
        for i in range(0, len(x) - BATCH + 1, BATCH):
            j = idx[i:i + BATCH]
            loss = F.cross_entropy(net(x[j]), y[j])
            opt.zero_grad()
            loss.backward()
            opt.step()
            plan.step()
    net.eval()


@torch.no_grad()
def accuracy(net, x, y):
    hits = sum((net(x[i:i + 500]).argmax(1) == y[i:i + 500]).sum().item() for i in range(0, len(x), 500))
    return 100 * hits / len(x)


def export(net, path, shape=(1, 28, 28)):
    # The exporter's default folds BatchNormalization into the convolutions and
    # constants into initializers. PRESERVE keeps BatchNormalization as nodes (in
    # inference form, since the network is in eval mode), so do it where there is one.
    keep = any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    mode = torch.onnx.TrainingMode
    torch.onnx.export(net, torch.zeros(1, *shape), path, opset_version=13,
                      input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
                      training=mode.PRESERVE if keep else mode.EVAL, do_constant_folding=not keep)


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    args.add_argument("names", nargs="*", metavar="NAME")
    args = args.parse_args()
    torch.set_num_threads(1)
    data = {}
    for split in ("train", "t10k"):
        x, y = mnist.load(split)
        data[split] = torch.from_numpy(mnist.normalise(x)), torch.from_numpy(y)
    for name in args.names or RECIPES:
        build, seed, epochs, peak = RECIPES[name]
        torch.manual_seed(seed)
        net = build()
        start = time.time()
        train(net, seed, epochs, peak, *data["train"])
        export(net, os.path.join(args.out, name + ".onnx"))
        size = sum(p.numel() for p in net.parameters())
        print("%-16s %6d parameters  %.2f %% of the 10,000 test images  %.0f s"
              % (name, size, accuracy(net, *data["t10k"]), time.time() - start), flush=True)


if __name__ == "__main__":
    main()
