# Compress a network and look at what was lost: a script to be run as a whole, or cell by cell in an
# editor that knows `# %%` (VS Code, Spyder, Jupytext). It needs `pip install monge-onnx numpy` and,
# once, `monge runtime install`.

# %% Images of digits, without labels for the work and with labels for the test.
import tempfile
from pathlib import Path

import numpy as np

import monge

testdata = Path(__file__).parents[1] / "testdata"
with np.load(testdata / "mnist_calib.npz") as archive:
    images = archive["input"]
with np.load(testdata / "mnist_test.npz") as archive:
    test = dict(archive)
print(f"{len(images)} images to work with, {len(test['labels'])} to test on")

# %% What can be narrowed?
model = testdata / "cnn_a.onnx"
for space in monge.run("inspect", model)["spaces"]:
    print(f"{space['name']:12} {space['width']:3} {space['reason'] or 'can be narrowed'}")

# %% Models of three quarters, half and a quarter of the multiply-accumulates. Without the
# distillation (tune=0) each takes seconds; with it they are better.
folder = Path(tempfile.mkdtemp())
models = [model]
for share in (0.75, 0.5, 0.25):
    path = folder / f"cnn_{share}.onnx"
    done = monge.compress(
        model, path, data=images, preset="mnist", macs=share, tune=0, latency=False
    )
    print(f"{path.name}: {done.before.macs:,} → {done.after.macs:,} in {done.seconds:.1f} s")
    models.append(path)

# %% Side by side.
compared = monge.eval(models, data=test, preset="mnist")
print(f"{'model':14} {'top-1':>7} {'agrees':>7} {'params':>8} {'latency':>10}")
for m in compared.models:
    agreement = "" if m.agreement is None else f"{m.agreement:.1%}"
    print(
        f"{Path(m.model).name:14} {m.top1:7.1%} {agreement:>7} {m.params:8,} {m.latency_ms:7.3f} ms"
    )
