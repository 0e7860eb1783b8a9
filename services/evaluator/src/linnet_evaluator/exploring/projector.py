"""The projection port, and its adapter on a warm sandbox."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from linnet_runtime.errors import InvalidInput
from linnet_runtime.sandbox import Limits, Sandbox, SandboxFailure, SharedBytes
from numpy.typing import NDArray

from linnet_evaluator.record import ProjectionMethod

PROJECTIONS = "linnet_evaluator.exploring.projections"
WARM_MODULES = (PROJECTIONS, "fastumap.graph", "fastumap.layout", "scipy.sparse.csgraph")


@dataclass(frozen=True, slots=True)
class Projection:
    """Rows on two axes.

    Attributes:
        points: Float32, shape (rows, 2).
        fitted_count: Rows that it was computed from.
        explained: Share of variance along each axis, for PCA; else empty.
    """

    points: NDArray[np.float32]
    fitted_count: int
    explained: tuple[float, ...]


class Projector(Protocol):
    """What projects rows to two axes."""

    def project(self, matrix: NDArray[np.float32], method: ProjectionMethod) -> Projection:
        """Project rows, shape (rows, values); blocks.

        Raises:
            InvalidInput: The rows can't be projected.
        """
        ...


class SandboxProjector:
    """Projects in children of a zygote that has imported the libraries."""

    def __init__(self, sandbox: Sandbox, limits: Limits) -> None:
        self._sandbox = sandbox
        self._limits = limits

    def project(self, matrix: NDArray[np.float32], method: ProjectionMethod) -> Projection:
        """Project rows, shape (rows, values); blocks.

        Raises:
            InvalidInput: It took too much memory or crashed.
            DeadlineExceeded: It took too long.
        """
        values = np.ascontiguousarray(matrix, np.float32)
        with SharedBytes(values.data) as shared:
            try:
                answer = self._sandbox.run(
                    f"{PROJECTIONS}:run",
                    {"method": method.name.lower(), "values": values.shape[1]},
                    [shared],
                    self._limits,
                )
            except SandboxFailure as failure:
                raise InvalidInput.of(
                    "dataset_files[features.npy]", failure.message, reason=failure.reason
                ) from failure
        points = np.frombuffer(answer.outputs[0], np.float32).reshape(-1, 2)
        explained = tuple(float(v) for v in answer.value["explained"])
        return Projection(points, int(answer.value["fitted"]), explained)
