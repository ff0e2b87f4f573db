"""Compares package ot with POT and scipy on the same matrices, in one run.

Every case is solved in turn by each solver, as often as asked for, so that all
of them see the same machine; medians are compared. Where a solution takes less
than LEAST seconds, a run is the mean over as many as fill that time, after a
first one that does not count: so all solvers are timed with warm caches and memory.
Objectives are evaluated in float64 on the same costs, and every plan of package
ot is checked against its certificate.
"""
import argparse
import json
import math
import os
import pathlib
import subprocess
import tempfile
import time
import warnings

import numpy as np
import ot
import scipy
from scipy.optimize import linear_sum_assignment

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--worker", required=True, help="the Go side")
parser.add_argument("--json", default="bench/out/ot.json", help="where to write the table as JSON")
parser.add_argument("--models", help="folder of ONNX models; pairs of equal layers become cases")
parser.add_argument("--data", help=".npz with inputs, for cases by activations of multilayer perceptrons")
parser.add_argument("--sizes", default="256,512,1024,2048,4096,8192", help="sizes of the Gaussian cases")
parser.add_argument("--cases", default="", help="only cases whose name contains one of these, comma-separated")
parser.add_argument("--reps", type=int, default=5, help="runs of each solver")
parser.add_argument("--clock", choices=("wall", "cpu"), default="wall",
                    help="cpu: processor time of the whole process, fairer on a busy machine, but it cannot show what a second thread gains")
args = parser.parse_args()
LEAST = 0.02
clock = time.perf_counter if args.clock == "wall" else time.process_time


def euclidean(x, y):
    """Distances between the rows of x and y."""
    s = (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2 * x @ y.T
    return np.sqrt(np.maximum(s, 0))


def gaussian(n, k):
    rng = np.random.default_rng(n * 10007 + k)
    return euclidean(rng.standard_normal((n, 64)), rng.standard_normal((k, 64)))


def masses(n, seed):
    m = np.random.default_rng(seed).random(n)
    return m / m.sum()


def some_zero(n, seed):
    m = masses(n, seed) * (np.arange(n) % 3 > 0)
    return m / m.sum()


def synthetic():
    """Cases as (name, function that makes the costs and, if not uniform, the masses)."""
    sizes = [int(s) for s in args.sizes.split(",")]
    for n in sizes:
        yield f"gaussian {n}", lambda n=n: (gaussian(n, n), None, None)
    for n, k in ((2048, 1024), (1024, 2048), (4096, 3072), (1000, 999)):
        yield f"gaussian {n}x{k}", lambda n=n, k=k: (gaussian(n, k), None, None)
    for n in sizes:
        if 1024 <= n <= 4096:
            yield f"gaussian {n} masses", lambda n=n: (gaussian(n, n), masses(n, 1), masses(n, 2))
    yield "gaussian 2048x512 masses", lambda: (gaussian(2048, 512), masses(2048, 1), masses(512, 2))
    yield "gaussian 1024 zero masses", lambda: (gaussian(1024, 1024), some_zero(1024, 1), some_zero(1024, 2))
    yield "1x4096", lambda: (gaussian(1, 4096), None, None)
    yield "digits 1024 (ties)", lambda: (np.random.default_rng(0).integers(0, 10, (1024, 1024)).astype(float), None, None)
    yield "digits 1024 masses (ties)", lambda: (
        np.random.default_rng(0).integers(0, 10, (1024, 1024)).astype(float), masses(1024, 1), masses(1024, 2))
    yield "random 1024", lambda: (np.random.default_rng(0).random((1024, 1024)), None, None)
    yield "gaussian 512 * 1e-9", lambda: (gaussian(512, 512) * 1e-9, None, None)
    yield "gaussian 512 * 1e9", lambda: (gaussian(512, 512) * 1e9, None, None)
    yield "points on a line 1024", lambda: (
        np.abs(np.arange(1024.0)[:, None] - 1.7 * np.arange(1024.0)[None]), None, None)
    i, j = np.arange(1024.0)[:, None], np.arange(1024.0)[None]
    yield "squares on a line 1024", lambda: ((i - 2 * j) ** 2, None, None)
    yield "logarithms 1024", lambda: (np.log(1 + i + j), None, None)
    yield "minima 1024", lambda: (np.minimum(i, j), None, None)
    for n, k in ((1024, 700), (700, 1024)):
        i, j = np.arange(float(n))[:, None], np.arange(float(k))[None]
        for name, c in (("points on a line", np.abs(i - 1.7 * j)), ("squares on a line", (i - 2 * j) ** 2),
                        ("logarithms", np.log(1 + i + j)), ("minima", np.minimum(i, j)), ("products", (1 + i) * (1 + j))):
            yield f"{name} {n}x{k}", lambda c=c: (c, None, None)
    i, j = np.arange(1024.0)[:, None], np.arange(1024.0)[None]
    yield "products 1024 masses", lambda: ((1 + i) * (1 + j), masses(1024, 1), masses(1024, 2))
    yield "products 512 (Machol-Wien)", lambda: (np.outer(np.arange(1.0, 513), np.arange(1.0, 513)), None, None)


def layers(path):
    """Weights of an ONNX model as (name, matrix with a row per output channel)."""
    import onnx
    from onnx import numpy_helper
    model = onnx.load(str(path))
    weights = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or len(node.input) < 2 or node.input[1] not in weights:
            continue
        w = weights[node.input[1]]
        transposed = node.op_type == "MatMul" or node.op_type == "Gemm" and not any(
            a.name == "transB" and a.i for a in node.attribute)
        yield f"layer {node.input[1]}", (w.T if transposed else w.reshape(w.shape[0], -1))


def activations(path, inputs):
    """Values before the nonlinearity, a row per channel, of a chain of linear layers and Relu."""
    x = inputs
    for name, w in layers(path):
        if x.shape[1] != w.shape[1]:
            return
        x = x @ w.T
        yield name, x.T
        x = np.maximum(x, 0)


def real():
    """Cases between layers of every two models of a folder that compare."""
    if not args.models:
        return
    files = sorted(pathlib.Path(args.models).rglob("*.onnx"))
    inputs = None
    if args.data:
        inputs = np.load(args.data)["input"].astype(np.float64)
        inputs = (inputs.reshape(len(inputs), -1) / 255 - 0.1307) / 0.3081
    for first, second in zip(files, files[1:]):
        if first.parent != second.parent:
            continue
        kinds = [("weights", dict(layers(first)), dict(layers(second)))]
        if inputs is not None:
            kinds.append(("activations", dict(activations(first, inputs)), dict(activations(second, inputs))))
        for kind, one, two in kinds:
            for name in one.keys() & two.keys():
                x, y = one[name], two[name]
                if x.shape[1] == y.shape[1] and min(len(x), len(y)) >= 64:
                    yield f"{first.stem}/{second.stem} {name} {kind}", lambda x=x, y=y: (euclidean(x, y), None, None)


def memory(key):
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    return 0


def measured(solve, number):
    """Runs solve so many times and returns (mean seconds, peak bytes, last result)."""
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass
    before = memory("VmRSS")
    start = clock()
    for _ in range(number):
        result = solve()
    return (clock() - start) / number, memory("VmHWM") - before, result


def run_pot(number, c, a, b):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seconds, peak, plan = measured(lambda: ot.emd(a, b, c, numItermax=10**8), number)
    i, j = np.nonzero(plan)
    return seconds, peak, math.fsum(plan[i, j] * c[i, j])


def run_scipy(number, c):
    seconds, peak, (i, j) = measured(lambda: linear_sum_assignment(c), number)
    return seconds, peak, math.fsum(c[i, j]) / len(c)


class Worker:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, **request):
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise SystemExit(f"bench/ot: {answer['error']}")
        return answer["seconds" if args.clock == "wall" else "cpu_seconds"], answer["peak_bytes"], answer["objective"]


def run_case(name, make, worker, folder):
    c, a, b = make()
    c = np.ascontiguousarray(c, dtype=np.float64)
    n, k = c.shape
    request = {"Costs": f"{folder}/{abs(hash(name))}.f64", "N": n, "K": k}
    c.tofile(request["Costs"])
    for key, m in (("A", a), ("B", b)):
        if m is not None:
            request[key] = f"{folder}/{key}.f64"
            m.tofile(request[key])
    full_a = np.full(n, 1 / n) if a is None else a
    full_b = np.full(k, 1 / k) if b is None else b
    solvers = {
        "go": lambda number: worker.run(**request, Number=number, Threads=1, Certify=True),
        "go_2_threads": lambda number: worker.run(**request, Number=number, Threads=2),
        "go_portable": lambda number: worker.run(**request, Number=number, Threads=1, Portable=True),
        "pot": lambda number: run_pot(number, c, full_a, full_b),
    }
    if n == k and a is None and b is None:
        solvers["scipy"] = lambda number: run_scipy(number, c)
    runs = {s: [solve(1)] for s, solve in solvers.items()}
    peak = {s: r[0][1] for s, r in runs.items()}
    number = {s: math.ceil(LEAST / r[0][0]) for s, r in runs.items()}
    for s in solvers:
        if number[s] > 1:
            runs[s].clear()
    for _ in range(args.reps):
        for s, solve in solvers.items():
            if len(runs[s]) < args.reps:
                runs[s].append(solve(number[s]))
    os.remove(request["Costs"])
    row = {"case": name, "n": n, "k": k}
    for s, r in runs.items():
        row[f"{s}_seconds"] = float(np.median([x[0] for x in r]))
        row[f"{s}_peak_bytes"] = peak[s]
        row[f"{s}_objective"] = r[0][2]
    for s in ("pot", "scipy"):
        if s in runs:
            row[f"{s}_ratio"] = row[f"{s}_seconds"] / row["go_seconds"]
            row[f"{s}_ratio_portable"] = row[f"{s}_seconds"] / row["go_portable_seconds"]
    row["difference"] = row["go_objective"] - row["pot_objective"]
    row["allowed"] = 1e-9 * max(abs(row["pot_objective"]), full_a.sum() * np.abs(c).max() * 1e-6)
    row["equal"] = bool(abs(row["difference"]) <= row["allowed"])
    return row


def show(rows):
    print(f"POT {ot.__version__}, scipy {scipy.__version__}, median of {args.reps} runs ({args.clock} time), all with one thread unless stated;"
          " MB: peak memory above that of the costs")
    head = ("case", "go s", "2 threads", "portable", "POT s", "scipy s", "POT/go", "scipy/go", "scipy/portable",
            "objective - POT's", "equal", "go MB", "POT MB", "scipy MB")
    table = [head]
    for r in rows:
        def number(key, form="{:.4f}", scale=1.0):
            return form.format(r[key] * scale) if key in r else ""
        table.append((
            r["case"], number("go_seconds"), number("go_2_threads_seconds"), number("go_portable_seconds"),
            number("pot_seconds"), number("scipy_seconds"), number("pot_ratio", "{:.1f}"), number("scipy_ratio", "{:.1f}"),
            number("scipy_ratio_portable", "{:.1f}"), number("difference", "{:.1e}"), "yes" if r["equal"] else "NO",
            number("go_peak_bytes", "{:.1f}", 1e-6), number("pot_peak_bytes", "{:.1f}", 1e-6),
            number("scipy_peak_bytes", "{:.1f}", 1e-6)))
    widths = [max(len(row[x]) for row in table) for x in range(len(head))]
    for row in table:
        print("  ".join(cell.ljust(w) if x == 0 else cell.rjust(w) for x, (cell, w) in enumerate(zip(row, widths))))


def main():
    wanted = [w for w in args.cases.split(",") if w]
    worker = Worker(args.worker)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in list(synthetic()) + list(real()):
            if not wanted or any(w in name for w in wanted):
                rows.append(run_case(name, make, worker, folder))
                print(".", end="", flush=True)
    print()
    show(rows)
    pathlib.Path(args.json).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(args.json).write_text(json.dumps({
        "pot": ot.__version__, "scipy": scipy.__version__, "reps": args.reps, "clock": args.clock, "rows": rows}, indent=1) + "\n")
    if not all(r["equal"] for r in rows):
        raise SystemExit("bench/ot: objectives differ")


main()
