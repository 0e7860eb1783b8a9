"""Exported models against the stock converter's, for every preset; prints one JSON line a figure.

    python tests/bench/bench_export.py [--table]

`--table` prints the Markdown table of docs/training.md instead. Sizes and operators follow from the
architecture; 7 classes, rows of made data, no weight zero.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from linnet_ml.defaults import layers_of
from linnet_ml.presets import PRESETS
from linnet_ml.spec import Architecture, InputKind

from tests.support.stock_exports import arena_bytes, stock

CLASSES, ROWS = 7, 60
SHAPES = {
    InputKind.SPECTRAL: (33,),
    InputKind.TABULAR: (13,),
    InputKind.TIME_SERIES: (40, 3),
    InputKind.AUDIO: (650,),
    InputKind.IMAGE: (32, 32, 1),
}
# (size, arena) of stock at most, by preset, kind and variant.
GOALS = {
    ("dense", InputKind.SPECTRAL, "int8"): (0.75, None),
    ("conv1d", InputKind.AUDIO, "int8"): (0.45, 0.60),
    ("conv1d", InputKind.AUDIO, "float32"): (0.65, 0.70),
    ("conv2d", InputKind.AUDIO, "int8"): (0.75, 0.90),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One exported variant beside the stock converter's."""

    preset: str
    kind: InputKind
    variant: str
    operators: tuple[int, int]
    size_bytes: tuple[int, int]
    arena_bytes: tuple[int, int]

    @property
    def size_ratio(self) -> float:
        return self.size_bytes[0] / self.size_bytes[1]

    @property
    def arena_ratio(self) -> float:
        return self.arena_bytes[0] / self.arena_bytes[1]


def lines() -> Iterator[Line]:
    """Convert every preset both ways."""
    import keras
    from linnet_ml import device_ops
    from linnet_trainer import models
    from linnet_trainer.export import convert
    from linnet_trainer.export.tflite_edit import operator_names

    exporter = convert.Exporter()
    options = convert.Int8Options(float_io=False, per_tensor_dense=False)
    for preset, kind in sorted({(p.id, k) for p in PRESETS for k in p.input_kinds}):
        shape = SHAPES[kind]
        layers = layers_of(Architecture(preset=preset), kind, shape)
        keras.utils.set_random_seed(1)
        built = models.build(layers, shape, CLASSES)
        _perturb(built.model)
        rows = np.random.default_rng(2).normal(size=(ROWS, *shape)).astype(np.float32)
        plan = device_ops.plan(layers, shape, CLASSES)
        ours = exporter.export(plan, plan.arrays(built.weights()), rows, options)
        for variant, pair in zip(
            ("float32", "int8"), zip(ours, stock(built.model, rows), strict=True), strict=True
        ):
            yield Line(
                preset,
                kind,
                variant,
                tuple(len(operator_names(m)) for m in pair),
                tuple(len(m) for m in pair),
                tuple(arena_bytes(m) for m in pair),
            )


def _perturb(model: Any) -> None:
    """Make weights as if they had been trained: the converter drops biases of zero."""
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if "seed" not in variable.path:
            changed = variable.numpy() + rng.normal(0, 0.05, variable.shape)
            variable.assign(np.abs(changed) if "variance" in variable.path else changed)


def table(found: Iterator[Line]) -> None:
    print("| preset | input | variant | operators | size, bytes | ratio | arena, bytes | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for line in found:
        shape = " x ".join(map(str, SHAPES[line.kind]))
        pairs = [
            f"{ours:,} / {theirs:,}"
            for ours, theirs in (line.operators, line.size_bytes, line.arena_bytes)
        ]
        print(
            f"| {line.preset} | {line.kind.name.lower()}, {shape} | {line.variant} | {pairs[0]} | "
            f"{pairs[1]} | {line.size_ratio:.2f} | {pairs[2]} | {line.arena_ratio:.2f} |",
            flush=True,
        )


def figures(found: Iterator[Line]) -> None:
    for line in found:
        goals = GOALS.get((line.preset, line.kind, line.variant), (None, None))
        name = f"export.{line.preset}.{line.kind.name.lower()}.{line.variant}"
        ratios = (("size", line.size_ratio), ("arena", line.arena_ratio))
        for (what, value), goal in zip(ratios, goals, strict=True):
            ok = goal is None or value <= goal
            told = {"name": f"{name}.{what}", "value": value, "unit": "ratio", "goal": goal}
            print(json.dumps(told | {"ok": ok}), flush=True)


def main() -> None:
    from linnet_trainer.startup import workshop

    with workshop():
        (table if "--table" in sys.argv else figures)(lines())


if __name__ == "__main__":
    main()
