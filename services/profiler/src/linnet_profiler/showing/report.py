"""Profiles as plain values for JSON: the shape that `linnet profile --json` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

from linnet_profiler.analysis import smallest_that_fits
from linnet_profiler.ethos_u import Offload
from linnet_profiler.profile import OperatorProfile, Profile
from linnet_profiler.targets import Target


def report_pieces(found: Sequence[Profile], file: str, extra: dict[str, Any]) -> Iterator[str]:
    """One line of JSON for a file, in pieces, so that no target's waits for all the others.

    Args:
        found: Its profiles, at least one; several are listed under `targets`.
        file: The file's name.
        extra: What else is known of the file.
    """
    if len(found) == 1:
        yield json.dumps(profile_report(found[0], file) | extra) + "\n"
        return
    yield f'{{"file": {json.dumps(file)}, "targets": ['
    for number, one in enumerate(found):
        yield (", " if number else "") + json.dumps(profile_report(one, file))
    smallest = smallest_that_fits(found)
    rest = {"smallest": None if smallest is None else smallest.target.id, **extra}
    yield "], " + json.dumps(rest).removeprefix("{") + "\n"


def profile_report(found: Profile, file: str) -> dict[str, Any]:
    """One profile as JSON values."""
    plan, verdict = found.ram.plan, found.verdict
    return {
        "file": file,
        "target": found.target.id,
        "core": found.target.core.id,
        "kernels": found.target.kernels.value,
        "clock_hz": found.target.clock_hz,
        "precision": found.precision,
        "parameters": found.parameters,
        "macs": found.macs,
        "ram": {
            "arena_used_bytes": plan.arena_used_bytes,
            "arena_declare_bytes": plan.arena_declare_bytes,
            "head_bytes": plan.head_bytes,
            "tail_bytes": plan.tail_bytes,
            "scratch_bytes": plan.scratch_bytes,
            "interpreter_bytes": found.ram.interpreter_bytes,
            "resolver_bytes": found.ram.resolver_bytes,
            "statics_bytes": found.ram.statics_bytes,
            "stack_bytes": found.ram.stack_bytes,
            "total_bytes": found.ram.total_bytes,
            "basis": found.ram.basis.value,
            "buffers": [
                {
                    "name": buffer.name,
                    "kind": buffer.kind.value,
                    "offset_bytes": buffer.offset_bytes,
                    "size_bytes": buffer.size_bytes,
                    "first_used": buffer.first_used,
                    "last_used": buffer.last_used,
                }
                for buffer in plan.buffers
            ],
        },
        "flash": {
            "model_bytes": found.flash.model_bytes,
            "code_bytes": found.flash.code_bytes,
            "total_bytes": found.flash.total_bytes,
            "low_bytes": found.flash.low_bytes,
            "high_bytes": found.flash.high_bytes,
            "int8_registrations_code_bytes": found.flash.int8_code_bytes,
            "basis": found.flash.basis.value,
            "parts": [
                {"name": part.name, "kind": part.kind, "size_bytes": part.size_bytes}
                for part in found.flash.parts
            ],
        },
        "latency": {
            "milliseconds": found.latency.milliseconds,
            "low": found.latency.low,
            "high": found.latency.high,
            "cycles": round(found.latency.cycles),
            "instructions": round(found.latency.instructions),
            "instructions_basis": found.latency.instructions_basis.value,
            "basis": found.latency.basis.value,
        },
        "operators": [_operator(entry) for entry in found.operators],
        "unsupported": [
            {
                "index": entry.operator,
                "subgraph": entry.subgraph,
                "name": entry.name,
                "problem": entry.problem,
                "remedy": entry.remedy,
            }
            for entry in found.unsupported
        ],
        "suggestions": [
            {
                "text": entry.text,
                "operator": entry.operator,
                "saved_microseconds": entry.saved_us,
                "saved_ram_bytes": entry.saved_ram_bytes,
                "saved_flash_bytes": entry.saved_flash_bytes,
            }
            for entry in found.suggestions
        ],
        "fits": verdict.fits,
        "verdict": {
            "ram": verdict.ram,
            "flash": verdict.flash,
            "latency": verdict.latency,
            "ram_headroom_bytes": verdict.ram_headroom_bytes,
            "flash_headroom_bytes": verdict.flash_headroom_bytes,
            "latency_headroom_ms": verdict.latency_headroom_ms,
            "reasons": list(verdict.reasons),
        },
    }


def offload_report(found: Offload) -> dict[str, Any]:
    """An accelerator's figures as JSON values."""
    return {
        "accelerator": found.accelerator,
        "clock_hz": found.clock_hz,
        "npu_operators": found.npu_operators,
        "cpu_operators": found.cpu_operators,
        "cycles": found.cycles,
        "milliseconds": found.milliseconds,
        "sram_bytes": found.sram_bytes,
        "flash_bytes": found.flash_bytes,
        "basis": found.basis.value,
    }


def _operator(entry: OperatorProfile) -> dict[str, Any]:
    return {
        "index": entry.index,
        "subgraph": entry.subgraph,
        "operator": entry.name,
        "dtype": entry.dtype,
        "input_shape": list(entry.input_shape),
        "output_shape": list(entry.output_shape),
        # JSON has no NaN and no infinity, which a damaged file may hold.
        "options": {
            name: None if isinstance(value, float) and not isfinite(value) else value
            for name, value in entry.options.items()
        },
        "macs": entry.macs,
        "valid_macs": entry.valid_macs,
        "parameters": entry.parameters,
        "path": entry.path,
        "instructions": round(entry.instructions),
        "cycles": round(entry.cycles),
        "microseconds": entry.microseconds,
        "share": entry.share,
        "basis": entry.basis.value,
    }


def target_report(target: Target) -> dict[str, Any]:
    """One target as JSON values."""
    memory = target.memory
    return {
        "id": target.id,
        "name": target.name,
        "mcu": target.mcu,
        "core": target.core.id,
        "clock_hz": target.clock_hz,
        "ram_bytes": target.ram_bytes,
        "flash_bytes": target.flash_bytes,
        "kernels": target.kernels.value,
        "fpu": target.core.fpu,
        "memory": None
        if memory is None
        else {"code": memory.code, "cache": memory.cache, "data": memory.data},
        "sources": dict(target.sources),
    }
