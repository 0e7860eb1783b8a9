"""Datasets as people read them."""

from linnet.v1 import dataset_pb2
from linnet_sdk.cli.tables import dataset_line


def test_marked_rows_stand_on_a_datasets_line() -> None:
    """Validation and test rows are told where there are some."""
    dataset = dataset_pb2.Dataset(
        name="projects/demo/datasets/watch",
        input_kind=dataset_pb2.INPUT_KIND_TABULAR,
        classes=["still", "moving"],
        input_shape=[4],
        sample_count=40,
    )
    line = "watch  tabular  40 samples of 4, 2 classes"
    assert dataset_line(dataset) == line
    dataset.validation_count, dataset.test_count = 6, 8
    assert dataset_line(dataset) == f"{line}, 6 validation rows, 8 test rows"
