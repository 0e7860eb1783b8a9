"""Chooses what a run exports: the weights of each fit, and the fit of the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from linnet_ml.spec import TrainingSpec
from linnet_ml.splits import Fold, Split

from linnet_trainer.artifacts import FoldResult
from linnet_trainer.fit.epochs import Ending
from linnet_trainer.fit.fitting import FitProgress
from linnet_trainer.fit.fold_rows import PreparedFold, calibration_rows
from linnet_trainer.fit.loop import Look, TrainingLoop
from linnet_trainer.fit.loop_state import LoopState
from linnet_trainer.run_contract import Diverged


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit works with.

    Attributes:
        fold: Its rows.
        prepared: The rows, scaled and balanced.
        model: A Keras model of the network.
        loop: The loop that trains it.
    """

    fold: Fold
    prepared: PreparedFold
    model: Any
    loop: TrainingLoop


def result_of(
    fitted: Fitted,
    progress: FitProgress,
    ending: Ending,
    spec: TrainingSpec,
    *,
    look: Look | None,
) -> FoldResult:
    """Choose the weights of a fit that has ended: the best epoch's, or the last one's.

    Args:
        fitted: What the fit worked with.
        progress: How far it came.
        ending: Why it ended.
        spec: `keep_best` decides, unless loss or weights became infinite.
        look: Wants the validation rows' probabilities, and is called while they are computed.

    Raises:
        Interrupted: `look` raised it.
        Diverged: No epoch had a finite loss and finite weights.
    """
    settings = spec.fit
    # A limit can end an epoch whose loss nobody has seen yet.
    diverged = ending is Ending.DIVERGED or not _is_finite(progress.state)
    best = progress.best if settings.keep_best or diverged else None
    if diverged and (best is None or not _is_finite(best)):
        raise Diverged(
            "The loss became infinite or not a number in the first epoch; try a lower "
            f"learning rate than {settings.learning_rate} or scaled features."
        )
    state = progress.state if best is None else best
    validation = fitted.prepared.data.validation
    scores = None
    if look is not None and validation is not None:
        scores = fitted.loop.probabilities(state, validation, look)
    return FoldResult(
        fold=fitted.fold,
        progress=progress,
        state=state,
        best_epoch=progress.epoch if best is None else progress.watch.best_epoch,
        ending=ending,
        scaler=fitted.prepared.scaler,
        calibration=calibration_rows(
            fitted.prepared.training, spec.export.calibration_rows, settings.seed
        ),
        model=fitted.model,
        loop=fitted.loop,
        scores=scores,
    )


def _is_finite(state: LoopState) -> bool:
    return all(bool(np.isfinite(array).all()) for array in (state.weights, *state.fixed))


def exported_fit(results: Sequence[FoldResult], split: Split) -> int:
    """Give the fit whose model is exported: the final one, else that of the lowest loss.

    A final fit that its limit cut short is no better than a fold that was trained to its end.
    """
    folds = results[: len(split.folds)]
    final = results[len(folds) :]
    if final and final[0].ending is not Ending.TIME_LIMIT:
        return len(folds)
    return int(np.argmin([result.progress.watch.best_loss for result in folds]))
