"""Profiles for people: tables with bars in a terminal, plain lines when piped."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from linnet_profiler.analysis import smallest_that_fits
from linnet_profiler.ethos_u import Offload
from linnet_profiler.interpreter.check import InterpreterCheck
from linnet_profiler.profile import Profile
from linnet_profiler.suggestions import Suggestion
from linnet_profiler.targets import Target

_BAR_WIDTH = 24
_NEARLY_FULL = 0.75
_KIB = 1024
_SECOND = 1000
_WIDE = 110
_MEGAHERTZ = 1_000_000


def kibibytes(size: float) -> str:
    """Bytes for people: 812 B, 12.3 KiB, 1.2 MiB."""
    if abs(size) < _KIB:
        return f"{size:.0f} B"
    if abs(size) < _KIB * _KIB:
        return f"{size / _KIB:.1f} KiB"
    if abs(size) < _KIB**3:
        return f"{size / _KIB / _KIB:.1f} MiB"
    return f"{size / _KIB**3:.1f} GiB"


def duration(milliseconds: float) -> str:
    """A time for people: 12 µs, 3.4 ms, 1.2 s."""
    if milliseconds < 1:
        return f"{milliseconds * 1e3:.3g} µs"
    return f"{milliseconds:.3g} ms" if milliseconds < _SECOND else f"{milliseconds / 1e3:.3g} s"


def duration_range(low: float, high: float) -> str:
    """A band for people: 18.3-46.9 ms, 0.9 µs-1.1 ms."""
    first, last = duration(low), duration(high)
    amount, unit = first.split(" ")
    return f"{amount if unit == last.split(' ')[1] else first}-{last}"


def clock(hertz: int) -> str:
    """A clock for people: 48 MHz, 64.5 kHz."""
    return f"{hertz / 1e6:g} MHz" if hertz >= _MEGAHERTZ else f"{hertz / 1e3:g} kHz"


def bar(used: int, limit: int) -> Text:
    """How much of a limit is used: green, yellow above three quarters, red above the limit."""
    if limit <= 0:
        return Text("no limit known", style="dim")
    share = used / limit
    filled = min(_BAR_WIDTH, max(1, round(share * _BAR_WIDTH)))
    style = "red" if share > 1 else "yellow" if share > _NEARLY_FULL else "green"
    text = Text()
    text.append("█" * filled, style=style)
    text.append("░" * (_BAR_WIDTH - filled), style="dim")
    text.append(f" {share:.0%} of {kibibytes(limit)}")
    return text


def render_profile(console: Console, found: Profile, file: str) -> None:
    """Print one profile: a rich table in a terminal, tab-separated lines when piped."""
    if console.is_terminal:
        console.print(_rich_profile(found, file))
    else:
        for line in plain_profile(found, file):
            console.file.write(f"{line}\n")


def plain_profile(found: Profile, file: str) -> list[str]:
    """One profile as plain lines: `field<TAB>value`, then one line an operator."""
    ram, flash, latency = found.ram, found.flash, found.latency
    lines = [
        f"file\t{file}",
        f"target\t{found.target.id}\t{clock(found.target.clock_hz)}\t{found.target.kernels.value}",
        f"precision\t{found.precision}",
        f"ram_bytes\t{ram.total_bytes}\t{ram.basis.value}",
        f"arena_used_bytes\t{ram.plan.arena_used_bytes}",
        f"arena_declare_bytes\t{ram.plan.arena_declare_bytes}",
        f"flash_bytes\t{flash.total_bytes}\t{flash.basis.value}",
        f"model_bytes\t{flash.model_bytes}",
        f"code_bytes\t{flash.code_bytes}",
        (
            f"milliseconds\t{latency.milliseconds:.6g}\t{latency.low:.6g}\t{latency.high:.6g}"
            f"\t{latency.basis.value}"
        ),
        f"instructions\t{latency.instructions:.0f}\t{latency.instructions_basis.value}",
        f"fits\t{'yes' if found.verdict.fits else 'no'}",
    ]
    lines += [f"reason\t{reason}" for reason in found.verdict.reasons]
    lines += [
        f"operator\t{entry.index}\t{entry.name}\t{entry.dtype}"
        f"\t{'x'.join(map(str, entry.output_shape))}\t{entry.macs}\t{entry.microseconds:.4g} us"
        f"\t{entry.share:.1%}\t{entry.basis.value}"
        for entry in found.operators
    ]
    lines += [f"suggestion\t{entry.text}{_savings(entry)}" for entry in found.suggestions]
    return lines


def _rich_profile(found: Profile, file: str) -> RenderableType:
    ram, flash, latency, target = found.ram, found.flash, found.latency, found.target
    head = Table(
        title=f"{file} on {target.name}", box=None, show_header=False, title_justify="left"
    )
    head.add_row("Core", f"{target.core.id}, {clock(target.clock_hz)}, {target.kernels.value}")
    head.add_row(
        "Model", f"{found.precision}, {found.parameters:,} parameters, {found.macs:,} MACs"
    )
    head.add_row("RAM", bar(ram.total_bytes, target.ram_bytes))
    head.add_row(
        "",
        f"{kibibytes(ram.total_bytes)}: arena {ram.plan.arena_declare_bytes:,} B to declare "
        f"({ram.plan.arena_used_bytes:,} used), stack {ram.stack_bytes:,} ({ram.basis.value})",
    )
    head.add_row("Flash", bar(flash.total_bytes, target.flash_bytes))
    head.add_row(
        "",
        f"{kibibytes(flash.total_bytes)}: model {flash.model_bytes:,} B, code "
        f"{flash.code_bytes:,} B ({flash.basis.value})",
    )
    head.add_row(
        "Latency",
        f"{duration(latency.milliseconds)} ({duration(latency.low)} to {duration(latency.high)}, "
        f"90 %; {latency.basis.value})",
    )
    parts: list[RenderableType] = [head, _operators(found)]
    verdict = Text("fits", "green") if found.verdict.fits else Text("does not fit", "red")
    parts.append(verdict)
    parts += [Text(f"  {reason}") for reason in found.verdict.reasons]
    parts += [Text(f"  → {entry.text}{_savings(entry)}") for entry in found.suggestions]
    return Group(*parts)


def _savings(suggestion: Suggestion) -> str:
    saved = [duration(suggestion.saved_us / 1e3)] if suggestion.saved_us > 0 else []
    memories = (("RAM", suggestion.saved_ram_bytes), ("flash", suggestion.saved_flash_bytes))
    saved += [f"{kibibytes(size)} of {memory}" for memory, size in memories if size > 0]
    return f" Saves about {', '.join(saved)}." if saved else ""


def _operators(found: Profile) -> Table:
    table = Table("#", "operator", "output", "MACs", "time", "share", "basis", box=None)
    for entry in found.operators:
        table.add_row(
            str(entry.index),
            entry.name,
            "x".join(map(str, entry.output_shape)),
            f"{entry.macs:,}" if entry.macs else "",
            duration(entry.microseconds / 1e3),
            f"{entry.share:.1%}",
            entry.basis.value,
        )
    return table


def offload_line(found: Offload) -> str:
    """One line on what an accelerator would do."""
    if not found.npu_operators:
        return f"{found.accelerator}: runs none of it (only int8 and int16 operators)."
    return (
        f"{found.accelerator} at {clock(found.clock_hz)}: {duration(found.milliseconds)} for "
        f"{found.npu_operators} operators, {found.cpu_operators} left to the core, SRAM "
        f"{kibibytes(found.sram_bytes)}, flash {kibibytes(found.flash_bytes)} (Vela's estimate)."
    )


def render_comparison(console: Console, profiles: Sequence[Profile], file: str) -> None:
    """Print one model over many targets, and the smallest on which it fits."""
    smallest = smallest_that_fits(profiles)
    if not console.is_terminal:
        for found in profiles:
            console.file.write(
                f"{file}\t{found.target.id}\t{found.ram.total_bytes}\t{found.flash.total_bytes}"
                f"\t{found.latency.milliseconds:.6g}\t{'yes' if found.verdict.fits else 'no'}\n"
            )
        console.file.write(f"{file}\tsmallest\t{smallest.target.id if smallest else ''}\n")
        return
    table = Table(title=file, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("target", no_wrap=True)
    for name in ("RAM", "flash", "latency", "90 % band"):
        table.add_column(name, no_wrap=True, justify="right")
    for name in ("basis", "fits"):
        table.add_column(name, no_wrap=True)
    for found in profiles:
        latency = found.latency
        table.add_row(
            found.target.id,
            kibibytes(found.ram.total_bytes),
            kibibytes(found.flash.total_bytes),
            duration(latency.milliseconds),
            duration_range(latency.low, latency.high),
            latency.basis.value,
            Text("yes", "green") if found.verdict.fits else Text("no", "red"),
        )
    console.print(table)
    fitting = "It fits none." if smallest is None else f"Smallest it fits: {smallest.target.id}"
    console.print(fitting, markup=False, highlight=False)


def interpreter_line(checked: InterpreterCheck) -> str:
    """One line on what the real interpreter says."""
    if not checked.available:
        return f"Interpreter: not asked, {checked.problem}."
    did = (
        "ran it"
        if checked.ran
        else "loaded it and did not run it"
        if checked.loaded
        else "refused it"
    )
    if checked.crashed:
        did = "ended its process"
    why = f" ({checked.problem})" if checked.problem else ""
    if checked.arena_bytes is None:
        return f"Interpreter: {did}{why}; replay {checked.replayed_bytes:,} B."
    said = "agrees" if checked.agrees else "DISAGREES"
    return (
        f"Interpreter: {did}{why}; its arena of {checked.arena_bytes:,} B {said} with the replay's "
        f"{checked.replayed_bytes:,} B."
    )


def render_targets(console: Console, found: Sequence[Target]) -> None:
    """Print the targets."""
    if not console.is_terminal:
        for target in found:
            console.file.write(
                f"{target.id}\t{target.core.id}\t{target.clock_hz}\t{target.ram_bytes}"
                f"\t{target.flash_bytes}\t{target.kernels.value}\n"
            )
        return
    # At 80 columns the name, which is the id in other letters, makes room for the figures.
    wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("id", "core", "clock", "RAM", "flash", "kernels", *(("board",) if wide else ())):
        table.add_column(name, no_wrap=True)
    for target in found:
        table.add_row(
            target.id,
            target.core.id,
            clock(target.clock_hz),
            kibibytes(target.ram_bytes),
            kibibytes(target.flash_bytes),
            target.kernels.library,
            *((target.name,) if wide else ()),
        )
    console.print(table)
