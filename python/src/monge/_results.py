"""The JSON of the commands as dataclasses.

Names and units are those of the JSON, which docs/json.md of the repository describes. What a run had
no reason to measure is None, or empty; so is a number that is not finite. Names that this version
does not know, those of a newer program, are kept in ``extra``. A name that is a word of Python's
ends in an underscore.
"""

from __future__ import annotations

import dataclasses
import functools
import keyword
import types
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T", bound="_Object")


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def decode(kind: type[T], value: dict[str, Any]) -> T:
    """A dataclass of a JSON object."""
    hints = {name: hint for name, hint in _hints(typing.cast("Any", kind)).items() if name != "extra"}
    known, extra = {}, {}
    for key, v in value.items():
        name = key + "_" if keyword.iskeyword(key) else key
        if name in hints:
            known[name] = _convert(hints[name], v)
        else:
            extra[key] = v
    return kind(**known, extra=extra)


def _convert(hint: Any, value: Any) -> Any:
    if value is None:
        return [] if typing.get_origin(hint) is list else None
    if typing.get_origin(hint) is types.UnionType:
        hint = next(h for h in typing.get_args(hint) if h is not types.NoneType)
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is list:
        return [_convert(arguments[0], v) for v in value]
    if typing.get_origin(hint) is dict:
        return {k: _convert(arguments[1], v) for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast("type[_Object]", hint), value)
    return value


@dataclass(frozen=True, kw_only=True)
class _Object:
    extra: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Size(_Object):
    """The size of a model."""

    params: int
    macs: int | None = None  # multiply-accumulates per sample
    bytes: int | None = None
    open_dims: bool = False  # free dimensions were counted as one in macs


@dataclass(frozen=True, kw_only=True)
class Task(_Object):
    """What an output was taken for: classify, regress or embed."""

    name: str
    task: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Part(_Object):
    """Samples that one thing was done with."""

    data: str
    samples: int
    which: str  # numbers in the data set, counted from 0, as in 0-3,7


@dataclass(frozen=True, kw_only=True)
class Lossless(_Object):
    """What was removed without a loss."""

    unread_channels: int = 0
    constant_channels: int = 0
    duplicate_channels: int = 0
    spaces: list[dict[str, Any]] = field(default_factory=list)
    unused_nodes: list[str] = field(default_factory=list)
    unused_initializers: list[str] = field(default_factory=list)
    flushed: list[dict[str, Any]] = field(default_factory=list)
    left: list[dict[str, Any]] = field(default_factory=list)
    rounds: int = 0
    params_before: int = 0
    params_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    check: dict[str, Any] | None = None
    reverted: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Refit(_Object):
    """The fit of layers in closed form."""

    samples: int
    statistics_seconds: float
    solve_seconds: float
    layers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Tune(_Object):
    """The distillation after the refit."""

    samples: int = 0
    epochs: int = 0
    steps: int = 0
    seconds: float = 0
    ended: str | None = None  # complete, clock or interrupted
    parameters: int = 0
    taps: int = 0
    held_out: int = 0
    loss_before: float | None = None
    loss_after: float | None = None
    losses: list[float | None] = field(default_factory=list)  # of training, over its steps
    reverted: bool = False
    rate: float | None = None
    confidence: float | None = None
    note: str | None = None  # why nothing was trained


@dataclass(frozen=True, kw_only=True)
class Quality(_Object):
    """What a model does on data. Shares are between 0 and 1."""

    metric: float | None = None  # a measure of one's own
    top1: float | None = None
    top5: float | None = None
    agreement: float | None = None  # with the original
    cosine: float | None = None
    max_diff: float | None = None
    latency_ms: float | None = None
    non_finite: int = 0


@dataclass(frozen=True, kw_only=True)
class Metric(_Object):
    """What a measure of one's own was asked."""

    command: str
    lower: bool
    calls: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class OutputResult(_Object):
    """How far one output of a model is from the first model's, or from what was recorded."""

    name: str
    task: str | None = None
    agreement: float | None = None
    cosine: float | None = None
    max_diff: float | None = None
    non_finite: int = 0


@dataclass(frozen=True, kw_only=True)
class Evaluation(_Object):
    """The original and the result side by side."""

    samples: int
    held_out: bool
    threads: int
    before: Quality
    after: Quality
    data: str | None = None
    outputs: list[OutputResult] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CompressedSpace(_Object):
    """Channels that are changed together."""

    name: str
    before: int
    after: int
    kept: str | None = None  # why the width stayed
    cost: float | None = None
    stream: str | None = None  # what was done to a normalised stream: rotated or selected


@dataclass(frozen=True, kw_only=True)
class Block(_Object):
    """A residual block that was dropped."""

    name: str
    divergence: float | None = None  # without that block alone


@dataclass(frozen=True, kw_only=True)
class Ranked(_Object):
    """A linear operator that became two."""

    name: str
    rank: int  # channels between the two
    of: int
    spatial: bool = False  # one reads the rows of a kernel, the other its columns
    divergence: float | None = None  # an estimate


@dataclass(frozen=True, kw_only=True)
class Job(_Object):
    """What compressing and fusing say of themselves alike."""

    dry_run: bool
    output: str | None = None  # None for a dry run
    align: str | None = None
    samples: int = 0
    synthetic: bool = False  # the samples were made up
    folded_batchnorms: int = 0
    split: dict[str, Part] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    candidates: list[dict[str, Any]] = field(default_factory=list)
    blind: bool = False
    refit_samples: int = 0
    refit: Refit | None = None
    tune: Tune | None = None
    spent: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Narrowed(_Object):
    """A model of which one space keeps a share of its channels."""

    share: float
    width: int
    divergence: float | None = None
    macs_saved: int = 0
    params_saved: int = 0


@dataclass(frozen=True, kw_only=True)
class Sensitive(_Object):
    """A space narrowed alone."""

    name: str
    width: int
    narrowed: list[Narrowed] = field(default_factory=list)  # empty: the data do not show it
    latency_share: float | None = None  # of what makes or reads it


@dataclass(frozen=True, kw_only=True)
class Sensitivity(_Object):
    """What it costs to narrow each space of a model alone, the most sensitive first."""

    model: str
    size: Size
    spaces: list[Sensitive] = field(default_factory=list)
    refit_samples: int = 0
    synthetic: bool = False
    tasks: list[Task] = field(default_factory=list)
    seconds: float
    peak_memory_bytes: int | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Timing(_Object):
    """How a budget of latency was met. Shares are of what the original takes."""

    asked: float
    predicted: float
    measured: float | None = None
    before_ms: float | None = None
    after_ms: float | None = None
    threads: int
    given_table: bool = False
    multiple: int = 1
    trials: int = 0


@dataclass(frozen=True, kw_only=True)
class Latency(_Object):
    """What ``monge latency`` found: what a model and its operators take."""

    model: str
    output: str | None = None
    onnxruntime: str | None = None
    cpu: str | None = None
    threads: int = 0
    latency_ms: float | None = None
    error: float | None = None
    multiple: int = 1
    operators: list[dict[str, Any]] = field(default_factory=list)
    widths: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Explored(Quality):
    """A model with what it costs and is worth."""

    params: int
    macs: int
    bytes: int
    open_dims: bool = False


@dataclass(frozen=True, kw_only=True)
class Point(Explored):
    """A model that an exploration made."""

    share: float  # of the multiply-accumulates, that was asked for
    model: str
    front: bool
    knee: bool
    point_seconds: float


@dataclass(frozen=True, kw_only=True)
class Exploration(_Object):
    """What a model costs at several shares of its multiply-accumulates."""

    model: str
    output: str
    data: str
    judged_samples: int
    held_out: bool
    before: Explored
    points: list[Point]
    metric: Metric | None = None
    model_sha256: str = ""
    data_sha256: str = ""
    settings: str = ""
    merged: list[str] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    seconds: float
    peak_memory_bytes: int | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Compression(Job):
    """What ``compress`` did."""

    model: str
    before: Size
    after: Size
    into: str | None = None
    spaces: list[CompressedSpace] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    ranks: list[Ranked] = field(default_factory=list)
    lossless: Lossless | None = None
    search: dict[str, Any] | None = None
    latency: Timing | None = None
    precision: dict[str, Any] | None = None
    evaluation: Evaluation | None = None
    metric: Metric | None = None


@dataclass(frozen=True, kw_only=True)
class Parent(Size):
    """A model that went into a fused one."""

    model: str
    weight: float
    lossless: Lossless | None = None


@dataclass(frozen=True, kw_only=True)
class FusedSpace(_Object):
    """Channels that are changed together, of all models."""

    name: str
    width: int
    widths: list[int]
    costs: list[float | None] = field(default_factory=list)
    moved: list[float | None] = field(default_factory=list)
    from_: list[int] = field(default_factory=list)  # how many channels came from each model


@dataclass(frozen=True, kw_only=True)
class Fusion(Job):
    """What ``fuse`` did."""

    models: list[Parent]
    result: Size
    method: str | None = None  # ot or union
    divergence: float | None = None
    onto: int | None = None  # counted from 1
    weights: list[float] = field(default_factory=list)
    whole: int | None = None
    contribution: list[float] = field(default_factory=list)
    spaces: list[FusedSpace] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    sweeps: int = 0


@dataclass(frozen=True, kw_only=True)
class Judged(Size, Quality):
    """A model that was judged. ``agreement`` and the like are None for the first."""

    model: str
    outputs: list[OutputResult] = field(default_factory=list)
    recorded: list[OutputResult] = field(default_factory=list)
    latency_runs: int = 0
    latency_batch: int = 0


@dataclass(frozen=True, kw_only=True)
class Comparison(_Object):
    """What ``eval`` found."""

    models: list[Judged]
    metric: Metric | None = None
    samples: int
    threads: int
    data: str | None = None
    tasks: list[Task] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0
    peak_memory_bytes: int | None = None
