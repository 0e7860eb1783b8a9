"""Profiles and targets as messages of the contract; pure."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from linnet.v1 import profile_pb2

from linnet_profiler.basis import Basis
from linnet_profiler.cost.timing import timing_of
from linnet_profiler.interpreter.check import InterpreterCheck
from linnet_profiler.profile import OperatorProfile, Profile, Ram, Verdict
from linnet_profiler.program.flash import Flash
from linnet_profiler.targets import Target
from linnet_profiler.tflite.model import Option

_BASES = {
    Basis.MEASURED: profile_pb2.BASIS_MEASURED,
    Basis.SIMULATED: profile_pb2.BASIS_SIMULATED,
    Basis.CALIBRATED: profile_pb2.BASIS_CALIBRATED,
    Basis.ESTIMATED: profile_pb2.BASIS_ESTIMATED,
}


def target_message(target: Target) -> profile_pb2.Target:
    """Give a target as a message."""
    return profile_pb2.Target(
        id=target.id,
        display_name=target.name,
        core=target.core.id,
        clock_hz=target.clock_hz,
        ram_bytes=target.ram_bytes,
        flash_bytes=target.flash_bytes,
        kernels=target.kernels.value,
        fpu=not target.core.soft_float,
        source="; ".join(f"{figure}: {source}" for figure, source in target.sources.items()),
        latency_basis=_BASES[timing_of(target, floating=False).basis],
    )


def profile_message(profile: Profile) -> profile_pb2.Profile:
    """Give a profile as a message, variant and digest left out."""
    return profile_pb2.Profile(
        target=profile.target.id,
        ram=_ram(profile.ram),
        flash=_flash(profile.flash),
        latency=profile_pb2.LatencyProfile(
            milliseconds=profile.latency.milliseconds,
            low_milliseconds=profile.latency.low,
            high_milliseconds=profile.latency.high,
            cycles=profile.latency.cycles,
            instructions=profile.latency.instructions,
            basis=_BASES[profile.latency.basis],
            instructions_basis=_BASES[profile.latency.instructions_basis],
        ),
        operators=[_operator(found) for found in profile.operators],
        unsupported=[
            profile_pb2.UnsupportedOperator(
                index=found.operator,
                kind=found.name,
                remedy=f"{found.problem}; {found.remedy}",
                subgraph=found.subgraph,
                problem=found.problem,
            )
            for found in profile.unsupported
        ],
        verdict=_verdict(profile.verdict),
        suggestions=[
            profile_pb2.Suggestion(
                text=found.text,
                operator_index=found.operator,
                saved_latency_us=found.saved_us,
                saved_ram_bytes=found.saved_ram_bytes,
                saved_flash_bytes=found.saved_flash_bytes,
            )
            for found in profile.suggestions
        ],
        kernels=profile.target.kernels.value,
        parameter_count=profile.parameters,
        mac_count=profile.macs,
        precision=profile.precision,
        core=profile.target.core.id,
        clock_hz=profile.target.clock_hz,
    )


def custom_target_values(message: profile_pb2.CustomTarget) -> dict[str, Any]:
    """Give a custom target as the mapping that `read_custom_target` takes."""
    return {
        "name": message.name,
        "core": message.core,
        "clock_hz": message.clock_hz,
        "ram_bytes": message.ram_bytes,
        "flash_bytes": message.flash_bytes,
        "kernels": message.kernels,
    }


def check_message(found: InterpreterCheck) -> profile_pb2.InterpreterCheck:
    """Give what the interpreter says as a message, variant left out."""
    return profile_pb2.InterpreterCheck(
        available=found.available,
        loaded=found.loaded,
        ran=found.ran,
        crashed=found.crashed,
        problem=found.problem,
        arena_bytes=found.arena_bytes,
        head_bytes=found.head_bytes,
        replayed_bytes=found.replayed_bytes,
        agrees=found.agrees,
    )


def _flash(flash: Flash) -> profile_pb2.FlashProfile:
    return profile_pb2.FlashProfile(
        model_bytes=flash.model_bytes,
        code_bytes=flash.code_bytes,
        total_bytes=flash.total_bytes,
        basis=_BASES[flash.basis],
        parts=[
            profile_pb2.FlashPart(name=part.name, size_bytes=part.size_bytes, kind=part.kind)
            for part in flash.parts
        ],
        int8_registrations_code_bytes=flash.int8_code_bytes,
        low_bytes=flash.low_bytes,
        high_bytes=flash.high_bytes,
    )


def _ram(ram: Ram) -> profile_pb2.RamProfile:
    plan = ram.plan
    return profile_pb2.RamProfile(
        arena_used_bytes=plan.arena_used_bytes,
        arena_declare_bytes=plan.arena_declare_bytes,
        head_bytes=plan.head_bytes,
        tail_bytes=plan.tail_bytes,
        interpreter_bytes=ram.interpreter_bytes,
        resolver_bytes=ram.resolver_bytes,
        stack_bytes=ram.stack_bytes,
        total_bytes=ram.total_bytes,
        basis=_BASES[ram.basis],
        buffers=[
            profile_pb2.PlannedBuffer(
                name=buffer.name,
                offset_bytes=buffer.offset_bytes,
                size_bytes=buffer.size_bytes,
                first_operator=buffer.first_used - 1,
                last_operator=buffer.last_used - 1,
                scratch=buffer.tensor < 0,
                kind=buffer.kind.value,
            )
            for buffer in plan.buffers
        ],
        statics_bytes=ram.statics_bytes,
        scratch_bytes=plan.scratch_bytes,
    )


def _operator(found: OperatorProfile) -> profile_pb2.OperatorProfile:
    return profile_pb2.OperatorProfile(
        index=found.index,
        kind=found.name,
        input_shape=found.input_shape,
        output_shape=found.output_shape,
        dtype=found.dtype,
        mac_count=found.macs,
        parameter_count=found.parameters,
        instructions=found.instructions,
        latency_us=found.microseconds,
        share=found.share,
        basis=_BASES[found.basis],
        subgraph=found.subgraph,
        path=found.path,
        options=_options(found.options),
        valid_mac_count=found.valid_macs,
        cycles=found.cycles,
    )


def _options(options: Mapping[str, Option]) -> dict[str, profile_pb2.OptionValue]:
    return {name: _option(value) for name, value in options.items()}


def _option(value: Option) -> profile_pb2.OptionValue:
    if isinstance(value, bool):
        return profile_pb2.OptionValue(flag=value)
    if isinstance(value, int):
        return profile_pb2.OptionValue(integer=value)
    if isinstance(value, str):
        return profile_pb2.OptionValue(text=value)
    # A damaged file may hold what is no number.
    return profile_pb2.OptionValue(number=value) if isfinite(value) else profile_pb2.OptionValue()


def _verdict(verdict: Verdict) -> profile_pb2.Verdict:
    return profile_pb2.Verdict(
        fits=verdict.fits,
        ram_fits=verdict.ram,
        flash_fits=verdict.flash,
        latency_fits=verdict.latency,
        ram_headroom_bytes=verdict.ram_headroom_bytes or 0,
        flash_headroom_bytes=verdict.flash_headroom_bytes or 0,
        reasons=verdict.reasons,
        latency_headroom_ms=verdict.latency_headroom_ms,
    )
