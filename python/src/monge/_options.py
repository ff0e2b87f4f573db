"""Options of the commands, and how they become flags."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Union

if TYPE_CHECKING:
    import numpy.typing as npt

    Path_ = Union[str, os.PathLike[str]]
    #: A data set: a path, an array for a model with one input, or arrays by the names of the
    #: inputs, with labels, if there are any, as ``labels``. The first axis is the sample.
    #: "none" is to work without data.
    Data = Union[Path_, npt.NDArray[Any], Mapping[str, npt.NDArray[Any]]]
    Numbers = Union[float, Sequence[float]]
    #: One task for all outputs, or tasks by the names of outputs.
    Tasks = Union[
        Literal["classify", "regress", "embed"],
        Mapping[str, Literal["classify", "regress", "embed"]],
    ]


class GeneralOptions(TypedDict, total=False):
    threads: int
    task: Tasks


class DataOptions(GeneralOptions, total=False):
    preset: Literal["-1..1", "0..1", "cifar10", "imagenet", "mnist"]
    scale: float
    mean: Numbers
    std: Numbers
    layout: Literal["nchw", "nhwc"]
    resize: int
    crop: int
    bgr: bool
    auto_orient: bool
    classes: Path_ | Sequence[str]
    limit: int
    drop_bad: bool
    seed: int
    batch: int
    input_shape: Mapping[str, Sequence[int]]


class WorkOptions(DataOptions, total=False):
    report: Path_
    force: bool
    dry_run: bool
    lossless: bool
    refit: bool
    refit_samples: int
    tune: int
    time: float | str  # seconds, or a number with a unit, as in 10m
    memory: int | str  # bytes, or a number with a unit, as in 2GB
    samples: int
    cost: Literal["euclidean", "sqeuclidean", "cosine"]
    mass: Literal["uniform", "l1", "l2"]
    solver: Literal["emd", "sinkhorn"]
    epsilon: float
    scaling: Literal["sum", "mean"]
    keep_bn: bool
    into: Path_


class MetricOptions(TypedDict, total=False):
    metric: str  # a command, with {model} for the path of a model
    metric_lower: bool
    metric_time: float | str  # seconds, or a number with a unit, as in 10m


class CompressOptions(WorkOptions, MetricOptions, total=False):
    align: Literal["weights", "activations"]
    keep: float
    macs: float
    params: float
    size: int | str  # bytes, or a number with a unit, as in 5MB
    max_drop: float
    plan: Path_
    save_plan: Path_
    floor: float
    exclude: str | Sequence[str]
    keep_residual: bool
    multiple: int
    uniform: bool
    dtype: Literal["fp16", "bf16", "int8"]
    int8: bool
    arithmetic: bool
    keep_float: str | Sequence[str]
    moves: str | Sequence[Literal["width", "depth", "rank"]]
    eval_data: Data
    latency: bool


class SensitivityOptions(DataOptions, total=False):
    exclude: str | Sequence[str]
    keep_residual: bool
    multiple: int
    refit_samples: int
    latency: bool
    memory: int | str  # bytes, or a number with a unit, as in 2GB


class ExploreOptions(SensitivityOptions, MetricOptions, total=False):
    report: Path_
    at: Sequence[float]
    eval_data: Data


class FuseOptions(WorkOptions, total=False):
    align: Literal["weights", "activations", "none"]
    weights: Sequence[float]
    onto: int
    method: Literal["ot", "union"]
    keep: float


class LatencyOptions(TypedDict, total=False):
    threads: int
    save: Path_
    latency_table: Path_
    input_shape: Mapping[str, Sequence[int]]
    preset: Literal["-1..1", "0..1", "cifar10", "imagenet", "mnist"]
    scale: float
    mean: Numbers
    std: Numbers
    layout: Literal["nchw", "nhwc"]
    resize: int
    crop: int
    bgr: bool


class EvalOptions(DataOptions, MetricOptions, total=False):
    report: Path_
    runs: int
    latency: bool


_DATA = {"data", "eval_data"}


@contextlib.contextmanager
def flags(options: Mapping[str, Any]) -> Iterator[list[str]]:
    """The flags that options mean. Arrays are written to files, which are there until the end."""
    with contextlib.ExitStack() as stack:
        folder: Path | None = None
        given: list[str] = []
        for name, value in options.items():
            if value is None:
                continue
            if name in _DATA and not isinstance(value, (str, os.PathLike)):
                if folder is None:
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="monge-")))
                value = _save(folder, name, value)
            given += _flag(name, value)
        yield given


def _save(folder: Path, name: str, data: Any) -> Path:
    import numpy as np

    path = folder / f"{name}.npz"
    if isinstance(data, Mapping):
        # Not np.savez: it takes names as keywords, and has some of its own.
        with zipfile.ZipFile(path, "w") as archive:
            for key, array in data.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as f:
                    np.lib.format.write_array(f, np.asanyarray(array), allow_pickle=False)
        return path
    path = path.with_suffix(".npy")
    np.save(path, np.asanyarray(data), allow_pickle=False)
    return path


def _flag(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if name == "latency" and isinstance(value, bool):  # the program has only its opposite
        return [f"--no-latency={_text(not value)}"]
    if name == "refit" and isinstance(value, bool):
        return ["--refit=" + ("on" if value else "off")]
    if name in ("time", "metric_time") and not isinstance(value, str):
        value = f"{float(value)}s"
    if isinstance(value, Mapping):
        return [f"{flag}={key}={_join(v, 'x')}" for key, v in value.items()]
    if name in ("exclude", "keep_float"):
        return [f"{flag}={glob}" for glob in ([value] if isinstance(value, str) else value)]
    return [f"{flag}={_join(value, ',')}"]


def _join(value: Any, separator: str) -> str:
    if isinstance(value, (str, os.PathLike)) or not hasattr(value, "__iter__"):
        return _text(value)
    return separator.join(map(_text, value))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
