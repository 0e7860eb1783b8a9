"""Files of an assignment on local disk; a dataset that the last run had is not read again."""

import shutil
from contextlib import ExitStack
from pathlib import Path

from linnet.v1 import runner_service_pb2
from linnet_ml import datasets
from linnet_ml.samples import SAMPLES, Samples
from linnet_ml.spec import InputKind
from linnet_runtime.errors import InvalidInput

from linnet_trainer.run_data import RunData
from linnet_trainer.runner.transfers import Transfers


class Inputs:
    """Reads inputs of assignments into one folder."""

    def __init__(self, transfers: Transfers, folder: Path) -> None:
        self._transfers = transfers
        self._folder = folder
        self._last: RunData | None = None

    def data(self, assignment: runner_service_pb2.Assignment) -> RunData:
        """Read the dataset of an assignment.

        Raises:
            InvalidInput: A file is missing, damaged or no dataset's.
            Unavailable: The store could not be reached.
        """
        dataset = assignment.dataset
        digest = dataset.digest or ",".join(sorted(f.sha256 for f in assignment.inputs))
        kind, classes = InputKind(dataset.input_kind), tuple(dataset.classes)
        last, asked = self._last, (digest, kind, classes)
        # The same files may be two datasets, of other class names or another kind.
        if last is not None and (last.digest, last.input_kind, last.classes) == asked:
            return last
        self._last = None
        folder = self._folder / "dataset"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        present = set()
        for request in assignment.inputs:
            if request.name in {datasets.FEATURES, datasets.LABELS, SAMPLES}:
                self._transfers.download(request, folder / request.name)
                present.add(request.name)
        for name in (datasets.FEATURES, datasets.LABELS):
            if name not in present:
                raise InvalidInput.of(f"inputs.{name}", "expected this file, received none")
        self._last = _read(folder, kind, classes, digest)
        return self._last

    def checkpoint(self, assignment: runner_service_pb2.Assignment) -> bytes | None:
        """Read the checkpoint of an earlier attempt; None if there is none, b"" for a lost one."""
        for request in assignment.checkpoint:
            path = self._folder / "checkpoint.npz"
            try:
                self._transfers.download(request, path)
                return path.read_bytes()
            except InvalidInput:
                # The run can be trained from its beginning, and says so.
                return b""
            finally:
                path.unlink(missing_ok=True)
        return None

    def initial_model(self, assignment: runner_service_pb2.Assignment) -> Path | None:
        """Read the model whose weights are the starting point; None if there is none."""
        if not assignment.HasField("initial_model"):
            return None
        path = self._folder / "initial.keras"
        self._transfers.download(assignment.initial_model, path)
        return path


def _read(folder: Path, kind: InputKind, classes: tuple[str, ...], digest: str) -> RunData:
    samples_path = folder / SAMPLES
    with ExitStack() as stack:
        opened = [
            stack.enter_context((folder / name).open("rb"))
            for name in (datasets.FEATURES, datasets.LABELS, SAMPLES)
            if (folder / name).exists()
        ]
        extra = opened[2] if samples_path.exists() else None
        facts = datasets.check(opened[0], opened[1], extra, class_count=len(classes))
    samples_read = Samples()
    if samples_path.exists():
        samples_read = datasets.load_samples(samples_path, facts.sample_count)
    return RunData(
        kind,
        classes,
        datasets.load_features(folder / datasets.FEATURES),
        datasets.load_labels(folder / datasets.LABELS),
        samples_read,
        digest,
        folder / datasets.FEATURES,
    )
