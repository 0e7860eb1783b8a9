"""Profiles a model: parsed once, replayed once per ABI and kernel set, counted once per build."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from linnet_profiler.basis import Basis, weakest
from linnet_profiler.cost.instructions import InstructionCount, count_instructions
from linnet_profiler.cost.timing import timing_of
from linnet_profiler.errors import ModelError
from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.memory.abi import ABI_SIZES, Abi
from linnet_profiler.memory.arena import ArenaPlan, replay
from linnet_profiler.operator_facts import OperatorFacts, facts_of, precision_of
from linnet_profiler.profile import Budgets, Latency, OperatorProfile, Profile, Ram, Verdict
from linnet_profiler.program.flash import Flash, flash_of
from linnet_profiler.suggest import suggest
from linnet_profiler.suggestions import Suggestion
from linnet_profiler.support import replayed, unsupported_operators
from linnet_profiler.target_choice import adjusted
from linnet_profiler.targets import Counts, Target, find_target, targets
from linnet_profiler.tflite.model import Model
from linnet_profiler.tflite.parser import parse
from linnet_profiler.untrained.quantized import quantized

STACK_BYTES: Final = 2048
# Beyond are damaged shapes, and counts that a message can't hold.
MAX_MACS: Final = 2**62
# Static data besides interpreter and resolver in the measured builds.
STATICS_BYTES: Final = 128


class Analysis:
    """A parsed model and what is known of it so far; profiles it for any number of targets."""

    def __init__(self, model: Model) -> None:
        """Take a parsed model.

        Raises:
            ModelError: It has more multiply-accumulates than 64 bits count.
        """
        self.model = model
        self.unsupported = unsupported_operators(model)
        self.precision = precision_of(model)
        self._replayed = replayed(model)
        self._facts = [
            facts_of(graph, operator) for graph in model.subgraphs for operator in graph.operators
        ]
        macs = sum(facts.macs for facts in self._facts)
        if macs > MAX_MACS:
            raise ModelError(f"model: at most {MAX_MACS} multiply-accumulates, got {macs}")
        self._plans: dict[tuple[Abi, KernelSet], ArenaPlan] = {}
        self._counts: dict[Counts, list[InstructionCount]] = {}
        self._flash: dict[tuple[str, Basis], Flash] = {}
        self._quantized: Analysis | None = None

    @classmethod
    def of(cls, data: bytes) -> Analysis:
        """Parse a .tflite file.

        Raises:
            ModelError: The file can't be read.
        """
        return cls(parse(data))

    def plan(self, abi: Abi, kernels: KernelSet) -> ArenaPlan:
        """The arena for an ABI and kernel set."""
        key = (abi, kernels)
        if key not in self._plans:
            self._plans[key] = replay(self.model, abi, kernels)
        return self._plans[key]

    def counts(self, counts: Counts) -> list[InstructionCount]:
        """Instructions of every operator on the build that stands for a core."""
        if counts not in self._counts:
            self._counts[counts] = [
                count_instructions(facts.graph, facts.operator, counts) for facts in self._facts
            ]
        return self._counts[counts]

    def flash(self, counts: Counts) -> Flash:
        """Program memory on a build."""
        key = (counts.build, counts.basis)
        if key not in self._flash:
            self._flash[key] = flash_of(
                self.model.size_bytes,
                self.model.operator_kinds(),
                counts,
                int8_model=self.precision == "int8",
            )
        return self._flash[key]

    def ram(self, target: Target) -> Ram:
        """RAM on a target."""
        sizes = ABI_SIZES[target.core.abi]
        plan = self.plan(target.core.abi, target.kernels)
        kinds = len(self.model.operator_kinds())
        resolver = sizes.registration * kinds + sizes.resolver_fixed
        total = (
            plan.arena_declare_bytes + sizes.interpreter + resolver + STATICS_BYTES + STACK_BYTES
        )
        known = target.core.abi is Abi.ARM32 and not target.kernels.is_esp and self._replayed
        return Ram(
            plan=plan,
            interpreter_bytes=sizes.interpreter,
            resolver_bytes=resolver,
            statics_bytes=STATICS_BYTES,
            stack_bytes=STACK_BYTES,
            total_bytes=total,
            basis=Basis.SIMULATED if known else Basis.ESTIMATED,
        )

    def profile(self, target: Target, budgets: Budgets | None = None) -> Profile:
        """All figures on a target.

        Args:
            target: Board, bare core or custom target.
            budgets: Limits besides the target's own.
        """
        counts = target.core.counts[target.kernels]
        counted = self.counts(counts)
        timing = timing_of(target, floating=self.precision == "float32")
        instructions = sum(count.instructions for count in counted)
        each = [
            timing.cycles(count.instructions, facts.streamed_bytes)
            for facts, count in zip(self._facts, counted, strict=True)
        ]
        cycles = sum(each) + timing.overhead_cycles
        microseconds = cycles / target.clock_hz * 1e6
        instructions_basis = weakest(*(count.basis for count in counted))
        latency = Latency(
            milliseconds=microseconds / 1e3,
            low=microseconds / 1e3 / timing.band,
            high=microseconds / 1e3 * timing.band,
            cycles=cycles,
            instructions=instructions,
            instructions_basis=instructions_basis,
            basis=timing.basis,
        )
        operators = tuple(
            _operator_profile(facts, count, own, target, cycles)
            for facts, count, own in zip(self._facts, counted, each, strict=True)
        )
        ram, flash = self.ram(target), self.flash(counts)
        return Profile(
            target=target,
            precision=self.precision,
            ram=ram,
            flash=flash,
            latency=latency,
            operators=operators,
            unsupported=self.unsupported,
            suggestions=suggest(
                target, operators, flash, self._quantizing(target, ram, flash, microseconds)
            ),
            verdict=self._verdict(target, ram, flash, latency, budgets or Budgets()),
            parameters=sum(facts.parameters for facts in self._facts),
            macs=sum(facts.macs for facts in self._facts),
        )

    def quantized(self) -> Analysis | None:
        """The same network in int8; None where this one isn't float32."""
        if self.precision != "float32":
            return None
        if self._quantized is None:
            self._quantized = Analysis(quantized(self.model))
        return self._quantized

    def _quantizing(
        self, target: Target, ram: Ram, flash: Flash, microseconds: float
    ) -> Suggestion | None:
        other = self.quantized()
        if other is None or target.kernels is KernelSet.REFERENCE:
            return None
        found = other.profile(target)
        return Suggestion(
            "Quantize to int8: the optimised kernels work on int8, and weights take a quarter.",
            -1,
            microseconds - found.latency.milliseconds * 1e3,
            ram.total_bytes - found.ram.total_bytes,
            flash.total_bytes - found.flash.total_bytes,
        )

    def _verdict(
        self, target: Target, ram: Ram, flash: Flash, latency: Latency, budgets: Budgets
    ) -> Verdict:
        ram_left = _headroom(ram.total_bytes, target.ram_bytes or None, budgets.ram_bytes)
        flash_left = _headroom(flash.total_bytes, target.flash_bytes or None, budgets.flash_bytes)
        time_left = (
            None if budgets.latency_ms is None else budgets.latency_ms - latency.milliseconds
        )
        reasons = []
        if ram_left is not None and ram_left < 0:
            reasons.append(f"RAM: needs {ram.total_bytes} bytes, {-ram_left} too many.")
        if flash_left is not None and flash_left < 0:
            reasons.append(f"Flash: needs {flash.total_bytes} bytes, {-flash_left} too many.")
        if time_left is not None and time_left < 0:
            reasons.append(
                f"Latency: takes {latency.milliseconds:.3g} ms, {-time_left:.3g} ms too long."
            )
        reasons += [
            f"Operator {finding.operator} ({finding.name}): {finding.problem}; {finding.remedy}."
            for finding in self.unsupported
        ]
        return Verdict(
            fits=not reasons,
            ram=ram_left is None or ram_left >= 0,
            flash=flash_left is None or flash_left >= 0,
            latency=time_left is None or time_left >= 0,
            ram_headroom_bytes=ram_left,
            flash_headroom_bytes=flash_left,
            latency_headroom_ms=time_left,
            reasons=tuple(reasons),
        )


def profile(
    model: bytes,
    target: str | Target,
    *,
    kernels: str | None = None,
    clock_hz: int | None = None,
    budgets: Budgets | None = None,
) -> Profile:
    """Profile a .tflite file for one target.

    Args:
        model: The file's bytes.
        target: A board's id, or a target made by `bare_core` or `custom_target`.
        kernels: Library other than the target's own: cmsis-nn, esp-nn or reference.
        clock_hz: Clock other than the target's own.
        budgets: Limits besides the target's own.

    Raises:
        ModelError: The file can't be read.
        UnknownTargetError: No such board, or no such kernels on it.
    """
    chosen = adjusted(find_target(target) if isinstance(target, str) else target, kernels, clock_hz)
    return Analysis.of(model).profile(chosen, budgets)


def profile_all(
    model: bytes, among: Iterable[Target] | None = None, *, budgets: Budgets | None = None
) -> tuple[Profile, ...]:
    """Profile a .tflite file for many targets at once: all boards unless told."""
    analysis = Analysis.of(model)
    chosen = targets().values() if among is None else among
    return tuple(analysis.profile(target, budgets) for target in chosen)


def smallest_that_fits(profiles: Iterable[Profile]) -> Profile | None:
    """The fitting profile on the smallest target: least RAM, then least flash, then slowest."""
    fitting = [found for found in profiles if found.verdict.fits]
    return min(
        fitting,
        key=lambda found: (
            found.target.ram_bytes,
            found.target.flash_bytes,
            found.target.clock_hz,
            found.target.id,
        ),
        default=None,
    )


def _headroom(need: int, limit: int | None, budget: int | None) -> int | None:
    bounds = [bound for bound in (limit, budget) if bound is not None]
    return min(bounds) - need if bounds else None


def _operator_profile(
    facts: OperatorFacts,
    count: InstructionCount,
    cycles: float,
    target: Target,
    total: float,
) -> OperatorProfile:
    return OperatorProfile(
        index=facts.operator.index,
        subgraph=facts.graph.index,
        name=facts.operator.custom_code or facts.operator.name,
        dtype=facts.dtype,
        input_shape=facts.input_shape,
        output_shape=facts.output_shape,
        options=dict(facts.operator.options),
        macs=facts.macs,
        valid_macs=facts.valid_macs,
        parameters=facts.parameters,
        path=count.path,
        instructions=count.instructions,
        cycles=cycles,
        microseconds=cycles / target.clock_hz * 1e6,
        share=cycles / total if total else 0.0,
        basis=count.basis,
    )
