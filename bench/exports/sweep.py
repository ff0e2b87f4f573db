"""Export architectures with random weights in several ways, and check what monge makes of them. See README.md."""
import argparse
import contextlib
import io
import json
import os
import re
import subprocess
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import onnx
import onnxruntime as ort

warnings.filterwarnings("ignore")
ort.set_default_logger_severity(4)

ALL = "old,new,old+onnxsim,new+onnxsim,old+onnxslim,new+onnxslim,old+ort,new+ort"


# What needs PyTorch: run in a process of its own for each architecture, a copy of this one, which has read the packages.

def made(name):
    import torch
    from nets import NETS
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, args = NETS[name]()
    for key, p in model.named_parameters():  # zeros before training would be removed without loss
        if key.endswith(("weight", "gamma", "scale")) and not p.detach().any():
            torch.nn.init.uniform_(p, 0.5, 1.5)
    return model.eval(), args


def export(name, how, path):
    """Writes an architecture with an open batch, by the exporter of TorchScript (old) or of torch.export (new)."""
    import torch
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


def pruned(name):
    """The share of parameters that Torch-Pruning leaves of the module at a ratio of one half."""
    import torch
    import torch_pruning as tp
    model, args = made(name)
    before = sum(p.numel() for p in model.parameters())
    last = [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1:]
    tp.pruner.MetaPruner(model, args if len(args) > 1 else args[0], importance=tp.importance.MagnitudeImportance(), pruning_ratio=0.5, ignored_layers=last).step()
    left = sum(p.numel() for p in model.parameters()) / before
    with torch.no_grad():
        _, broken = attempt(model, *args)
    return f"{left:.0%}, does not run" if broken else left


def make(name):
    """Exports one architecture in all the ways that are not there, and prunes it, each noted in NAME.made.json."""
    notes = noted(name)

    def note(what, f, *args):
        notes[what] = "crashed"  # if nothing overwrites it
        save(name, notes)
        value, why = attempt(f, *args)
        notes[what] = why or value or ""
        save(name, notes)

    for how in wanted(name, notes):
        exporter, *tools = how.split("+")
        if how == "Torch-Pruning":
            note(how, pruned, name)
        elif not tools:
            note(how, export, name, how, place(name, how))
            if not notes[how] and not os.path.exists(os.path.join(opts.folder, name + ".npz")):
                attempt(store, place(name, how), os.path.join(opts.folder, name + ".npz"))
        elif notes.get(exporter):
            notes[how] = f"no export: {notes[exporter]}"
            save(name, notes)
        else:
            note(how, rewrite, tools[0], place(name, exporter), place(name, how))


def wanted(name, notes):
    return [h for h in opts.exports.split(",") + ["Torch-Pruning"] * opts.prune if h not in notes]


def noted(name):
    with contextlib.suppress(FileNotFoundError):
        with open(os.path.join(opts.folder, name + ".made.json")) as f:
            return json.load(f)
    return {}


def save(name, notes):
    with open(os.path.join(opts.folder, name + ".made.json"), "w") as f:
        json.dump(notes, f, indent=1)


def place(name, how):
    return os.path.join(opts.folder, f"{name}_{how.replace('+', '-')}.onnx")


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


# What does not.

def inputs(session, batch):
    rng, feeds = np.random.default_rng(0), {}
    for i in session.get_inputs():
        shape = [d if isinstance(d, int) else batch if k == 0 else 12 for k, d in enumerate(i.shape)]
        if i.type == "tensor(float)":
            feeds[i.name] = rng.standard_normal(shape).astype(np.float32)
        else:
            feeds[i.name] = rng.integers(1, 40, shape).astype(np.int32 if i.type == "tensor(int32)" else np.int64)
    return feeds


def session(path):
    o = ort.SessionOptions()
    o.intra_op_num_threads = 1
    return ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])


def outputs(path, batch):
    s = session(path)
    return s.run(None, inputs(s, batch))


def store(path, out):
    """Writes inputs of a model for bench/families."""
    np.savez(out, **inputs(session(path), 32))


def run(*args):
    p = subprocess.run(args, capture_output=True, text=True, timeout=opts.timeout)
    if p.returncode and "families" not in args[0]:
        raise RuntimeError((p.stderr.strip().splitlines() or [f"exit {p.returncode}"])[-1])
    return p.stdout


def monge(*args):
    return json.loads(run(opts.monge, *args, "--json"))


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


def halve(path, row):
    """Halves a model and says what is left of it, and what is wrong with what was written."""
    half = os.path.join(opts.folder, f"half-{os.getpid()}.tmp")
    try:
        r = monge("compress", path, "-o", half, "--force", "--keep", "0.5", "--data", "none")
        row["left"] = r["after"]["params"] / r["before"]["params"]
        onnx.checker.check_model(half, full_check=True)
        for batch in (1, 3):
            if not all(np.isfinite(y).all() for y in outputs(half, batch)):
                row["wrong"].append(f"the half is not finite at batch {batch}")
    except Exception as e:
        row["wrong"].append(f"half: {e}"[:400])
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(half)


def families(path, *flags):
    """What bench/families finds wrong with a model."""
    name = os.path.basename(path)[: -len(".onnx")]
    out = run(opts.families, *flags, opts.folder, name).splitlines()
    head = out[0].index("failures")
    said = [line[head:].strip() for line in out[1:] if line.startswith(name)] or ["families printed nothing"]
    return ([w for w in said[0].split("; ") if w], out[1][: head].split())


def row(name, how):
    """Everything that is to be said of one export."""
    path, row = place(name, how), {"name": name, "form": how, "wrong": []}
    if noted(name).get(how):
        return {**row, "export": noted(name)[how]}
    y, bad = attempt(outputs, path, 3)
    if bad:
        return {**row, "export": "does not run: " + bad}
    if not all(np.isfinite(x).all() for x in y):
        return {**row, "export": "is not finite on random inputs"}
    report, bad = attempt(monge, "inspect", path)
    if bad:
        return {**row, "wrong": ["inspect: " + bad]}
    row.update(params=report["params"], narrowable=report["narrowable_share"], outside=outside(report), held=held(path, report)[:3])
    if opts.check:
        halve(path, row)
        for flags in [["-fuse"]] + [["-data=false"]] * opts.identities:
            try:
                row["wrong"] += families(path, *flags)[0]
            except Exception as e:
                row["wrong"].append(f"families {flags[0]}: {e}"[:200])
    return row


def attempt(f, *args):
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # exporters and tools say much
            return f(*args), None
    except Exception as e:
        return None, (str(e).strip().splitlines() or [type(e).__name__])[0][:200]


def results():
    """The rows that are there, the last one of each export."""
    rows = {}
    with contextlib.suppress(FileNotFoundError):
        with open(os.path.join(opts.folder, "results.jsonl")) as f:
            for line in f:
                r = json.loads(line)
                rows[r["name"], r["form"]] = r
    return rows


def apart(f, *args):
    """Calls a function in a copy of this process, which says nothing."""
    import nets  # noqa: F401  once, before it is copied
    if pid := os.fork():
        os.waitpid(pid, 0)
        return
    for n in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), n)
    try:
        f(*args)
    finally:
        os._exit(0)


def names():
    if opts.only:
        return opts.only.split(",")
    from nets import NETS
    return list(NETS)


def main():
    if opts.table:
        return table()
    if opts.before:
        return compare()
    os.makedirs(opts.folder, exist_ok=True)
    for name in names():
        done = {} if opts.again else results()
        for _ in range(10):  # a crash in one export leaves the others to be made
            if not wanted(name, noted(name)):
                break
            apart(make, name)
        for how in opts.exports.split(",") if not opts.export_only else ():
            if (name, how) in done:
                continue
            r = row(name, how)
            with open(os.path.join(opts.folder, "results.jsonl"), "a") as f:
                f.write(json.dumps(r) + "\n")
            show(r)


def compare():
    """Adds to the rows what an older build of monge says can be narrowed."""
    for (name, how), r in results().items():
        if "export" in r or "before" in r:
            continue
        report, bad = attempt(lambda: json.loads(run(opts.before, "inspect", place(name, how), "--json")))
        r["before"] = 0 if bad else outside(report)
        with open(os.path.join(opts.folder, "results.jsonl"), "a") as f:
            f.write(json.dumps(r) + "\n")


def table():
    """Prints the rows of README.md: one for each architecture, from what results.jsonl holds."""
    rows = results()
    print("| architecture | parameters | before | narrowable | left | Torch-Pruning | passed | what did not |")
    print("|---|---|---|---|---|---|---|---|")
    for name in sorted({n for n, _ in rows}):
        of = [rows[name, f] for f in ALL.split(",") if (name, f) in rows]
        made = [r for r in of if "export" not in r]
        if not made:
            print(f"| {name} | | | | | | | no export: {of[0]['export'][:60]} |")
            continue
        share = noted(name).get("Torch-Pruning", "")
        passed = [r["form"] for r in made if r.get("left") and not r["wrong"]]
        whys = {}
        for r in of:
            for w in r["wrong"] + (["no export"] if "export" in r else []):
                whys.setdefault(re.split(r' (?:[A-Z]\w* )?"', re.sub(r"(\S*\.onnx:? |monge: |the models differ: )", "", w))[0][:90].strip(" :"), []).append(r["form"])
        spread = lambda key: "–".join(dict.fromkeys(f"{100 * x:.0f}" for x in (f([r[key] for r in made if key in r], default=0) for f in (min, max))))
        print(f"| {name} | {made[-1].get('params', 0):,} | {spread('before')} | {spread('outside')} | {spread('left')} | {share if isinstance(share, str) and share[:1].isdigit() else '–' if isinstance(share, str) else format(100 * share, '.0f')} "
              f"| {len(passed)} of {len(of)} | {'; '.join(f'{w} ({chr(44).join(fs)})' for w, fs in whys.items())} |")


def show(r):
    if "export" in r:
        print(f"{r['name']:34} {r['form']:12} no export: {r['export']}", flush=True)
        return
    share = noted(r["name"]).get("Torch-Pruning", "")
    print(f"{r['name']:34} {r['form']:12} {r.get('params', 0):>11,} narrowable {r.get('narrowable', 0):4.0%} {r.get('outside', 0):4.0%} left {r.get('left', float('nan')):4.0%}  "
          f"Torch-Pruning {share if isinstance(share, str) else format(share, '4.0%')}", flush=True)
    for line in [f"{n:,}: {why}" for n, why in r.get("held", [])] + ["WRONG " + w for w in r["wrong"]]:
        print("    " + line[:300], flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="where the models are kept, and a line for each in results.jsonl; what is there is not done again")
    parser.add_argument("--monge", default="bin/monge")
    parser.add_argument("--families", default="bin/families", help="the program of bench/families, for --check")
    parser.add_argument("--only", help="names, with commas between them")
    parser.add_argument("--exports", default="old,new", help=f"exporters, with a tool behind: {ALL}")
    parser.add_argument("--check", action="store_true", help="compress and fuse each, too")
    parser.add_argument("--identities", action="store_true", help="with --check: edit every space in ways that change nothing, too")
    parser.add_argument("--prune", action="store_true", help="run Torch-Pruning beside it")
    parser.add_argument("--again", action="store_true", help="do rows that are there again")
    parser.add_argument("--export-only", action="store_true", help="write the models, and check nothing")
    parser.add_argument("--table", action="store_true", help="print the table of README.md from what is there, and do nothing else")
    parser.add_argument("--before", metavar="MONGE", help="an older build: add to the rows that are there what it says can be narrowed, and do nothing else")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each run of monge")
    opts = parser.parse_args()
    if opts.exports == "all":
        opts.exports = ALL
    main()
