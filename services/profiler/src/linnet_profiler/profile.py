"""What one model needs on one target: the figures, and the types that carry them."""

from __future__ import annotations

from dataclasses import dataclass

from linnet_profiler.basis import Basis
from linnet_profiler.memory.arena import ArenaPlan
from linnet_profiler.program.flash import Flash
from linnet_profiler.suggestions import Suggestion
from linnet_profiler.support import Unsupported
from linnet_profiler.targets import Target
from linnet_profiler.tflite.model import Option


@dataclass(frozen=True, slots=True)
class Ram:
    """RAM of one inference, in bytes.

    Attributes:
        plan: The arena, buffer by buffer.
        interpreter_bytes: The MicroInterpreter object, outside the arena.
        resolver_bytes: MicroMutableOpResolver for the model's operators, outside the arena.
        statics_bytes: Static data of the C library and TFLM.
        stack_bytes: Stack that AllocateTensors and Invoke need.
        total_bytes: The arena to declare and all of the above.
        basis: SIMULATED for ABIs replayed to the byte, ESTIMATED for derived ones.
    """

    plan: ArenaPlan
    interpreter_bytes: int
    resolver_bytes: int
    statics_bytes: int
    stack_bytes: int
    total_bytes: int
    basis: Basis


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one inference.

    Attributes:
        milliseconds: Best guess.
        low: Lower end of the 90 % band, in milliseconds.
        high: Upper end, in milliseconds.
        cycles: Core cycles.
        instructions: Instructions executed.
        instructions_basis: How the count came about.
        basis: How the time came about.
    """

    milliseconds: float
    low: float
    high: float
    cycles: float
    instructions: float
    instructions_basis: Basis
    basis: Basis


@dataclass(frozen=True, slots=True)
class OperatorProfile:
    """One operator.

    Attributes:
        index: Place in its subgraph.
        subgraph: Its subgraph.
        name: Builtin name or custom code.
        dtype: Type of its main input, in lower case.
        input_shape: Shape of its main input.
        output_shape: Shape of its first output.
        options: Builtin options.
        macs: Multiply-accumulates, padding counted.
        valid_macs: Multiply-accumulates on taps inside the image.
        parameters: Constant weights and biases it reads.
        path: Kernel path the count is for.
        instructions: Instructions, dispatch included.
        cycles: Core cycles.
        microseconds: Time.
        share: Part of the inference's time, in [0, 1].
        basis: How the instructions came about.
    """

    index: int
    subgraph: int
    name: str
    dtype: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    options: dict[str, Option]
    macs: int
    valid_macs: int
    parameters: int
    path: str
    instructions: float
    cycles: float
    microseconds: float
    share: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits besides the target's own; None leaves one out.

    Attributes:
        ram_bytes: RAM the model may take.
        flash_bytes: Flash the model may take.
        latency_ms: Time one inference may take.
    """

    ram_bytes: int | None = None
    flash_bytes: int | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a model fits.

    Attributes:
        fits: RAM, flash and latency fit and every operator is there.
        ram: RAM fits the target and the budget.
        flash: Flash fits the target and the budget.
        latency: The best guess keeps the budget.
        ram_headroom_bytes: RAM left; negative where it doesn't fit, None without a limit.
        flash_headroom_bytes: Flash left; None without a limit.
        latency_headroom_ms: Time left; None without a budget.
        reasons: Why it doesn't fit, one sentence each.
    """

    fits: bool
    ram: bool
    flash: bool
    latency: bool
    ram_headroom_bytes: int | None
    flash_headroom_bytes: int | None
    latency_headroom_ms: float | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a model needs on a target.

    Attributes:
        target: The target, with the clock and kernels the figures are for.
        precision: int8, int8 with float input and output, float32 or mixed.
        ram: RAM.
        flash: Flash.
        latency: Time of one inference.
        operators: In order of execution.
        unsupported: Operators TFLite Micro lacks.
        suggestions: Ways to make it smaller or faster.
        verdict: Whether it fits.
        parameters: Weights and biases of the model.
        macs: Multiply-accumulates of one inference.
    """

    target: Target
    precision: str
    ram: Ram
    flash: Flash
    latency: Latency
    operators: tuple[OperatorProfile, ...]
    unsupported: tuple[Unsupported, ...]
    suggestions: tuple[Suggestion, ...]
    verdict: Verdict
    parameters: int
    macs: int
