"""Weights of an earlier run as the starting point: all of them fit, or none is taken."""

import io
import re
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
from linnet_runtime.errors import InvalidInput

_WEIGHTS_FILE = "model.weights.h5"
_WEIGHT = re.compile(r"(?!(.*/)?optimizer/)(.*/)?vars/\d+")
"""Where a .keras file keeps a weight; optimizers of compiled models have groups of their own."""
_LISTED = 5


def take(model: Any, path: Path) -> None:
    """Give a model the weights of a .keras file.

    Keras itself passes over weights of layers that the model has not, and takes the rest.

    Raises:
        InvalidInput: It is no .keras file, or its weights are not those of the model's layers.
    """
    found = Counter(_shapes(path))
    wanted = Counter(tuple(weight.shape) for weight in model.weights)
    problems = [
        words.format(_listed(shapes))
        for words, shapes in (
            ("its weights {} have no place in this network", found - wanted),
            ("it has no weights {} for this network", wanted - found),
        )
        if shapes
    ]
    if problems:
        raise _misfit("; ".join(problems))
    try:
        with warnings.catch_warnings():
            # Keras warns of what it looks for first in files that have it elsewhere.
            warnings.simplefilter("ignore")
            model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        raise _misfit(f"its weights do not fit: {str(error).splitlines()[0]}") from error


def _shapes(path: Path) -> list[tuple[int, ...]]:
    try:
        with zipfile.ZipFile(path) as archive:
            stored = archive.read(_WEIGHTS_FILE)
        shapes: list[tuple[int, ...]] = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and _WEIGHT.fullmatch(name):
                shapes.append(tuple(item.shape))

        with h5py.File(io.BytesIO(stored)) as file:
            file.visititems(visit)
    # A damaged archive raises whatever its damage meets.
    except Exception as error:
        raise InvalidInput.of(
            "init_from", f"expected a model.keras with weights, received a broken one: {error}"
        ) from error
    return shapes


def _listed(shapes: Counter[tuple[int, ...]]) -> str:
    every = sorted(shapes.elements())
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(str(shape) for shape in every[:_LISTED]) + more


def _misfit(words: str) -> InvalidInput:
    return InvalidInput.of(
        "init_from", f"expected a run of the same architecture and classes, {words}"
    )
