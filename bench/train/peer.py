"""Measures how fast PyTorch trains the same models on CPU, as bench/train does Monge: images per second forwards, of
plain steps (forwards, backwards, Adam), and of distillation steps (a teacher's forward besides, and squared errors of
all that convolutions and products read).

    python3 bench/train/peer.py [--batch N] [--steps N] [--threads N] MODEL.onnx...

It needs torch, onnx and onnx2torch.
"""
import argparse
import resource
import time

import onnx
import torch
from onnx2torch import convert


def clock(step, steps, samples):
    """Samples per second, and per second of processor time."""
    step()
    wall, cpu = time.time(), time.process_time()
    for _ in range(steps):
        step()
    return steps * samples / (time.time() - wall), steps * samples / (time.process_time() - cpu)


def tapped(model):
    """Registers what convolutions and products read in a list that every run fills."""
    seen = []
    for module in model.modules():
        if isinstance(module, (torch.nn.modules.conv._ConvNd, torch.nn.Linear)):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    return seen


def measure(path, batch, steps):
    proto = onnx.load(path)
    dims = [d.dim_value or 1 for d in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    x = torch.randn(batch, *dims)
    teacher, student = convert(proto).eval(), convert(onnx.load(path)).eval()
    parameters = [p.requires_grad_() for p in student.parameters()]
    for b in teacher.parameters():
        b.requires_grad_(False)
    optimiser = torch.optim.Adam(parameters, lr=1e-5)

    def forward():
        with torch.no_grad():
            teacher(x)

    def flat(out):
        return out if isinstance(out, (list, tuple)) else [out]

    def plain():
        optimiser.zero_grad()
        sum(o.square().mean() for o in flat(student(x))).backward()
        optimiser.step()

    rates = [clock(forward, steps, batch), clock(plain, steps, batch)]
    said, wanted = tapped(student), tapped(teacher)

    def distil():
        said.clear(), wanted.clear()
        optimiser.zero_grad()
        with torch.no_grad():
            target = flat(teacher(x))
        loss = sum((a - b).square().mean() for a, b in zip(flat(student(x)), target))
        loss = loss + sum((a - b).square().mean() for a, b in zip(said, wanted) if a.requires_grad)
        loss.backward()
        optimiser.step()

    rates.append(clock(distil, steps, batch))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    names = ["forwards", "plain", "distilled"]
    print(path, *(f"{n} {a:.1f}/s ({b:.1f} per CPU s)" for n, (a, b) in zip(names, rates)), f"{peak} MB peak", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    for path in args.models:
        measure(path, args.batch, args.steps)


main()
