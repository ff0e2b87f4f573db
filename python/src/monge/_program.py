"""Where the program is, and how it is run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

PROGRAM = Path(__file__).parent / "bin" / ("monge.exe" if os.name == "nt" else "monge")

_USAGE, _INTERRUPTED = 2, 130


class MongeError(Exception):
    """A command failed. The message is the line that the program printed.

    ``exit_code`` is the program's: 1 for what failed, negative for a signal that ended it.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message, exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])


class UsageError(MongeError, ValueError):
    """Options are unknown, contradict each other, or have values that they cannot have."""


class MongeWarning(UserWarning):
    """What a person has to know about a run that succeeded."""


def run(*args: str | os.PathLike[str]) -> dict[str, Any]:
    """Run a command, such as ``run("inspect", "model.onnx")``, and return its JSON.

    Warnings become Python's (``MongeWarning``).

    An interruption (Ctrl-C) is handed on to the program. It ends a distillation, whose result is
    then returned as if the time had been over; where there is no result yet, the program ends and
    ``KeyboardInterrupt`` is raised.

    Raises:
        UsageError: the command line cannot be meant.
        MongeError: the command failed.
    """
    return call(*args)


def call(*args: str | os.PathLike[str]) -> dict[str, Any]:
    """``run`` for the functions of the package: warnings are said of the line that called them."""
    code, out, err = _communicate([str(PROGRAM), "--json", *(os.fspath(arg) for arg in args)])
    lines = [line for line in err.splitlines() if line.strip()]
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    if code != 0:
        kind = UsageError if code == _USAGE else MongeError
        # What stands below an error without the program's name is advice for a command line.
        said = [line for line in lines if line.startswith("monge: ")] or lines
        raise kind(said[-1].removeprefix("monge: ") if said else f"the program ended with {code} and said nothing", code)
    result: dict[str, Any] = json.loads(out)
    for warning in result.get("warnings") or []:
        warnings.warn(warning, MongeWarning, stacklevel=3)
    return result


def _communicate(command: Sequence[str]) -> tuple[int, str, str]:
    # A group of its own, so that an interruption reaches the program once, from here, and not from
    # a terminal too: the second would throw its result away.
    apart: dict[str, Any] = {"start_new_session": True}
    interrupt = signal.SIGINT
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        interrupt = signal.CTRL_BREAK_EVENT
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        **apart,
    )
    try:
        while True:
            try:
                out, err = process.communicate()
                return process.returncode, out, err
            except KeyboardInterrupt:
                process.send_signal(interrupt)
    except BaseException:
        process.kill()
        process.wait()
        raise


def main() -> NoReturn:
    """The command ``monge``."""
    command = [str(PROGRAM), *sys.argv[1:]]
    if os.name != "nt":
        os.execv(PROGRAM, command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program gets it too, and decides
    sys.exit(subprocess.call(command))
