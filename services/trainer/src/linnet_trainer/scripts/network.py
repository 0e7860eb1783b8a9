"""The network of an expert script; lives in the child that runs the script."""

import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from linnet_ml.spec import ExportOptions, LayerList, TensorIo
from numpy.typing import NDArray

from linnet_trainer.archives import npz_bytes
from linnet_trainer.export import last_words
from linnet_trainer.export.export_job import LONGEST_ERROR, error_text
from linnet_trainer.file_names import CALIBRATION, FLOAT32, INT8, SCRIPT, WEIGHTS
from linnet_trainer.networks import EXPORT_TIMEOUT_S, DeviceModel, Exported, refusals
from linnet_trainer.scripts.errors import ScriptFailed
from linnet_trainer.scripts.outputs import ends_with_softmax, said_against
from linnet_trainer.scripts.printing import Lines
from linnet_trainer.scripts.read_layers import read_layers
from linnet_trainer.scripts.source import Script, users_lines
from linnet_trainer.zygote import Call, ChildLost, Zygote

_LARGEST_VALUES = 1 << 20


class ScriptNetwork:
    """What a script builds, exported by a child of its own.

    Args:
        source: The script.
        rows: A few rows of the dataset, to see what a model makes of them.
        class_count: Classes of the dataset.
        children: Who forks that child.
    """

    def __init__(
        self, source: str, rows: NDArray[np.float32], class_count: int, children: Zygote
    ) -> None:
        self._source = source
        self._script = Script(source)
        self._rows = rows
        self._input_shape = rows.shape[1:]
        self._notes: list[str] = []
        self._judged = False
        self._class_count = class_count
        self._children = children
        self.layers: LayerList | None = None

    @property
    def key(self) -> str:
        """Equal for networks that may share a traced loop."""
        return hashlib.sha256(self._source.encode()).hexdigest()

    @property
    def own_fit(self) -> Callable[..., Any] | None:
        """The script's own fit; None without one."""
        return self._script.fit

    @property
    def resumes(self) -> bool:
        """Whether that fit goes on from `settings.initial_epoch`."""
        return self._script.resumes

    def build(self) -> Any:
        """Build the Keras model with fresh weights from Keras' global random state.

        Raises:
            ScriptFailed: It can't be built, or gives what can't be trained as probabilities.
        """
        from linnet_trainer.pointwise import avoid_strides

        model = self._script.build(self._input_shape, self._class_count)
        avoid_strides(model)
        if not self._judged:
            self._judge(model)
        self._judged = True
        return model

    def _judge(self, model: Any) -> None:
        if self._script.compiles and self.own_fit is None:
            self._notes.append(
                "model.compile in build_model has no effect: optimizer, loss and metrics are those "
                "of the settings; define fit to train with your own."
            )
        if ends_with_softmax(model):
            return
        with users_lines():
            outputs = model(self._rows, training=False)
        against, negative = said_against(outputs)
        if against and negative and self.own_fit is None:
            raise ScriptFailed(
                "expected build_model to return a model whose outputs are probabilities, as "
                f'activation="softmax" at its end gives them, received {against}'
            )
        if against:
            self._notes.append(
                f"The model's outputs are no probabilities, but {against}; its scores on a device "
                'will be none either. activation="softmax" at its end makes them so.'
            )

    def notes(self) -> tuple[str, ...]:
        """Give what a person should know of the built network, each once."""
        found, self._notes = tuple(self._notes), []
        return found

    def export(
        self, model: Any, calibration: NDArray[np.float32], options: ExportOptions, folder: Path
    ) -> Exported:
        """Write the .tflite variants; a crash of the converter costs them, not the run.

        A model that a layer list can say is exported as that layer list.
        """
        read = read_layers(model, self._input_shape, self._class_count)
        if read is not None:
            made = DeviceModel(read.layers, read.weights, self._input_shape, self._class_count)
            return made.export(calibration, options, folder, self._children)
        arrays = {str(number): array for number, array in enumerate(model.get_weights())}
        (folder / SCRIPT).write_text(self._source)
        (folder / WEIGHTS).write_bytes(npz_bytes(arrays))
        np.save(folder / CALIBRATION, calibration)
        arguments = {
            "folder": str(folder),
            "input_shape": self._input_shape,
            "class_count": self._class_count,
            "int8_io": int(options.int8_io),
            "per_tensor_dense": options.per_tensor_dense,
        }
        problems: list[str] = []
        shape = None
        files = {"float32": FLOAT32, "int8": INT8}
        for variant in ["float32"] + ([] if options.skip_int8 else ["int8"]):
            try:
                result = self._children.call(
                    Call(
                        "export_script",
                        {**arguments, "variant": variant},
                        EXPORT_TIMEOUT_S,
                        reused=False,
                    )
                )
                shape = tuple(result["input_shape"]) if result["input_shape"] else shape
                error = result["error"]
            except ChildLost as lost:
                reason = last_words.with_words(lost.reason, folder)
                problems.append(f"There is no {variant} model, the converter crashed: {reason}.")
                (folder / files[variant]).unlink(missing_ok=True)
                continue
            if error:
                problems.append(f"There is no {variant} model, the converter says: {error}")
            elif result.get("note"):
                problems.append(str(result["note"]))
        for name in (SCRIPT, WEIGHTS, CALIBRATION):
            (folder / name).unlink(missing_ok=True)
        problems += refusals(self._children, folder, _LARGEST_VALUES)
        return Exported(shape, tuple(problems))


def export_script(arguments: Mapping[str, Any], _event: object) -> Mapping[str, Any]:
    """Export one variant of a script's trained model; runs in a child of its own.

    Args:
        arguments: `folder` with script, weights and calibration rows, `variant` and the options.

    Returns:
        `input_shape` of the exported model, `error` if there is none, and a `note` if there is
        something to know about it.
    """
    from linnet_trainer.export import keras_export, recurrent
    from linnet_trainer.export.tflite_edit import tensor_facts

    folder = Path(arguments["folder"])
    note = ""
    last_words.keep(folder)
    # What the script prints is told once, by the process that trains.
    sys.stdout = sys.stderr = Lines(lambda _line: None)
    try:
        script = Script((folder / SCRIPT).read_text())
        model = script.build(tuple(arguments["input_shape"]), arguments["class_count"])
        with np.load(folder / WEIGHTS) as archive:
            model.set_weights([archive[str(n)] for n in range(len(archive.files))])
        if arguments["variant"] == "float32":
            name, made = FLOAT32, keras_export.float32(model)
        else:
            rows = np.load(folder / CALIBRATION)
            options = ExportOptions(
                int8_io=TensorIo(arguments["int8_io"]),
                per_tensor_dense=arguments["per_tensor_dense"],
            )
            steps = recurrent.unroll(model)
            name, made = INT8, keras_export.int8(model, rows, options)
            note = _unrolled(steps)
        (folder / name).write_bytes(made)
        shape = tensor_facts(made)["input"]["shape"]
    except ScriptFailed as problem:
        return {"input_shape": None, "error": problem.message[:LONGEST_ERROR]}
    except Exception as problem:  # noqa: BLE001 - converters raise errors of many kinds
        return {"input_shape": None, "error": error_text(problem)}
    return {"input_shape": shape, "error": "", "note": note}


def _unrolled(steps: Mapping[str, int]) -> str:
    if not steps:
        return ""
    listed = ", ".join(f"{name} {count} times" for name, count in steps.items())
    return (
        "The int8 model repeats its recurrent layers for each step, since they have no int8 form "
        f"otherwise: {listed}. Convolutions are smaller and faster on a device."
    )
