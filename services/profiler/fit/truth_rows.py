"""The measured rows: what was counted, on which build, for which operator of which model."""

from __future__ import annotations

import csv
import gzip
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from linnet_profiler.kernel_sets import KernelSet
from linnet_profiler.tflite.model import Model, Operator, Subgraph
from linnet_profiler.tflite.parser import parse

TRUTH: Final = Path(__file__).parents[1] / "truth"
MODELS: Final = Path(__file__).parents[3] / "tests" / "data" / "profiler" / "models.zip"
BATCHES: Final = ("first", "second", "published")

VARIANTS: Final = {
    "cortex-m0plus": KernelSet.CMSIS_C,
    "cortex-m4f": KernelSet.CMSIS_DSP,
    "cortex-m7": KernelSet.CMSIS_DSP,
    "cortex-m33": KernelSet.CMSIS_DSP,
    "cortex-m55": KernelSet.CMSIS_MVE,
}
# Instructions between two ticks of the emulated timer: what a count can be off by.
TICKS: Final = {"cortex-m33": 50, "cortex-m55": 31}


@dataclass(frozen=True, slots=True)
class CountedOperator:
    """One measured operator.

    Attributes:
        model: Batch and name, such as "first/dense00_i8".
        core: Core of the build.
        kernels: Kernel set of the build.
        graph: The operator's subgraph.
        operator: The operator.
        instructions: Counted instructions, TFLM's dispatch included.
        tick: Resolution of the count.
    """

    model: str
    core: str
    kernels: KernelSet
    graph: Subgraph
    operator: Operator
    instructions: int
    tick: int

    @property
    def build(self) -> str:
        """Core and kernel set, as the coefficient file names them."""
        return f"{self.core}/{self.kernels.value}"


def table(name: str) -> Iterator[dict[str, str]]:
    """Rows of one CSV file of the truth folder."""
    with gzip.open(TRUTH / f"{name}.csv.gz", "rt", newline="") as lines:
        yield from csv.DictReader(lines)


@cache
def model_bytes(name: str) -> bytes:
    """The .tflite file of a model such as "first/dense00_i8"."""
    with zipfile.ZipFile(MODELS) as archive:
        return archive.read(f"{name}.tflite")


@cache
def model(name: str) -> Model:
    """A parsed model of the archive."""
    return parse(model_bytes(name))


def kernel_set(core: str, library: str) -> KernelSet:
    """The kernel set that a truth row's core and kernels columns mean."""
    return KernelSet.REFERENCE if library == "reference" else VARIANTS[core]


def counted_operators() -> list[CountedOperator]:
    """Every measured operator of all three batches."""
    rows = []
    for batch in BATCHES:
        for row in table(f"{batch}_operators"):
            name = f"{batch}/{row['model']}"
            graph = model(name).main
            rows.append(
                CountedOperator(
                    model=name,
                    core=row["core"],
                    kernels=kernel_set(row["core"], row["kernels"]),
                    graph=graph,
                    operator=graph.operators[int(row["index"])],
                    instructions=int(row["instructions"]),
                    tick=TICKS.get(row["core"], 40),
                )
            )
    return rows
