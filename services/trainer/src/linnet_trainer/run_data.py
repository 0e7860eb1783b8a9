"""What a run trains on; imports no TensorFlow."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from linnet_ml.samples import Samples
from linnet_ml.spec import InputKind, TrainingSpec
from linnet_ml.splits import RowInfo, Split, make_split
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RunData:
    """A checked dataset.

    Attributes:
        input_kind: What the features are.
        classes: Class names.
        features: Shape (n, *row shape); may be mapped into memory.
        labels: int64, shape (n,).
        samples: Groups, recordings, and marks of test and validation rows.
        digest: SHA-256 over the dataset's files.
        features_path: Where the features lie, for a child that reads them anew.
    """

    input_kind: InputKind
    classes: tuple[str, ...]
    features: NDArray[Any]
    labels: NDArray[np.int64]
    samples: Samples
    digest: str
    features_path: Path

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(self.features.shape[1:])

    def split(self, spec: TrainingSpec) -> Split:
        """Divide the rows; raises `InvalidInput` where that can't be done."""
        rows = RowInfo(
            labels=self.labels,
            groups=self.samples.group,
            recordings=self.samples.recording,
            test=self.samples.test,
            validation=self.samples.validation,
        )
        return make_split(spec.split, rows, class_count=len(self.classes), seed=spec.fit.seed)


def split_arrays(split: Split, exported: int) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Give the members of split.npz; `exported` is the fit whose model is exported."""
    fits = [*split.folds, *([split.final] if split.final is not None else [])]
    yield "training", fits[exported].training
    yield "validation", fits[exported].validation
    yield "test", split.test
    if len(fits) > 1:
        yield "exported_fit", np.array(exported, dtype=np.int64)
        for number, fold in enumerate(fits, start=1):
            yield f"fit_{number}_training", fold.training
            yield f"fit_{number}_validation", fold.validation
