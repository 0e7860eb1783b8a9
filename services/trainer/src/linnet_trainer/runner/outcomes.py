"""How a run ended, in the contract's words."""

from collections.abc import Sequence

from linnet.v1 import run_pb2, runner_service_pb2
from linnet_ml import datasets
from linnet_ml.samples import SAMPLES
from linnet_runtime.errors import InvalidInput

from linnet_trainer.file_names import FLOAT32, INT8
from linnet_trainer.run_contract import Diverged, Outcome
from linnet_trainer.runner.transfers import stored_file
from linnet_trainer.scripts.errors import ScriptFailed, ScriptOutOfMemory, ScriptTooSlow

_VARIANTS = {FLOAT32: run_pb2.VARIANT_FLOAT32, INT8: run_pb2.VARIANT_INT8}
_DATA_FIELDS = (datasets.FEATURES, datasets.LABELS, SAMPLES, "labels", "samples", "inputs")


def failure_of(error: Exception) -> run_pb2.Failure:
    """Give the failure of a run that raised."""
    reason = run_pb2.FAILURE_REASON_INTERNAL
    message = f"The trainer failed: {type(error).__name__}: {error}"
    if isinstance(error, InvalidInput):
        named = error.violations[0].field if error.violations else ""
        about_data = named.startswith(_DATA_FIELDS)
        reason = run_pb2.FAILURE_REASON_INVALID_SPEC
        if about_data:
            reason = run_pb2.FAILURE_REASON_INVALID_DATA
        message = error.message
    elif isinstance(error, Diverged):
        reason, message = run_pb2.FAILURE_REASON_DIVERGED, error.message
    elif isinstance(error, ScriptFailed):
        reason, message = run_pb2.FAILURE_REASON_SCRIPT_ERROR, error.message
    elif isinstance(error, ScriptTooSlow):
        reason, message = run_pb2.FAILURE_REASON_DEADLINE_EXCEEDED, error.message
    elif isinstance(error, ScriptOutOfMemory):
        reason, message = run_pb2.FAILURE_REASON_OUT_OF_MEMORY, error.message
    elif isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        reason = run_pb2.FAILURE_REASON_OUT_OF_MEMORY
        message = "The network or the batch does not fit into memory; make one of them smaller."
    return run_pb2.Failure(
        reason=reason,
        message=message,
        out_of_memory=reason == run_pb2.FAILURE_REASON_OUT_OF_MEMORY,
    )


def result_message(
    outcome: Outcome, files: Sequence[tuple[str, bytes]]
) -> runner_service_pb2.TrainingResult:
    """Give the result of a run that made a model; files in order, the manifest last."""
    figures = outcome.figures
    assert figures is not None
    names = {name for name, _ in files}
    summary = run_pb2.RunSummary(
        variants=[
            run_pb2.VariantSummary(variant=variant)
            for name, variant in _VARIANTS.items()
            if name in names
        ],
        parameter_count=figures.parameter_count,
        train_seconds=figures.train_seconds,
        best_epoch=figures.best_epoch,
        epochs=figures.epochs,
    )
    return runner_service_pb2.TrainingResult(
        files=[stored_file(name, data) for name, data in files],
        summary=summary,
        warnings=figures.warnings,
    )
