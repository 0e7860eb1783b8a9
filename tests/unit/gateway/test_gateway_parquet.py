"""The Parquet files of batch results are what other readers take them for."""

import io
from datetime import UTC, datetime, timedelta

import pyarrow.parquet
from hypothesis import given
from hypothesis import strategies as st
from linnet.v1 import run_pb2
from linnet_gateway.batch_results import results
from linnet_gateway.parquet import Column, Kind, table
from linnet_gateway.records import RunRecord
from linnet_gateway.states import Failure, FailureReason, RunState

NOW = datetime(2026, 11, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def read(data: bytes) -> dict[str, list[object]]:
    found: dict[str, list[object]] = pyarrow.parquet.read_table(io.BytesIO(data)).to_pydict()
    return found


rows = st.lists(
    st.tuples(
        st.none() | st.text(max_size=40).filter(lambda s: "\0" not in s),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


@given(rows)
def test_every_value_comes_back(values: list[tuple[object, ...]]) -> None:
    """Another reader sees each value, and each that is missing, of every kind of column."""
    kinds = (Kind.TEXT, Kind.INT64, Kind.DOUBLE, Kind.BOOLEAN)
    columns = [
        Column(f"c{index}", kind, [row[index] for row in values])  # type: ignore[misc]  # of the kind
        for index, kind in enumerate(kinds)
    ]
    found = read(table(columns))
    for index in range(len(kinds)):
        assert found[f"c{index}"] == [row[index] for row in values]


def test_results_of_a_batch_are_a_table() -> None:
    """Each run is a row: what it was asked for, how it ended and what its variants are worth."""
    summary = run_pb2.RunSummary(parameter_count=10, epochs=3)
    summary.variants.add(variant=run_pb2.VARIANT_INT8, test_accuracy=0.75, fits=True)
    base = RunRecord(
        uid="u1",
        project="demo",
        id="one",
        create_time=NOW,
        update_time=NOW,
        spec=b"",
        spec_digest="",
        dataset="watch",
        target="t",
        state=RunState.SUCCEEDED,
        end_time=NOW + timedelta(minutes=1),
        summary=summary.SerializeToString(),
    )
    failed = RunRecord(
        uid="u2",
        project="demo",
        id="two",
        create_time=NOW,
        update_time=NOW,
        spec=b"",
        spec_digest="",
        dataset="watch",
        target="t",
        state=RunState.FAILED,
        failure=Failure(FailureReason.DIVERGED, "the loss became NaN"),
    )
    found = read(results([base, failed]))
    assert found["run"] == ["projects/demo/runs/one", "projects/demo/runs/two"]
    assert found["state"] == ["SUCCEEDED", "FAILED"]
    assert found["failure_reason"] == [None, "DIVERGED"]
    assert found["int8_test_accuracy"] == [0.75, None]
    assert found["int8_fits"] == [True, None]
    assert found["float32_test_accuracy"] == [None, None]
    assert found["end_time"] == [datetime(2026, 11, 1, 12, 1, 0, 250_000, tzinfo=UTC), None]
