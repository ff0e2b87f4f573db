"""Write mnist_test.npz (1,000 labelled test images) and mnist_calib.npz (500 unlabelled training images)."""
import os

import numpy as np

import mnist

out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
x, y = mnist.load("t10k")
pick = np.sort(np.random.default_rng(0).permutation(len(x))[:1000])
np.savez_compressed(os.path.join(out, "mnist_test.npz"), input=x[pick], labels=y[pick])
x, _ = mnist.load("train")
pick = np.random.default_rng(1).permutation(len(x))[:500]
np.savez_compressed(os.path.join(out, "mnist_calib.npz"), input=x[pick])
