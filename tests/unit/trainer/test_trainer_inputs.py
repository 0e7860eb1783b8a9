"""What a trainer reads of the store for the runs of its shard."""

from pathlib import Path

import numpy as np
from linnet.v1 import dataset_pb2, runner_service_pb2
from linnet_ml.spec import InputKind
from linnet_trainer.runner.inputs import Inputs


class Store:
    """Puts two small files to where they are wanted."""

    def __init__(self) -> None:
        self.downloads = 0

    def download(self, request: dataset_pb2.PresignedRequest, path: Path) -> None:
        self.downloads += 1
        values = {"features.npy": np.zeros((4, 3), np.float32), "labels.npy": np.arange(4) % 2}
        np.save(path, values[request.name])


def assignment(classes: list[str], kind: InputKind) -> runner_service_pb2.Assignment:
    files = [dataset_pb2.PresignedRequest(name=name) for name in ("features.npy", "labels.npy")]
    dataset = dataset_pb2.Dataset(digest="d", classes=classes, input_kind=int(kind))  # type: ignore[arg-type]  # kinds have the contract's numbers
    return runner_service_pb2.Assignment(dataset=dataset, inputs=files)


def test_equal_files_are_read_once_but_are_not_one_dataset(tmp_path: Path) -> None:
    """The same files under other class names, or as another kind, are another dataset."""
    store = Store()
    inputs = Inputs(store, tmp_path)  # type: ignore[arg-type]  # what it takes of Transfers
    first = inputs.data(assignment(["walk", "run"], InputKind.SPECTRAL))
    assert inputs.data(assignment(["walk", "run"], InputKind.SPECTRAL)) is first
    assert store.downloads == 2
    named = inputs.data(assignment(["idle", "sit"], InputKind.SPECTRAL))
    assert named.classes == ("idle", "sit")
    other = inputs.data(assignment(["idle", "sit"], InputKind.TABULAR))
    assert other.input_kind is InputKind.TABULAR
