"""Which sub-commands there are: our own, and those that installed services bring.

A service registers functions (or typer apps) under the entry-point group `linnet.commands`. Nothing
of them is imported until one is called; the line that `linnet --help` shows is read from the source
file, so that a service that is broken or slow to import harms its own commands only.
"""

import ast
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

GROUP = "linnet.commands"


@dataclass(frozen=True, slots=True)
class Offer:
    """One sub-command.

    Attributes:
        name: Its name.
        help: One line about it.
        load: Imports it and gives a function or a typer app.
        provider: The distribution that brings it; empty for our own.
    """

    name: str
    help: str
    load: Callable[[], Any]
    provider: str = ""


_OWN = (
    ("up", "linnet_sdk.cli.up", "up", "Run Linnet on this machine until Ctrl-C."),
    ("demo", "linnet_sdk.cli.demo", "demo", "Train on real sensor data, from push to report."),
    ("datasets", "linnet_sdk.cli.datasets", "app", "Push, list and read datasets."),
    ("train", "linnet_sdk.cli.train", "train", "Train a classifier on a dataset."),
    ("runs", "linnet_sdk.cli.runs", "app", "List, watch, compare, cancel and download runs."),
    ("batches", "linnet_sdk.cli.batches", "app", "Train, retrain and steer many runs at once."),
    ("spec", "linnet_sdk.cli.spec", "app", "Check, size, import and render training specs."),
    ("report", "linnet_sdk.cli.report", "report", "Show scores and on-device figures of a run."),
)


def own_offers() -> list[Offer]:
    """Give the sub-commands of this distribution."""
    return [Offer(name, text, partial(_load, module, item)) for name, module, item, text in _OWN]


def _load(module: str, item: str) -> Any:
    return getattr(import_module(module), item)


def foreign_offers(points: Iterable[EntryPoint] | None = None) -> list[Offer]:
    """Give the sub-commands of installed services, in order of name."""
    found = entry_points(group=GROUP) if points is None else points
    return [
        Offer(
            point.name,
            _first_line(point),
            point.load,
            provider=point.dist.name if point.dist is not None else point.module,
        )
        for point in sorted(found, key=lambda point: point.name)
    ]


def _first_line(point: EntryPoint) -> str:
    """Read the first line of the docstring without importing the module."""
    try:
        top, *rest = point.module.split(".")
        # Only a top-level package is found without importing anything.
        spec = importlib.util.find_spec(top)
        if spec is None or spec.origin is None:
            return _fallback(point)
        path = Path(spec.origin)
        if rest:
            path = path.parent.joinpath(*rest).with_suffix(".py")
            if not path.is_file():
                path = path.with_suffix("") / "__init__.py"
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == point.attr:
                return (ast.get_docstring(node) or "").partition("\n")[0] or _fallback(point)
    except Exception:  # noqa: BLE001 - whatever is wrong with a service, help must come
        return _fallback(point)
    return _fallback(point)


def _fallback(point: EntryPoint) -> str:
    return f"From {point.dist.name}." if point.dist is not None else f"From {point.module}."
