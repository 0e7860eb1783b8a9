"""Where a run's Keras model comes from and how it is exported."""

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from linnet_ml import device_ops
from linnet_ml.layers import infer
from linnet_ml.spec import ExportOptions, LayerList
from linnet_ml.wire import to_json
from numpy.typing import NDArray

from linnet_trainer.archives import npz_bytes
from linnet_trainer.export import last_words
from linnet_trainer.file_names import CALIBRATION, FLOAT32, INT8, LAYERS, WEIGHTS
from linnet_trainer.models import BuiltModel, build, redraw
from linnet_trainer.zygote import Call, ChildLost, Zygote

EXPORT_TIMEOUT_S = 600.0
CHECK_TIMEOUT_S = 60.0
_WORDLESS = (
    " without a word, as it is where a scale of the int8 model is next to zero; the usual cause is "
    "a layer that gives the same values for every row"
)


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export made.

    Attributes:
        input_shape: Shape of the exported models' input, batch included; None when nothing came.
        problems: Why a variant is missing or not usable on a device, for a person.
    """

    input_shape: tuple[int, ...] | None
    problems: tuple[str, ...] = ()


class Network(Protocol):
    """A network that can be built anew, trained and exported."""

    @property
    def key(self) -> str:
        """Equal for networks that may share a traced loop."""
        ...

    @property
    def layers(self) -> LayerList | None:
        """Its layers; None for an expert script."""
        ...

    @property
    def own_fit(self) -> Callable[..., Any] | None:
        """A script's own fit function; None to be trained by the compiled loop."""
        ...

    @property
    def resumes(self) -> bool:
        """Whether that function can go on from a later epoch."""
        ...

    def build(self) -> Any:
        """Build the Keras model with fresh weights from Keras' global random state."""
        ...

    def notes(self) -> tuple[str, ...]:
        """Give what a person should know of the built network, each once."""
        ...

    def export(
        self, model: Any, calibration: NDArray[np.float32], options: ExportOptions, folder: Path
    ) -> Exported:
        """Write the .tflite variants of a trained model into a folder."""
        ...


class LayerNetwork:
    """A layer list, built here and exported in a child process."""

    def __init__(
        self, layers: LayerList, input_shape: tuple[int, ...], class_count: int, children: Zygote
    ) -> None:
        from linnet.v1 import spec_pb2

        self.layers: LayerList | None = layers
        self._input_shape = input_shape
        self._class_count = class_count
        self._children = children
        self._json = to_json(layers, spec_pb2.LayerList)
        self._built: BuiltModel | None = None
        self.own_fit: Callable[..., Any] | None = None
        self.resumes = False

    @property
    def key(self) -> str:
        """Equal for networks that may share a traced loop."""
        return json.dumps([self._json, self._input_shape, self._class_count])

    def build(self) -> Any:
        """Give the Keras model fresh weights from Keras' global random state.

        It is one model, built by the first call.
        """
        assert self.layers is not None
        if self._built is None:
            self._built = build(self.layers, self._input_shape, self._class_count)
        else:
            redraw(self._built)
        return self._built.model

    def notes(self) -> tuple[str, ...]:
        """Give nothing: layers build what they say."""
        return ()

    def export(
        self, model: Any, calibration: NDArray[np.float32], options: ExportOptions, folder: Path
    ) -> Exported:
        """Write the .tflite variants, made for the device, and have TFLite Micro load them."""
        assert self.layers is not None
        assert self._built is not None
        assert model is self._built.model
        made = DeviceModel(self.layers, self._built.weights(), self._input_shape, self._class_count)
        return made.export(calibration, options, folder, self._children)


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """A trained layer list, exported as a device needs it.

    Attributes:
        layers: Enabled layers with their defaults filled in.
        weights: Arrays of every layer with weights, see `models.BuiltModel.weights`.
        input_shape: Shape of one row.
        class_count: Units of the output.
    """

    layers: LayerList
    weights: Sequence[tuple[NDArray[np.float32], ...]]
    input_shape: tuple[int, ...]
    class_count: int

    def export(
        self,
        calibration: NDArray[np.float32],
        options: ExportOptions,
        folder: Path,
        children: Zygote,
    ) -> Exported:
        """Write the .tflite variants in a child, and have TFLite Micro load them."""
        self._give(folder)
        np.save(folder / CALIBRATION, calibration)
        arguments = {
            "folder": str(folder),
            "input_shape": self.input_shape,
            "class_count": self.class_count,
            "skip_int8": options.skip_int8,
            "int8_io": int(options.int8_io),
            "per_tensor_dense": options.per_tensor_dense,
        }
        made: list[str] = []
        problem = ""
        try:
            said = children.call(Call("export", arguments, EXPORT_TIMEOUT_S), _noting("made", made))
            if said["error"]:
                problem = f"the converter says: {said['error']}"
        except ChildLost as lost:
            problem = f"the converter crashed: {last_words.with_words(lost.reason, folder)}."
        problems = []
        if problem:
            missing = "int8" if FLOAT32 in made else "exported"
            problems.append(f"There is no {missing} model, {problem}")
        # What a child left unfinished is no model.
        unfinished = {FLOAT32, INT8} - set(made)
        for name in (LAYERS, WEIGHTS, CALIBRATION, *unfinished):
            (folder / name).unlink(missing_ok=True)
        shapes = infer(self.layers, self.input_shape, self.class_count)
        values = max(prod(s.input_shape) + prod(s.output_shape) for s in shapes)
        problems += refusals(children, folder, values)
        plan = device_ops.plan(self.layers, self.input_shape, self.class_count)
        return Exported(plan.input_shape if made else None, tuple(problems))

    def _give(self, folder: Path) -> None:
        from linnet.v1 import spec_pb2

        arrays = {
            f"{layer}_{number}": array
            for layer, own in enumerate(self.weights)
            for number, array in enumerate(own)
        }
        (folder / LAYERS).write_text(to_json(self.layers, spec_pb2.LayerList))
        (folder / WEIGHTS).write_bytes(npz_bytes(arrays))


def refusals(children: Zygote, folder: Path, largest_values: int) -> list[str]:
    """Have TFLite Micro load and run a folder's models in a child; give what it says against them.

    Args:
        children: Who forks the child.
        folder: Where the models are.
        largest_values: Most values that are alive at once, for the size of the arena.
    """
    left = [name for name in (FLOAT32, INT8) if (folder / name).exists()]
    problems = []
    while left:
        arenas = [(1 << 20) + (folder / n).stat().st_size + 16 * largest_values for n in left]
        arguments = {"folder": str(folder), "names": left, "arena_bytes": arenas}
        passed: list[str] = []
        try:
            result = children.call(
                Call("check", arguments, CHECK_TIMEOUT_S), _noting("passed", passed)
            )
        except ChildLost as lost:
            # It went through the models in order, and the next one ended it.
            ended = left[min(len(passed), len(left) - 1)]
            reason = last_words.with_words(lost.reason, folder)
            if reason == lost.reason and lost.signal == signal.SIGABRT:
                reason += _WORDLESS
            problems.append(f"TFLite Micro can't run {ended}: {reason}.")
            left = left[len(passed) + 1 :]
        else:
            problems += [f"TFLite Micro refuses {n}: {e}" for n, e in result["errors"].items()]
            if result["unchecked"]:
                problems.append(
                    "The models were not checked with TFLite Micro, which can't be loaded: "
                    f"{result['unchecked']}"
                )
            left = []
    last_words.forget(folder)
    return problems


def _noting(key: str, names: list[str]) -> Callable[[Mapping[str, Any]], bool]:
    """Make a listener that collects what a child's events have under a key."""

    def note(event: Mapping[str, Any]) -> bool:
        if key in event:
            names.append(str(event[key]))
        return True

    return note
