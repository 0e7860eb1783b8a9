"""A whole run on this machine: files in, artifacts out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from linnet_ml.defaults import resolve
from linnet_ml.spec import InputKind, TrainingSpec
from linnet_runtime.errors import InvalidInput

from linnet_trainer.file_names import CHECKPOINT
from linnet_trainer.local.events import LocalEvents, next_attempt
from linnet_trainer.local.files import LocalFiles, read_data, read_spec
from linnet_trainer.startup import workshop


@dataclass(frozen=True, slots=True)
class LocalRun:
    """What to run.

    Attributes:
        spec: A TrainingSpec in JSON.
        files: The dataset.
        out: Folder of the artifacts.
        classes: Class names; empty numbers them.
        input_kind: What the features are; None guesses.
        initial_model: A model.keras to start from.
    """

    spec: Path
    files: LocalFiles
    out: Path
    classes: tuple[str, ...]
    input_kind: InputKind | None
    initial_model: Path | None


def run_locally(run: LocalRun, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Train a run.

    Args:
        run: The run.
        say: Gets every line of output.

    Returns:
        A summary; None when it was asked to stop and left a checkpoint.

    Raises:
        LinnetError: The run failed; nothing is left but its log and an earlier run's files.
    """
    given = read_spec(run.spec)
    _check_start(given, run.initial_model)
    data = read_data(run.files, run.input_kind, run.classes, given)
    spec = resolve(
        given,
        input_kind=data.input_kind,
        input_shape=data.input_shape,
        class_count=len(data.classes),
        has_groups=data.samples.group is not None,
        has_validation=data.samples.has_validation,
    )
    checkpoint = run.out / CHECKPOINT
    try:
        run.out.mkdir(parents=True, exist_ok=True)
        attempt = next_attempt(run.out)
        events = LocalEvents(run.out, attempt, say)
    except OSError as error:
        raise InvalidInput.of("--out", f"expected a folder to write to: {error}") from error
    events.on_signals()
    try:
        with workshop() as shop:
            from linnet_trainer.run_contract import RunOrder
            from linnet_trainer.train_one import train_one

            order = RunOrder(
                name=run.out.name,
                attempt=attempt,
                spec=spec,
                data=data,
                checkpoint=checkpoint.read_bytes() if checkpoint.exists() else None,
                initial_model=run.initial_model,
            )
            outcome = train_one(shop, order, events, run.out)
    finally:
        events.close()
    if outcome.figures is None:
        return None
    events.forget_checkpoint()
    return {
        "out": str(run.out),
        "files": list(outcome.files),
        "ending": outcome.ending.value,
        **asdict(outcome.figures),
    }


def _check_start(spec: TrainingSpec, initial_model: Path | None) -> None:
    if initial_model is None and spec.init_from:
        raise InvalidInput.of(
            "init_from",
            "expected the model.keras of that run as --initial-model: runs are known to a gateway "
            f"only, received {spec.init_from!r}",
        )
    if initial_model is not None and not initial_model.is_file():
        raise InvalidInput.of("--initial-model", f"expected a file, received {initial_model}")
