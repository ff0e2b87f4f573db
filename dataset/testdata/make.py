"""Makes the NumPy files of this folder: python3 make.py"""
import numpy as np

x = np.arange(2 * 3 * 2 * 2, dtype=np.uint8).reshape(4, 3, 2, 1)
np.savez_compressed(
    "arrays.npz",
    input=x,
    half=(np.arange(8) / 4).astype(np.float16).reshape(4, 2),
    fortran=np.asfortranarray(np.arange(24, dtype=np.float32).reshape(4, 3, 2)),
    big=np.arange(-4, 4).astype(">i2").reshape(4, 2),
    flags=np.array([True, False, True, False]),
    scalar=np.array(16000, dtype=np.int64),
    short=np.zeros((3, 2), dtype=np.float32),
    names=np.array(["a", "b", "c", "d"]),
    labels=np.array([3, 1, 2, 0]),
)
np.savez("single.npz", pixels=x, labels=np.array([[1], [0], [1], [0]], dtype=np.uint8))
np.save("input.npy", x.astype(np.float64))
