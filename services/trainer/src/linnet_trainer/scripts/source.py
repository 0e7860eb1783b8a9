"""Runs an expert script's source and cuts its tracebacks to the user's own lines."""

import ast
import linecache
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from linnet_trainer.scripts.errors import ScriptFailed, ScriptOutOfMemory

FILE_NAME = "script.py"
_MODULE = "linnet_script"


class Script:
    """An executed script."""

    def __init__(self, source: str) -> None:
        """Execute the source.

        Raises:
            ScriptFailed: It raised, or defines no `build_model`.
        """
        self._compiles = False
        lines = source.splitlines(keepends=True)
        linecache.cache[FILE_NAME] = (len(source), None, lines, FILE_NAME)
        # Dataclasses and pickles look for the module that a class names.
        module = sys.modules[_MODULE] = ModuleType(_MODULE)
        module.__file__ = FILE_NAME
        self._names = module.__dict__
        with users_lines():
            self._tree = ast.parse(source, FILE_NAME)
            exec(compile(self._tree, FILE_NAME, "exec", dont_inherit=True), self._names)  # noqa: S102 - what expert mode is
        if not callable(self._names.get("build_model")):
            raise ScriptFailed(
                "expected the script to define build_model(input_shape, num_classes)"
            )

    @property
    def fit(self) -> Callable[..., Any] | None:
        """The script's own fit; None without one."""
        found = self._names.get("fit")
        return found if callable(found) else None

    @property
    def resumes(self) -> bool:
        """Whether the script's own fit goes on from `settings.initial_epoch`."""
        # An argument of that name alone says nothing: it may be given a number.
        reads = (node for node in ast.walk(self._tree) if isinstance(node, ast.Attribute))
        return self.fit is not None and any(node.attr == "initial_epoch" for node in reads)

    @property
    def compiles(self) -> bool:
        """Whether the model that `build_model` gave last was compiled there."""
        return self._compiles

    def build(self, input_shape: tuple[int, ...], class_count: int) -> Any:
        """Call `build_model` and check what it gives.

        Raises:
            ScriptFailed: It raised, or gave no Keras model of the right shapes.
        """
        import keras
        from keras.src.models.functional import Functional

        with users_lines():
            model = self._names["build_model"](input_shape, class_count)
        if not isinstance(model, keras.Model):
            raise ScriptFailed(
                f"expected build_model to return a keras.Model, received {type(model).__name__}"
            )
        self._compiles = bool(model.compiled)
        with users_lines():
            if isinstance(model, keras.Sequential) and not model.built:
                model.build((None, *input_shape))
            if not isinstance(model, (Functional, keras.Sequential)):
                model = self._functional(model, input_shape)
        given = (_shape(model, "input_shape"), _shape(model, "output_shape"))
        wanted = ((None, *input_shape), (None, class_count))
        if given != wanted:
            raise ScriptFailed(
                f"expected a model from {wanted[0]} to {wanted[1]}, received one from {given[0]} "
                f"to {given[1]}"
            )
        if not model.trainable_variables:
            raise ScriptFailed("expected a model with weights to train, received one without")
        with users_lines():
            # Saving asks for it too, but after the training.
            keras.saving.serialize_keras_object(model)
        return model

    def _functional(self, model: Any, input_shape: tuple[int, ...]) -> Any:
        """Give a subclassed model's shapes to it by a model around it, with the same weights."""
        import keras

        if self.fit is not None and type(model).train_step is not keras.Model.train_step:
            raise ScriptFailed(
                f"expected {type(model).__name__}, which has a train_step of its own, to be made "
                "of its inputs and outputs: super().__init__(inputs, outputs)"
            )
        inputs = keras.Input(input_shape, name="features")
        return keras.Model(inputs, model(inputs))


def _shape(model: Any, name: str) -> tuple[Any, ...] | None:
    try:
        return tuple(getattr(model, name))
    except (AttributeError, TypeError, ValueError):
        return None


@contextmanager
def users_lines() -> Iterator[None]:
    """Turn whatever is raised into `ScriptFailed` with the script's own lines of the traceback."""
    try:
        yield
    except ScriptFailed:
        raise
    # sys.exit of a script ends its run, with the line that called it.
    except BaseException as error:
        raise failure(error) from error


def failure(error: BaseException) -> ScriptFailed | ScriptOutOfMemory:
    """Tell a script's want of memory from its other errors."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return ScriptOutOfMemory(f"The script needs more memory than its run has.\n{cut(error)}")
    return ScriptFailed(cut(error))


def cut(error: BaseException) -> str:
    """Give a traceback of the script's own frames only."""
    if isinstance(error, SyntaxError) and error.filename == FILE_NAME:
        return "".join(traceback.format_exception_only(error)).rstrip()
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILE_NAME
    ]
    head = "Traceback (most recent call last):\n" if frames else ""
    body = "".join(traceback.format_list(frames))
    return (head + body + "".join(traceback.format_exception_only(error))).rstrip()
