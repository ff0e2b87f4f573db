"""Model fusion via optimal transport (Singh & Jaggi, NeurIPS 2020) for multilayer
perceptrons, in NumPy with POT's exact solver. Written from the paper to be compared
with; shares no code with the Go packages.

A network is a list of layers (W [out, in], b [out] or None), ReLU between them.
"""
import json

import numpy as np
import onnx
import ot
from onnx import numpy_helper

# What the authors' code adds to a marginal before dividing by it.
EPSILON = 1e-7


def load(path):
    """Read an MLP exported as Gemm (transB=1) or MatMul nodes, in float64."""
    graph = onnx.load(path).graph
    tensors = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in graph.initializer}
    net = []
    for node in graph.node:
        if node.op_type == "Gemm":
            net.append((tensors[node.input[1]], tensors[node.input[2]]))
        elif node.op_type == "MatMul":
            net.append((tensors[node.input[1]].T, None))
    return net


def preactivations(net, x):
    """Every layer's outputs before ReLU, [samples, out] each."""
    out = []
    for w, b in net:
        z = x @ w.T + (0 if b is None else b)
        out.append(z)
        x = np.maximum(z, 0)
    return out


def cost(p, q):
    """Euclidean distances (not squared) between the rows of p and of q."""
    return np.sqrt(np.maximum((p * p).sum(1)[:, None] + (q * q).sum(1)[None] - 2 * p @ q.T, 0))


def plan(c):
    """Exact transport plan for uniform masses."""
    n, k = c.shape
    return ot.emd(np.full(n, 1 / n), np.full(k, 1 / k), c)


def fuse(source, target, x=None, share=0.5, scaling="mean", transport_outputs=False):
    """Move source onto target's neurons and average: (1-share)*moved + share*target.

    Costs come from the weights (incoming weights with the bias as one more column), or,
    when samples x [samples, in] are given, from the pre-activations. With scaling "mean"
    a layer's inputs are moved by the plan with columns summing to one, as in the paper;
    with "sum" by the plan with rows summing to one. transport_outputs gives the network's
    outputs a plan of their own, as the authors' code does; otherwise they stay in place.

    Returns the fused network, and for each layer (cost matrix, plan).
    """
    zs, zt = (preactivations(net, x) if x is not None else None for net in (source, target))
    moved_in, fused, plans = None, [], []
    for l, ((ws, bs), (wt, bt)) in enumerate(zip(source, target)):
        aligned = ws if moved_in is None else ws @ moved_in
        if x is not None:
            c = cost(zs[l].T, zt[l].T)
        elif bs is None:
            c = cost(aligned, wt)
        else:
            c = cost(np.column_stack([aligned, bs]), np.column_stack([wt, bt]))
        t = plan(c)
        plans.append((c, t))
        if l == len(source) - 1 and not transport_outputs:
            columns = np.eye(len(wt))
        else:
            columns = t / (1 / t.shape[1] + EPSILON)
        w = (1 - share) * (columns.T @ aligned) + share * wt
        b = None if bs is None else (1 - share) * (columns.T @ bs) + share * bt
        fused.append((w, b))
        moved_in = columns if scaling == "mean" else t * len(t)
    return fused, plans


def targets(t):
    """For a plan that sends every source to one target: that target, for each source."""
    assert ((t > 1e-12).sum(1) == 1).all(), "a source is split"
    return t.argmax(1)


def summary(net):
    """A few numbers per tensor: shape, Frobenius norm, and some entries (index, value)."""
    rng = np.random.default_rng(0)
    out = []
    for l, (w, b) in enumerate(net):
        for kind, t in (("weight", w), ("bias", b)):
            if t is None:
                continue
            probes = [[int(rng.integers(s)) for s in t.shape] for _ in range(8)]
            out.append({"layer": l + 1, "kind": kind, "shape": list(t.shape), "norm": float(np.linalg.norm(t)),
                        "probes": [{"index": i, "value": float(t[tuple(i)])} for i in probes]})
    return out


def write(path, result):
    """Write JSON with a line for each case, plan and tensor."""
    text = json.dumps(result)
    for mark in (', "parents"', ', "cases"', ', "plans"', ', "outputs_keep_order"', ', "tensors"'):
        text = text.replace(mark, ",\n " + mark[2:])
    for mark in ('{"source"', '{"to"', '{"layer"'):
        text = text.replace(mark, "\n" + mark)
    with open(path, "w") as f:
        f.write(text + "\n")
