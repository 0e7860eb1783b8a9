"""Datasets that nobody finalizes go, and their objects with them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from linnet_gateway.queries import Page
from linnet_gateway.records import DatasetRecord, FileRecord
from linnet_gateway.sql import migrate
from linnet_gateway.sql.store import Records
from linnet_gateway.states import DatasetState

NOW = datetime(2026, 11, 2, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    migrate.upgrade(url)
    made = Records(url, lambda: NOW)
    yield made
    made.close()


def dataset(id_: str, age: timedelta, state: DatasetState) -> DatasetRecord:
    return DatasetRecord(
        uid=f"u-{id_}",
        project="demo",
        id=id_,
        create_time=NOW - age,
        state=state,
        display_name="",
        input_kind=1,
        classes=("a", "b"),
        feature_names=(),
        files=(FileRecord("features.npy", f"projects/demo/datasets/{id_}", 1, "0" * 64),),
    )


async def test_abandoned_uploads_are_swept(records: Records) -> None:
    """After a day a dataset that was never finalized is deleted; ready and young ones stay."""
    for made in (
        dataset("old", 2 * DAY, DatasetState.UPLOADING),
        dataset("young", DAY / 2, DatasetState.UPLOADING),
        dataset("ready", 9 * DAY, DatasetState.READY),
    ):
        await records.datasets.create(made)
    assert await records.keeping.abandon_uploads(NOW - DAY, NOW) == 1
    assert await records.keeping.abandon_uploads(NOW - DAY, NOW) == 0
    kept = await records.datasets.list("demo", Page(10))
    assert [found.id for found in kept] == ["young", "ready"]
    assert list(await records.keeping.doomed(NOW, 10)) == ["projects/demo/datasets/old-u-old/"]
