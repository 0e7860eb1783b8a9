"""Brings TensorFlow up in the one order that works: environment, import, fork, threads."""

import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from linnet_trainer.fit import engine
from linnet_trainer.scripts.confinement import shield
from linnet_trainer.zygote import Zygote

if TYPE_CHECKING:
    from linnet_trainer.training import Trainer


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a process trains with.

    Attributes:
        trainer: Keeps traced loops from run to run.
        children: Forks the processes that export and that run scripts.
    """

    trainer: "Trainer"
    children: Zygote


@contextmanager
def _silence() -> Iterator[None]:
    """Send what TensorFlow's own libraries print while they start, past its log level, nowhere."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Keep a module that nobody has imported yet from being imported meanwhile."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # how Python itself marks it
    try:
        yield
    finally:
        del sys.modules[module]


def _import_interpreter() -> None:
    """Import TFLite Micro's interpreter for children to come; they say why where it can't be."""
    with suppress(Exception):
        from tflite_micro.python.tflite_micro import runtime  # noqa: F401 - as said above


@contextmanager
def workshop() -> Iterator[Workshop]:
    """Import TensorFlow, fork the zygote and set the threads; once a process, before any thread."""
    engine.prepare_environment()
    shield()
    with _silence():
        # The zygote's children shall find all of these imported.
        with _hidden("sklearn"):
            # Keras imports it for its wrappers wherever it is installed, a quarter of the time.
            import keras  # noqa: F401 - as said above

        from linnet_trainer import training
        from linnet_trainer.export import convert  # noqa: F401 - as said above
        from linnet_trainer.export.export_job import check, export
        from linnet_trainer.scripts.job import run_script

        # What is imported stays: looking through it for garbage takes a quarter of the first epoch.
        gc.freeze()
        jobs = {"export": export, "check": check, "script": run_script}
        children = Zygote(jobs, ahead=_import_interpreter)
        engine.set_threads()
        engine.first_operation()
    try:
        yield Workshop(training.Trainer(time.monotonic), children)
    finally:
        children.close()
