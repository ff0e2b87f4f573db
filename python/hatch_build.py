"""Puts the program into the wheel, and the platform that it is for into the wheel's name."""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def platform(goos: str, goarch: str, program: bytes) -> str:
    """The platform tag of a program that Go built for a target."""
    machine = MACHINES.get(goarch, goarch)
    if goos == "linux":
        # Versions of glibc whose symbols the program asks for; none where it is linked statically.
        minors = [int(m) for m in re.findall(rb"\0GLIBC_2\.(\d+)(?:\.\d+)?(?=\0)", program)]
        if not minors:
            return f"manylinux_2_17_{machine}.musllinux_1_1_{machine}"
        return f"manylinux_2_{max(17, *minors)}_{machine}"
    if goos == "darwin":  # the oldest that Go 1.26 builds for
        return "macosx_12_0_" + ("arm64" if goarch == "arm64" else machine)
    if goos == "windows":
        return f"win_{goarch}"
    raise ValueError(f"no platform tag for {goos}/{goarch}")


class ProgramHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        try:
            program = Path(os.environ["MONGE_PROGRAM"])
            goos, goarch = os.environ["MONGE_TARGET"].split("/")
        except KeyError as missing:
            raise RuntimeError(f"{missing} is not set: build with `make wheel`") from None
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + platform(goos, goarch, program.read_bytes())
        name = "monge.exe" if goos == "windows" else "monge"
        build_data["force_include"][str(program)] = f"monge/bin/{name}"
