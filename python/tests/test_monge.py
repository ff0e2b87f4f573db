"""Tests of the installed package, run by `make wheel-test` in an environment without Go."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import monge
from monge import _options, _program, _results

TESTDATA = Path(__file__).parents[2] / "testdata"
MLP_A, MLP_B = TESTDATA / "mlp_a.onnx", TESTDATA / "mlp_b.onnx"
MNIST: dict[str, Any] = {"scale": 1 / 255, "mean": 0.1307, "std": 0.3081}


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(TESTDATA / name) as archive:
        return dict(archive)


def extras(value: object, path: str = "") -> list[str]:
    """Names of the JSON that no dataclass knows."""
    if isinstance(value, list):
        return [e for v in value for e in extras(v, path + "[]")]
    if not dataclasses.is_dataclass(value):
        return []
    found = [f"{path}.{name}" for name in value.extra]  # type: ignore[attr-defined]
    for f in dataclasses.fields(value):
        if f.name != "extra":
            found += extras(getattr(value, f.name), f"{path}.{f.name}")
    return found


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "out.onnx"


class TestPackage(Case):
    def test_no_go(self) -> None:
        self.assertIsNone(shutil.which("go"))

    def test_not_the_checkout(self) -> None:
        self.assertNotIn(Path(__file__).parents[1], Path(monge.__file__).parents)

    def test_command_on_the_path(self) -> None:
        command = shutil.which("monge", path=str(Path(sys.executable).parent))
        assert command is not None
        done = subprocess.run([command, "version"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith("monge "), done.stdout)
        wrong = subprocess.run([command, "compres"], capture_output=True, text=True)
        self.assertEqual(wrong.returncode, 2)

    def test_module(self) -> None:
        done = subprocess.run([sys.executable, "-m", "monge", "version"], capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_version_is_the_programs(self) -> None:
        program = monge.run("version")["version"].replace("-dev+", ".dev0+")
        self.assertEqual(metadata.version("monge-onnx"), program)

    def test_typed(self) -> None:
        self.assertTrue((Path(monge.__file__).parent / "py.typed").exists())


class TestCompress(Case):
    def test_weights_alone(self) -> None:
        done = monge.compress(MLP_A, self.out, data="none", keep=0.5)
        self.assertEqual(done.output, str(self.out))
        self.assertTrue(self.out.exists())
        self.assertLess(done.after.params, done.before.params)
        self.assertEqual(done.spaces[0].after * 2, done.spaces[0].before)
        self.assertIsNone(done.refit)
        self.assertEqual(extras(done), [])

    def test_array(self) -> None:
        images = arrays("mnist_calib.npz")["input"]
        done = monge.compress(MLP_A, self.out, data=images, keep=0.5, tune=1, latency=False, **MNIST)
        assert done.refit and done.tune and done.evaluation
        self.assertEqual(done.split["fit"].samples + done.split["judge"].samples, len(images))
        self.assertGreater(done.evaluation.after.agreement or 0, 0.8)
        self.assertIsNone(done.evaluation.after.latency_ms)
        self.assertEqual(extras(done), [])

    def test_same_as_the_file(self) -> None:
        """Arrays are handed over as they are."""
        options: dict[str, Any] = {"macs": 0.5, "tune": 0, "latency": False, "threads": 1, **MNIST}
        other = self.folder / "other.onnx"
        from_file = monge.compress(MLP_A, self.out, data=TESTDATA / "mnist_calib.npz", **options)
        from_arrays = monge.compress(MLP_A, other, data=arrays("mnist_calib.npz"), **options)
        self.assertEqual(from_file.spaces, from_arrays.spaces)
        self.assertEqual(from_file.evaluation.after, from_arrays.evaluation.after)

    def test_dry_run(self) -> None:
        done = monge.compress(MLP_A, data="none", keep=0.5, dry_run=True)
        self.assertIsNone(done.output)
        self.assertEqual(done.spaces[0].after * 2, done.spaces[0].before)

    def test_exclude(self) -> None:
        done = monge.compress(MLP_A, self.out, data="none", keep=0.5, exclude=["/fc1/*", "/fc3/*"])
        self.assertEqual(done.spaces[0].after, done.spaces[0].before)
        self.assertLess(done.spaces[1].after, done.spaces[1].before)

    def test_data_are_removed(self) -> None:
        images = arrays("mnist_calib.npz")["input"]
        with _options.flags({"data": images}) as flags:
            path = Path(flags[0].removeprefix("--data="))
            self.assertTrue(path.exists())
        self.assertFalse(path.parent.exists())


class TestFuse(Case):
    def test_arrays(self) -> None:
        done = monge.fuse(
            [MLP_A, MLP_B], self.out, data=arrays("mnist_calib.npz"), tune=0, weights=[0.25, 0.75],
            **MNIST,
        )
        self.assertEqual([m.weight for m in done.models], [0.25, 0.75])
        self.assertEqual([m.model for m in done.models], [str(MLP_A), str(MLP_B)])
        self.assertEqual(done.result.params, done.models[1].params)
        self.assertEqual(extras(done), [])

    def test_from_is_a_word_of_python(self) -> None:
        space = _results.decode(
            _results.FusedSpace, {"name": "s", "width": 3, "widths": [3, 3], "from": [1, 2]}
        )
        self.assertEqual(space.from_, [1, 2])


class TestEval(Case):
    def test_labels(self) -> None:
        done = monge.eval([MLP_A, MLP_B], data=arrays("mnist_test.npz"), latency=False, **MNIST)
        first, second = done.models
        self.assertGreater(first.top1 or 0, 0.95)
        self.assertIsNone(first.agreement)
        self.assertGreater(second.agreement or 0, 0.9)
        self.assertEqual(done.tasks[0].task, "classify")
        self.assertEqual(extras(done), [])

    def test_one_path_and_task(self) -> None:
        done = monge.eval(
            MLP_A, data=arrays("mnist_test.npz"), limit=50, task={"logits": "regress"}, **MNIST
        )
        self.assertEqual(done.tasks[0].task, "regress")
        self.assertGreater(done.models[0].latency_ms or 0, 0)
        self.assertEqual(done.samples, 50)


class TestErrors(Case):
    def test_one_line(self) -> None:
        with self.assertRaises(monge.MongeError) as caught:
            monge.compress(self.folder / "absent.onnx", self.out, keep=0.5)
        self.assertNotIsInstance(caught.exception, monge.UsageError)
        self.assertEqual(caught.exception.exit_code, 1)
        self.assertIn("absent.onnx", str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))
        self.assertFalse(self.out.exists())

    def test_unknown_option(self) -> None:
        with self.assertRaises(monge.UsageError) as caught:
            monge.compress(MLP_A, self.out, keeep=0.5)  # type: ignore[call-arg]
        self.assertEqual(caught.exception.exit_code, 2)
        self.assertIn("--keeep", str(caught.exception))

    def test_no_budget(self) -> None:
        with self.assertRaises(monge.UsageError) as caught:
            monge.compress(MLP_A, self.out, data=TESTDATA / "mnist_calib.npz", time="1ms", **MNIST)
        self.assertTrue(str(caught.exception).startswith("no budget is given"), str(caught.exception))

    def test_values_are_no_flags(self) -> None:
        with self.assertRaises(monge.MongeError) as caught:
            monge.compress("--help", self.out, keep=0.5)
        self.assertIn("--help", str(caught.exception))

    def test_objects_are_not_pickled(self) -> None:
        with self.assertRaises(ValueError):
            monge.compress(MLP_A, self.out, data=np.array([{}]), keep=0.5)

    def test_warnings(self) -> None:
        few = arrays("mnist_calib.npz")["input"][:8]
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            done = monge.compress(MLP_A, self.out, data=few, keep=0.5, tune=0, **MNIST)
        self.assertGreater(len(done.warnings), 0)
        self.assertEqual([str(w.message) for w in said], done.warnings)
        self.assertTrue(all(w.category is monge.MongeWarning for w in said))
        self.assertEqual(said[0].filename, __file__)


@unittest.skipIf(os.name == "nt", "signals")
class TestInterrupt(Case):
    def test_distillation_ends_with_its_result(self) -> None:
        # A shell has programs in the background ignore it.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)

        def interrupt() -> None:
            time.sleep(8)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        images = arrays("mnist_calib.npz")["input"]
        try:
            done = monge.compress(
                MLP_A, self.out, data=images, keep=0.5, tune=100_000, time=90, latency=False,
                **MNIST,
            )
        except KeyboardInterrupt:  # before the distillation had begun
            self.assertFalse(self.out.exists())
            return
        assert done.tune
        self.assertEqual(done.tune.ended, "interrupted")
        self.assertTrue(self.out.exists())


class TestDecode(unittest.TestCase):
    def test_unknown_names_are_kept(self) -> None:
        size = _results.decode(_results.Size, {"params": 1, "macs": 2, "joules": 3})
        self.assertEqual((size.params, size.macs, size.extra), (1, 2, {"joules": 3}))

    def test_null(self) -> None:
        judged = _results.decode(
            _results.Judged, {"model": "m", "params": 1, "agreement": None, "outputs": None}
        )
        self.assertIsNone(judged.agreement)
        self.assertEqual(judged.outputs, [])


class TestFlags(unittest.TestCase):
    def test_values(self) -> None:
        options: dict[str, Any] = {
            "max_drop": 0.01, "bgr": True, "lossless": False, "refit": False, "time": 90,
            "mean": (0.5, 0.25), "classes": ["a", "b"], "into": Path("x"), "keep": None,
            "input_shape": {"i": (1, 3)}, "task": {"a": "embed"}, "exclude": "l*", "latency": True,
            "size": 5_000_000, "memory": "2GB",
        }  # fmt: skip
        with _options.flags(options) as flags:
            self.assertEqual(
                flags,
                [
                    "--max-drop=0.01", "--bgr=true", "--lossless=false", "--refit=off",
                    "--time=90.0s", "--mean=0.5,0.25", "--classes=a,b", "--into=x",
                    "--input-shape=i=1x3", "--task=a=embed", "--exclude=l*", "--no-latency=false",
                    "--size=5000000", "--memory=2GB",
                ],
            )  # fmt: skip

    def test_latency_is_a_budget_or_a_switch(self) -> None:
        for value, flag in [(0.5, "--latency=0.5"), ("8ms", "--latency=8ms"), (False, "--no-latency=true")]:
            with _options.flags({"latency": value}) as flags:
                self.assertEqual(flags, [flag])

    def test_the_program_takes_them(self) -> None:
        """Every option is a flag of its command."""
        commands = {
            "compress": _options.CompressOptions,
            "fuse": _options.FuseOptions,
            "eval": _options.EvalOptions,
            "explore": _options.ExploreOptions,
            "sensitivity": _options.SensitivityOptions,
            "latency": _options.LatencyOptions,
        }
        for command, options in commands.items():
            help = subprocess.run(
                [_program.PROGRAM, command, "--help"], capture_output=True, text=True, check=True
            ).stdout
            for name in options.__annotations__:  # of a TypedDict, with those that it inherits
                flag = "--no-latency" if name == "latency" else "--" + name.replace("_", "-")
                self.assertRegex(help, rf"{flag}\b", f"{command} {name}")


if __name__ == "__main__":
    unittest.main()
