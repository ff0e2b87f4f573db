"""Make ONNX models smaller, and merge them, by optimal transport.

>>> import monge
>>> done = monge.compress("model.onnx", "small.onnx", data=images, macs=0.5)  # doctest: +SKIP
>>> done.after.params, done.evaluation.after.agreement  # doctest: +SKIP

The functions run the program ``monge``, which this package carries, and return its JSON as
dataclasses. Options are its flags with underscores (``max_drop=0.01`` is ``--max-drop 0.01``), which
``monge compress --help`` describes; options that are left out, or None, mean what flags that are left
out mean.

What data need is onnxruntime, which ``monge runtime install`` fetches once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _options
from ._program import MongeError, MongeWarning, UsageError, call, run
from ._results import (
    Block,
    Comparison,
    CompressedSpace,
    Compression,
    Evaluation,
    Exploration,
    Explored,
    FusedSpace,
    Fusion,
    Judged,
    Latency,
    Lossless,
    Narrowed,
    OutputResult,
    Parent,
    Part,
    Point,
    Quality,
    Ranked,
    Refit,
    Sensitive,
    Sensitivity,
    Size,
    Task,
    Timing,
    Tune,
    decode,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

__all__ = [
    "Block",
    "Comparison",
    "CompressedSpace",
    "Compression",
    "Evaluation",
    "Exploration",
    "Explored",
    "FusedSpace",
    "Fusion",
    "Judged",
    "Latency",
    "Lossless",
    "MongeError",
    "MongeWarning",
    "Narrowed",
    "OutputResult",
    "Parent",
    "Part",
    "Point",
    "Quality",
    "Ranked",
    "Refit",
    "Sensitive",
    "Sensitivity",
    "Size",
    "Task",
    "Timing",
    "Tune",
    "UsageError",
    "compress",
    "eval",
    "explore",
    "fuse",
    "latency",
    "run",
    "sensitivity",
]


def compress(
    model: _options.Path_,
    output: _options.Path_ | None = None,
    *,
    data: _options.Data | None = None,
    **options: Unpack[_options.CompressOptions],
) -> Compression:
    """Make a model narrower.

    Args:
        model: path of the model.
        output: path of the result, None with ``dry_run=True`` alone.
        data: unlabelled inputs, a few hundred or more. Without any, some are made up; "none" is to
            work on weights alone.
        options: a budget (``keep``, ``macs``, ``params``, ``size``, ``latency`` or ``max_drop``) or
            ``into``, or ``lossless=True`` alone, and other flags of ``monge compress``.

    Raises:
        UsageError: options are unknown, or contradict each other.
        MongeError: there is no result; the message says why in one line.
    """
    with _options.flags({"output": output, "data": data, **options}) as flags:
        return decode(Compression, call("compress", *flags, "--", model))


def fuse(
    models: Sequence[_options.Path_],
    output: _options.Path_ | None = None,
    *,
    data: _options.Data | None = None,
    **options: Unpack[_options.FuseOptions],
) -> Fusion:
    """Make one model of several that have one architecture.

    Args:
        models: paths of the models.
        output: path of the result, None with ``dry_run=True`` alone.
        data: unlabelled inputs, a few hundred or more. Without any, channels are matched by weights.
        options: flags of ``monge fuse``.

    Raises:
        UsageError: options are unknown, or contradict each other.
        MongeError: there is no result; the message says why in one line.
    """
    with _options.flags({"output": output, "data": data, **options}) as flags:
        return decode(Fusion, call("fuse", *flags, "--", *models))


def eval(
    models: _options.Path_ | Sequence[_options.Path_],
    *,
    data: _options.Data,
    **options: Unpack[_options.EvalOptions],
) -> Comparison:
    """Judge models on data, the first being what the others are compared with.

    Args:
        models: a path, or paths.
        data: inputs, with labels if accuracy is to be told; "none" is to tell size and latency.
        options: flags of ``monge eval``.

    Raises:
        UsageError: options are unknown, or contradict each other.
        MongeError: a model or the data cannot be used; the message says why in one line.
    """
    paths = models if isinstance(models, (list, tuple)) else [models]
    with _options.flags({"data": data, **options}) as flags:
        return decode(Comparison, call("eval", *flags, "--", *paths))


def latency(
    model: _options.Path_,
    *,
    data: _options.Data | None = None,
    **options: Unpack[_options.LatencyOptions],
) -> Latency:
    """Measure what a model and its operators take, at several widths.

    Args:
        model: path of the model.
        data: inputs, of which the first is run. Without any, random numbers are.
        options: flags of ``monge latency``.

    Raises:
        UsageError: options are unknown, or contradict each other.
        MongeError: the model cannot be run; the message says why in one line.
    """
    with _options.flags({"data": data, **options}) as flags:
        return decode(Latency, call("latency", *flags, "--", model))


def sensitivity(
    model: _options.Path_,
    *,
    data: _options.Data | None = None,
    **options: Unpack[_options.SensitivityOptions],
) -> Sensitivity:
    """Tell what it costs to narrow each space of a model alone.

    Args:
        model: path of the model.
        data: unlabelled inputs, a few hundred or more. Without any, some are made up.
        options: flags of ``monge sensitivity``.

    Raises:
        UsageError: options are unknown, or contradict each other.
        MongeError: there is no result; the message says why in one line.
    """
    with _options.flags({"data": data, **options}) as flags:
        return decode(Sensitivity, call("sensitivity", *flags, "--", model))


def explore(
    model: _options.Path_,
    output: _options.Path_,
    *,
    data: _options.Data,
    **options: Unpack[_options.ExploreOptions],
) -> Exploration:
    """Make models of several shares of the multiply-accumulates, and tell what each costs.

    Args:
        model: path of the model.
        output: path of the folder that the models go to.
        data: inputs, a few hundred or more, some of which the models are judged on.
        options: flags of ``monge explore``.

    Raises:
        UsageError: options are unknown, or contradict each other.
        MongeError: there is no result; the message says why in one line.
    """
    with _options.flags({"output": output, "data": data, **options}) as flags:
        return decode(Exploration, call("explore", *flags, "--", model))
