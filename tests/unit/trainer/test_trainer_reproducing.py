"""Which runs can be trained again to the same bits."""

from pathlib import Path

import pytest
from linnet_ml.spec import FitSettings, InputKind, TrainingSpec
from linnet_runtime.errors import InvalidInput
from linnet_trainer.fit.epochs import Ending
from linnet_trainer.local.files import LocalFiles
from linnet_trainer.local.reproducing import Manifest, reproduce


@pytest.mark.parametrize(("keep_best", "epochs"), [(True, 0), (False, 7)])
def test_weights_from_within_an_epoch_are_refused(keep_best: bool, epochs: int) -> None:
    """How far a time limit let an epoch come depends on the machine."""
    manifest = Manifest(
        TrainingSpec(fit=FitSettings(keep_best=keep_best)),
        InputKind.TABULAR,
        ("a", "b"),
        epochs,
        Ending.TIME_LIMIT,
        "w",
        "d",
        None,
        {},
        "cpu",
    )
    files = LocalFiles(Path("absent.npy"), Path("absent.npy"))
    with pytest.raises(InvalidInput, match="in the middle of one"):
        reproduce(manifest, files, None, print)
