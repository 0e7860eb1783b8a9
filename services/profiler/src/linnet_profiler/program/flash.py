"""Program memory: the model, the kernels it links, the runtime under them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from linnet_profiler.basis import Basis
from linnet_profiler.program.code_parts import parts_of
from linnet_profiler.targets import Counts

# A kernel that no measured build links: the median size of those that are measured.
_UNKNOWN_KERNEL_BYTES: Final = 4096
_FITTED_BAND: Final = 0.05
_ESTIMATED_BAND: Final = 0.15


@dataclass(frozen=True, slots=True)
class CodePart:
    """One part of the program.

    Attributes:
        name: Kernel or shared group.
        kind: "runtime", "kernel" or "shared".
        size_bytes: What it adds.
    """

    name: str
    kind: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Flash:
    """Program memory of a release build, in bytes.

    Attributes:
        model_bytes: The model file, rounded up to 16.
        code_bytes: Text and initialised data without the model.
        total_bytes: Both.
        low_bytes: Lower end of the total's band.
        high_bytes: Upper end.
        int8_code_bytes: code_bytes if INT8-only registrations are used where TFLM has them; equal
            to code_bytes for a model that isn't all int8.
        parts: Split of code_bytes.
        basis: CALIBRATED where every kernel was measured for this build, else ESTIMATED.
    """

    model_bytes: int
    code_bytes: int
    total_bytes: int
    low_bytes: int
    high_bytes: int
    int8_code_bytes: int
    parts: tuple[CodePart, ...]
    basis: Basis


@cache
def _builds() -> Mapping[str, Mapping[str, int]]:
    text = files("linnet_profiler").joinpath("data", "code_size.json").read_text()
    loaded: Mapping[str, Mapping[str, int]] = json.loads(text)
    return loaded


def flash_of(
    model_bytes: int, operators: Iterable[str], counts: Counts, *, int8_model: bool
) -> Flash:
    """Program memory of a model.

    Args:
        model_bytes: Length of the file.
        operators: Distinct builtin operators.
        counts: The measured build that stands for the core and its kernels.
        int8_model: Every operator computes in int8, so that INT8-only registrations would do.
    """
    names = tuple(operators)
    sizes = _builds().get(counts.build) or _builds()["cortex-m4f/reference"]
    parts, known = _parts(names, sizes, int8_only=False)
    code = sum(part.size_bytes for part in parts)
    small = code
    if int8_model and "cmsis" in counts.build:
        small = sum(part.size_bytes for part in _parts(names, sizes, int8_only=True)[0])
    basis = Basis.CALIBRATED if known and counts.basis is Basis.SIMULATED else Basis.ESTIMATED
    band = _FITTED_BAND if basis is Basis.CALIBRATED else _ESTIMATED_BAND
    stored = -(-model_bytes // 16) * 16
    return Flash(
        model_bytes=stored,
        code_bytes=code,
        total_bytes=stored + code,
        low_bytes=stored + round(code * (1 - band)),
        high_bytes=stored + round(code * (1 + band)),
        int8_code_bytes=min(small, code),
        parts=parts,
        basis=basis,
    )


def _parts(
    names: tuple[str, ...], sizes: Mapping[str, int], *, int8_only: bool
) -> tuple[tuple[CodePart, ...], bool]:
    merged: dict[str, CodePart] = {}
    known = True
    for part, kind in parts_of(names, int8_only=int8_only).items():
        name = part.removesuffix(":generic")
        size = sizes.get(part, 0)
        if kind == "kernel" and part == name and not _measured(name, sizes):
            size, known = _UNKNOWN_KERNEL_BYTES, False
        if size:
            earlier = merged.get(name)
            merged[name] = CodePart(name, kind, size + (earlier.size_bytes if earlier else 0))
    return tuple(sorted(merged.values(), key=lambda part: -part.size_bytes)), known


def _measured(name: str, sizes: Mapping[str, int]) -> bool:
    return name in sizes or f"{name}:generic" in sizes
