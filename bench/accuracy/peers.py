#!/usr/bin/env python3
"""What other tools make of the same model and the same images, by multiply-accumulates.

    bench/accuracy/peers.py MODEL CALIB TEST --mean M --std S [--classes FILE] [--macs 0.75,0.5] [--limit 450]
        [--monge BINARY]

MODEL is a classifier of images. CALIB and TEST are folders with one sub-folder for each class, which FILE
lists as the model counts them, or .npz files of `input` (numbers from 0 to 255) and `labels`. M and S are
one number or one for each colour. Rows:

* Torch-Pruning: L2 norms of groups of channels, equal shares, of the model as onnx2torch reads it; its
  normalisations are folded, so that in the place of their recalibration the biases of its convolutions
  are moved, layer by layer, until the means of all channels are the original's;
* Monge, with `--monge`: `compress --macs`, without and with distillation, of the very same inputs;
* onnxsim, weights: apply_structured_pruning, and onnxsim, data: apply_structured_wanda_pruning, each with
  and without apply_pruning_finetune, the tool's own refit.

Each is given the share of channels that comes nearest to the budget. Needs, from PyPI, torch, onnx2torch,
torch-pruning, onnxsim, onnxruntime, numpy and pillow.
"""
import argparse, copy, glob, io, json, os, subprocess, tempfile, time
import numpy as np
import onnx
import onnxruntime as ort
from PIL import Image


def images(folder, o, limit=None):
    if folder.endswith(".npz"):
        with np.load(folder) as held:
            x, labels = held["input"], held["labels"]
        x = (x[:limit].transpose(0, 2, 3, 1) / np.float32(255) - o.mean) / o.std
        return x.transpose(0, 3, 1, 2).astype(np.float32), labels[:limit]
    names = [line.split("\t")[0].strip() for line in open(o.classes)]
    files = sorted(glob.glob(os.path.join(folder, "*", "*")))
    if limit:
        files = files[:: max(1, len(files) // limit)][:limit]
    x, labels = [], []
    for f in files:
        p = Image.open(f).convert("RGB")
        scale = o.size / min(p.size)
        p = p.resize([max(o.size, round(s * scale)) for s in p.size], Image.BILINEAR)
        left, top = (p.width - o.size) // 2, (p.height - o.size) // 2
        p = p.crop((left, top, left + o.size, top + o.size))
        x.append((np.asarray(p, np.float32) / 255 - o.mean) / o.std)
        labels.append(names.index(os.path.basename(os.path.dirname(f))))
    return np.stack(x).transpose(0, 3, 1, 2).astype(np.float32), np.array(labels)


def accuracy(model, x, labels):
    s = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = s.get_inputs()[0].name
    said = np.concatenate([s.run(None, {name: x[i : i + 1]})[0] for i in range(len(x))])
    return 100 * (said.argmax(1) == labels).mean()


def torch_pruning(path, share, x):
    import onnx2torch, torch, torch_pruning as tp

    original = onnx2torch.convert(path).eval()
    model, example = copy.deepcopy(original), torch.zeros(1, *x.shape[1:])
    before, _ = tp.utils.count_ops_and_params(model, example)

    def pruned(ratio):
        m = copy.deepcopy(model)
        last = [l for l in m.modules() if isinstance(l, torch.nn.Linear)][-1:] or [list(m.modules())[-1]]
        tp.pruner.MetaPruner(m, example, importance=tp.importance.GroupMagnitudeImportance(p=2), pruning_ratio=ratio, ignored_layers=last).step()
        return m, tp.utils.count_ops_and_params(m, example)[0] / before

    low, high = 0.0, 0.9
    for _ in range(8):
        mid = (low + high) / 2
        low, high = (mid, high) if pruned(mid)[1] > share else (low, mid)
    return original, *pruned(high)


def kept_means(original, m, x):
    """Biases of convolutions whose outputs kept their number of channels take the original's means. Pruned
    ones have no counterpart by number and are left."""
    import torch

    def mean(net, layer):
        got = []
        h = layer.register_forward_hook(lambda _m, _i, y: got.append(y.mean((0, 2, 3))))
        with torch.no_grad():
            for i in range(0, len(x), 16):
                net(torch.from_numpy(x[i : i + 16]))
        h.remove()
        return torch.stack(got).mean(0)

    a, b = [[l for l in net.modules() if isinstance(l, torch.nn.Conv2d)] for net in (original, m)]
    for before, now in zip(a, b):
        if before.out_channels == now.out_channels and now.bias is not None:
            now.bias.data += mean(original, before) - mean(m, now)


def exported(m, x):
    import torch

    out = io.BytesIO()
    torch.onnx.export(m, torch.from_numpy(x[:1]), out, dynamo=False)
    return onnx.load_from_string(out.getvalue())


def macs(model):
    import onnx2torch, torch, torch_pruning as tp

    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return tp.utils.count_ops_and_params(onnx2torch.convert(model).eval(), torch.zeros(1, *shape))[0]


def onnxsim_pruning(path, share, prune):
    before, low, high = macs(onnx.load(path)), 0.0, 0.95
    for _ in range(7):
        mid = (low + high) / 2
        low, high = (mid, high) if macs(prune(mid)) > share * before else (low, mid)
    m = prune(high)
    return m, macs(m) / before


def monge(binary, path, share, x, flags):
    """What `monge compress` makes of x, and the share of multiply-accumulates that it says is left."""
    with tempfile.TemporaryDirectory() as folder:
        data, small = os.path.join(folder, "data.npz"), os.path.join(folder, "small.onnx")
        np.savez(data, **{onnx.load(path).graph.input[0].name: x})
        command = [binary, "compress", path, "-o", small, "--data", data, "--macs", str(share), "--json", *flags]
        said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return onnx.load(small), said["after"]["macs"] / said["before"]["macs"]


def colours(text):
    return np.array([float(v) for v in text.split(",")], np.float32)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model"), p.add_argument("calib"), p.add_argument("test")
    p.add_argument("--classes"), p.add_argument("--mean", type=colours, default="0.5"), p.add_argument("--std", type=colours, default="0.5")
    p.add_argument("--monge", help="a binary of monge, for rows of its own")
    p.add_argument("--size", type=int, default=224), p.add_argument("--limit", type=int, default=450), p.add_argument("--macs", default="0.75,0.5")
    o = p.parse_args()
    x, _ = images(o.calib, o, o.limit)
    test = images(o.test, o)
    print(f"{'':32} MACs  top-1  seconds\n{'original':32} 1.00  {accuracy(onnx.load(o.model), *test):5.1f}", flush=True)

    def row(name, share, made, start):
        print(f"{name:32} {share:.2f}  {accuracy(made, *test):5.1f}  {time.time() - start:.0f}", flush=True)

    for share in map(float, o.macs.split(",")):
        for name, flags in ("Monge, --tune 0", ["--tune", "0"]), ("Monge", []):
            if o.monge:
                start = time.time()
                m, got = monge(o.monge, o.model, share, x, flags)
                row(name, got, m, start)
        start = time.time()
        try:
            original, m, got = torch_pruning(o.model, share, x)
            row("Torch-Pruning", got, exported(m, x), start)
            kept_means(original, m, x[:100])
            row("Torch-Pruning, means restored", got, exported(m, x), start)
        except Exception as why:  # of what kind it is depends on the layers that it does not know
            print(f"{'Torch-Pruning':32} does not run: {type(why).__name__}: {why}", flush=True)
        import onnxsim

        name = onnx.load(o.model).graph.input[0].name
        data = [{name: x[i : i + 1]} for i in range(min(64, len(x)))]
        for kind, prune in (
            ("weights", lambda s: onnxsim.apply_structured_pruning(o.model, sparsity=s)),
            ("data", lambda s: onnxsim.apply_structured_wanda_pruning(o.model, data, num_samples=len(data), sparsity=s)),
        ):
            start = time.time()
            m, got = onnxsim_pruning(o.model, share, prune)
            row(f"onnxsim, {kind}", got, m, start)
            m = onnxsim.apply_pruning_finetune(o.model, m, data, num_samples=len(data))
            row(f"onnxsim, {kind}, refit", got, m, start)


main()
