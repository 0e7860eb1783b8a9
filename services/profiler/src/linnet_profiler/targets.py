"""Boards and cores: the reviewed data files, custom targets, bare cores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

from linnet_profiler.basis import Basis
from linnet_profiler.errors import UnknownTargetError
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.abi import Abi

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BARE_CLOCK_HZ: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Counts:
    """Whose instruction counts stand for a core with a kernel set.

    Attributes:
        build: Measured build, such as cortex-m4f/cmsis-nn-dsp.
        factor: Instructions relative to that build.
        basis: SIMULATED where the build ran on this very core, else ESTIMATED.
    """

    build: str
    factor: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class Core:
    """A processor core.

    Attributes:
        id: Name such as cortex-m4f.
        abi: How structs lie.
        fpu: none, single or double.
        libraries: Library a user names -> kernel set the compiler builds for this core.
        counts: Kernel set -> whose instruction counts apply.
        cycles_per_instruction: With memory that never waits.
    """

    id: str
    abi: Abi
    fpu: str
    libraries: Mapping[str, KernelSet]
    counts: Mapping[KernelSet, Counts]
    cycles_per_instruction: float

    @property
    def soft_float(self) -> bool:
        """True where float work runs in software."""
        return self.fpu == "none"


@dataclass(frozen=True, slots=True)
class Memory:
    """Where code and data lie.

    Attributes:
        code: flash, mram, xip (external flash), itcm, axisram or dram.
        cache: What stands between code and core: art, icache, cache, prefetch, tcm or none.
        data: Where the arena lies: sram, dtcm, tcm, psram, axisram or dram.
    """

    code: str
    cache: str
    data: str


_PLAIN_MEMORY: Final = Memory(code="flash", cache="none", data="sram")


@dataclass(frozen=True, slots=True)
class Target:
    """A board, or a core alone.

    Attributes:
        id: Kebab-case board name, or the core's name.
        name: As printed on the board.
        mcu: Part number.
        core: Its core.
        clock_hz: Core clock.
        ram_bytes: RAM of one application; 0 where unknown (a bare core).
        flash_bytes: Program memory; 0 where unknown.
        kernels: Kernel set of the firmware.
        memory: Placement of code and data; None for a bare core.
        sources: Figure -> document it was read from.
        custom: From a user's few numbers: no timing is its own, whatever its name.
    """

    id: str
    name: str
    mcu: str
    core: Core
    clock_hz: int
    ram_bytes: int
    flash_bytes: int
    kernels: KernelSet
    memory: Memory | None
    sources: Mapping[str, str] = field(default_factory=dict)
    custom: bool = False

    def with_kernels(self, library: str) -> Target:
        """The same target with another kernel library.

        Raises:
            UnknownTargetError: The core has no build of this library.
        """
        return replace(self, kernels=kernel_set(self.core, library))

    def with_clock(self, clock_hz: int) -> Target:
        """The same target at another clock, in Hz.

        Raises:
            ValueError: The clock isn't positive.
        """
        if clock_hz <= 0:
            raise ValueError(f"clock_hz: must be positive, got {clock_hz}")
        return replace(self, clock_hz=clock_hz)


def kernel_set(core: Core, library: str) -> KernelSet:
    """The kernel set that a library means on a core."""
    if library in core.libraries:
        return core.libraries[library]
    for kernels in core.counts:
        if kernels.value == library:
            return kernels
    raise UnknownTargetError(
        f"kernels: {core.id} has {', '.join(sorted(core.libraries))}, not {library!r}"
    )


def _read(name: str) -> Any:
    text = files("linnet_profiler").joinpath("data", name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - the loader is a safe one


@cache
def cores() -> Mapping[str, Core]:
    """All cores by id."""
    found = {}
    for name, entry in _read("cores.yaml")["cores"].items():
        found[name] = Core(
            id=name,
            abi=Abi(entry["abi"]),
            fpu=entry["fpu"],
            libraries={
                library: KernelSet(kernels) for library, kernels in entry["libraries"].items()
            },
            counts={
                KernelSet(kernels): Counts(
                    build=counts["build"],
                    factor=float(counts["factor"]),
                    basis=Basis(counts["basis"]),
                )
                for kernels, counts in entry["counts"].items()
            },
            cycles_per_instruction=float(entry["cpi"]),
        )
    return found


@cache
def targets() -> Mapping[str, Target]:
    """All boards by id, in the file's order."""
    return {
        entry["id"]: _target(entry, cores()[entry["core"]])
        for entry in _read("targets.yaml")["targets"]
    }


def _target(entry: Mapping[str, Any], core: Core) -> Target:
    return Target(
        id=entry["id"],
        name=entry["name"],
        mcu=entry["mcu"],
        core=core,
        clock_hz=int(entry["clock_hz"]),
        ram_bytes=int(entry["ram_bytes"]),
        flash_bytes=int(entry["flash_bytes"]),
        kernels=kernel_set(core, entry["kernels"]),
        memory=Memory(**entry["memory"]),
        sources=entry["sources"],
    )


def find_target(target_id: str) -> Target:
    """A board by its id.

    Raises:
        UnknownTargetError: There is none; the message names the closest.
    """
    known = targets()
    if target_id not in known:
        near = _closest(target_id, list(known))
        raise UnknownTargetError(f"target: no board {target_id!r}{near}")
    return known[target_id]


def find_core(core_id: str) -> Core:
    """A core by its id.

    Raises:
        UnknownTargetError: There is none; the message names the closest.
    """
    known = cores()
    if core_id not in known:
        near = _closest(core_id, list(known))
        raise UnknownTargetError(f"core: no core {core_id!r}{near}")
    return known[core_id]


def _closest(wanted: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(wanted, known, n=3, cutoff=0.4)
    return f"; did you mean {', '.join(near)}?" if near else ""


def bare_core(core_id: str, library: str | None = None, clock_hz: int = _BARE_CLOCK_HZ) -> Target:
    """A core with memory that never waits, without limits of RAM and flash.

    Args:
        core_id: Such as cortex-m4f.
        library: cmsis-nn, esp-nn or reference; the core's optimised one where None.
        clock_hz: 1 MHz unless given, so that milliseconds are thousands of cycles.
    """
    core = find_core(core_id)
    chosen = library or next((name for name in core.libraries if name != "reference"), "reference")
    return Target(
        id=core_id,
        name=core_id,
        mcu="",
        core=core,
        clock_hz=clock_hz,
        ram_bytes=0,
        flash_bytes=0,
        kernels=kernel_set(core, chosen),
        memory=None,
    ).with_clock(clock_hz)


def custom_target(
    *,
    core_id: str,
    clock_hz: int,
    ram_bytes: int,
    flash_bytes: int,
    name: str = "custom",
    library: str | None = None,
    memory: Memory | None = None,
) -> Target:
    """A target from a user's few numbers.

    Args:
        core_id: Its core, such as cortex-m4f.
        clock_hz: Core clock in Hz.
        ram_bytes: RAM for the application.
        flash_bytes: Program memory.
        name: What to call it.
        library: Kernel library; the core's optimised one where None.
        memory: Placement; that of most boards with this core where None.

    Raises:
        UnknownTargetError: No such core, or no such library on it.
        ValueError: A size isn't positive.
    """
    for label, size in (("ram_bytes", ram_bytes), ("flash_bytes", flash_bytes)):
        if size <= 0:
            raise ValueError(f"{label}: must be positive, got {size}")
    base = bare_core(core_id, library, clock_hz)
    return replace(
        base,
        id=name,
        name=name,
        ram_bytes=ram_bytes,
        flash_bytes=flash_bytes,
        memory=memory or _usual_memory(core_id),
        custom=True,
    )


def _usual_memory(core_id: str) -> Memory:
    """The placement of most boards with a core; plain flash where no board has it."""
    placements = Counter(
        target.memory for target in targets().values() if target.core.id == core_id
    )
    found = placements.most_common(1)
    return found[0][0] or _PLAIN_MEMORY if found else _PLAIN_MEMORY
