"""Export architectures with random weights in several ways, and print what monge makes of them. See README.md."""
import argparse
import contextlib
import io
import json
import os
import re
import subprocess
import warnings

import numpy as np
import onnx
import onnxruntime as ort
import torch

from nets import NETS

warnings.filterwarnings("ignore")


def made(name):
    torch.manual_seed(0)
    model, args = NETS[name]()
    return model.eval(), args


def export(name, how, path):
    """Writes an architecture with an open batch, by the exporter of TorchScript (old) or of torch.export (new)."""
    model, args = made(name)
    names = [f"x{i}" for i in range(len(args))]
    if how == "old":
        axes = {n: {0: "batch"} for n in names + ["y"]}
        torch.onnx.export(model, args, path, input_names=names, output_names=["y"], dynamo=False, opset_version=17, dynamic_axes=axes)
        return
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},) * len(args)
    if type(model).__name__ == "Pick":  # its inputs are *inputs
        shapes = (shapes,)
    two = tuple(torch.cat([a, a]) for a in args)
    torch.onnx.export(model, two, path, input_names=names, output_names=["y"], dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False)


def rewrite(tool, path, out):
    if tool == "onnxsim":
        import onnxsim
        onnx.save(onnxsim.simplify(onnx.load(path))[0], out)
    elif tool == "onnxslim":
        import onnxslim
        onnxslim.slim(path, out)
    else:
        o = ort.SessionOptions()
        o.graph_optimization_level, o.optimized_model_filepath = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, out
        ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])


def inputs(session, batch):
    rng, feeds = np.random.default_rng(0), {}
    for i in session.get_inputs():
        shape = [d if isinstance(d, int) else batch if k == 0 else 12 for k, d in enumerate(i.shape)]
        if i.type == "tensor(float)":
            feeds[i.name] = rng.standard_normal(shape).astype(np.float32)
        else:
            feeds[i.name] = rng.integers(1, 40, shape).astype(np.int32 if i.type == "tensor(int32)" else np.int64)
    return feeds


def outputs(path, batch):
    s = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return s.run(None, inputs(s, batch))


def store(path, out):
    """Writes inputs of a model for bench/families."""
    np.savez(out, **inputs(ort.InferenceSession(path, providers=["CPUExecutionProvider"]), 32))


def monge(*args):
    p = subprocess.run([opts.monge, *args, "--json"], capture_output=True, text=True)
    if p.returncode:
        raise RuntimeError((p.stderr.strip().splitlines() or [f"exit {p.returncode}"])[-1])
    return json.loads(p.stdout)


def held(path, report):
    """The parameters of weights that cannot be narrowed, by reason, most first."""
    size = {i.name: int(np.prod(i.dims)) for i in onnx.load(path).graph.initializer}
    uses = [(s, u["weight"]) for s in report["spaces"] for u in s["producers"] + s["consumers"]]
    free = {w for s, w in uses if s["narrowable"]}
    why = {}
    for s, w in uses:
        if w not in free and not s["reason"].startswith("graph "):
            why.setdefault(re.sub(r'"[^"]*"', "…", s["reason"]), set()).add(w)
    return sorted(((sum(size.get(w, 0) for w in ws), r) for r, ws in why.items()), reverse=True)


def outside(report):
    """The share of the layers' parameters in weights that can be narrowed, beside those that only normalisations over all channels hold."""
    why = {}
    for s in report["spaces"]:
        for u in s["producers"] + s["consumers"]:
            why.setdefault(u["weight"], []).append("" if s["narrowable"] else s["reason"])
    free = other = 0
    for layer in report["layers"]:
        reasons = why.get(layer["weight"], [])
        if "" in reasons:
            free += layer["params"]
        elif any("takes all channels together" not in r and not r.startswith("graph ") for r in reasons):
            other += layer["params"]
    return free / max(free + other, 1)


def check(path):
    """Halves a model and fuses it with itself and with its half: the parameters left, and what is wrong."""
    half, out = (os.path.join(opts.folder, n) for n in ("half.onnx.tmp", "fused.onnx.tmp"))
    left, wrong = float("nan"), []
    try:
        r = monge("compress", path, "-o", half, "--force", "--keep", "0.5", "--data", "none")
        left = r["after"]["params"] / r["before"]["params"]
        onnx.checker.check_model(half, full_check=True)
        for batch in (1, 3):
            if not all(np.isfinite(y).all() for y in outputs(half, batch)):
                wrong.append(f"the half is not finite at batch {batch}")
    except Exception as e:
        wrong.append(f"half: {e}")
    for other, exact in ((path, True), (half, False)):
        try:
            monge("fuse", path, other, "-o", out, "--force", "--data", "none")
            d = max(np.abs(a - b).max() / np.abs(a).max() for a, b in zip(outputs(path, 3), outputs(out, 3))) if exact else 0
            if d > 1e-4:
                wrong.append(f"fused with itself it differs by {d:.2g}")
        except Exception as e:
            wrong.append(f"fused with {'itself' if exact else 'its half'}: {e}")
    return left, wrong


def pruned(name):
    """The share of parameters that Torch-Pruning leaves of the module at a ratio of one half."""
    import torch_pruning as tp
    model, args = made(name)
    before = sum(p.numel() for p in model.parameters())
    last = [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1:]
    tp.pruner.MetaPruner(model, args if len(args) > 1 else args[0], importance=tp.importance.MagnitudeImportance(), pruning_ratio=0.5, ignored_layers=last).step()
    return sum(p.numel() for p in model.parameters()) / before


def attempt(f, *args):
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # exporters and tools say much
            return f(*args), None
    except Exception as e:
        return None, (str(e).strip().splitlines() or [type(e).__name__])[0][:120]


def main():
    os.makedirs(opts.folder, exist_ok=True)
    for name in opts.only.split(",") if opts.only else NETS:
        share, why = attempt(pruned, name) if opts.prune else (None, None)
        beside = "" if not opts.prune else f"  Torch-Pruning {share:4.0%}" if why is None else f"  Torch-Pruning: {why}"
        for how in opts.exports.split(","):
            exporter, *tools = how.split("+")
            raw, path = (os.path.join(opts.folder, f"{name}_{h.replace('+', '_')}.onnx") for h in (exporter, how))
            why = None if os.path.exists(raw) else attempt(export, name, exporter, raw)[1]
            if why is None and tools and not os.path.exists(path):
                why = attempt(rewrite, tools[0], raw, path)[1]
            data = os.path.join(opts.folder, os.path.basename(path).rsplit("_", 1)[0] + ".npz")
            if why is None and not os.path.exists(data):
                why = attempt(store, path, data)[1]
            report, bad = (None, why) if why else attempt(monge, "inspect", path)
            if bad:
                print(f"{name:34} {how:12} {bad}", flush=True)
                continue
            left, wrong = check(path) if opts.check else (float("nan"), [])
            print(f"{name:34} {how:12} {report['params']:>11,} narrowable {report['narrowable_share']:4.0%} {outside(report):4.0%} left {left:4.0%}{beside}", flush=True)
            for line in [f"{n:,}: {r}" for n, r in held(path, report)[:3]] + ["WRONG " + w for w in wrong]:
                print("    " + line[:160], flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="where the models are kept; those that are there are not exported again")
    parser.add_argument("--monge", default="bin/monge")
    parser.add_argument("--only", help="names, with commas between them")
    parser.add_argument("--exports", default="old,new", help="exporters, with a tool behind: new+onnxsim, old+onnxslim, new+ort")
    parser.add_argument("--check", action="store_true", help="compress and fuse each, too")
    parser.add_argument("--prune", action="store_true", help="run Torch-Pruning beside it")
    opts = parser.parse_args()
    main()
