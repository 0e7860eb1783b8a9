"""The Parquet files of batch results are what other readers take them for."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linnet.v1 import run_pb2
from linnet_gateway.batches.results_file import ROW_GROUP, write

NOW = datetime(2026, 11, 1, 12, 0, 0, 250_000, tzinfo=UTC)
PATH = "results.parquet"


def packed(runs: Sequence[run_pb2.Run]) -> io.BytesIO:
    """Give runs as the writer reads them."""
    messages = [run.SerializeToString() for run in runs]
    return io.BytesIO(b"".join(len(m).to_bytes(4, "big") + m for m in messages))


def read(path: Path) -> dict[str, list[object]]:
    """Read a file with both readers, which must agree; gives its columns."""
    found: dict[str, list[object]] = pyarrow.parquet.read_table(path).to_pydict()
    assert pl.read_parquet(path).to_dict(as_series=False) == found
    return found


texts = st.text(max_size=40).filter(lambda text: text.isprintable())
runs = st.builds(
    run_pb2.Run,
    name=texts,
    display_name=texts,
    labels=st.dictionaries(texts, texts, max_size=3),
    batch_index=st.integers(0, 2**63 - 1),
    attempt=st.integers(0, 2**31 - 1),
    warnings=st.lists(texts, max_size=3),
    state=st.sampled_from([1, 5, 6, 7]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(runs, max_size=20))
def test_every_value_comes_back(tmp_path: Path, given_runs: list[run_pb2.Run]) -> None:
    """Both readers see each value of each run, and each that is missing."""
    assert write(packed(given_runs), tmp_path / PATH) == len(given_runs)
    found = read(tmp_path / PATH)
    assert found["run"] == [run.name for run in given_runs]
    assert found["display_name"] == [run.display_name or None for run in given_runs]
    assert found["batch_index"] == [run.batch_index for run in given_runs]
    assert found["warnings"] == [list(run.warnings) for run in given_runs]
    assert found["parameter_count"] == [None] * len(given_runs)


def test_results_of_a_batch_are_a_table(tmp_path: Path) -> None:
    """Each run is a row: what it was asked for, how it ended and what its variants are worth."""
    good = run_pb2.Run(name="projects/demo/runs/one", state=run_pb2.RUN_STATE_SUCCEEDED)
    good.spec.dataset = "projects/demo/datasets/watch"
    good.create_time.FromDatetime(NOW)
    good.summary.parameter_count = 10
    good.summary.variants.add(variant=run_pb2.VARIANT_INT8, test_accuracy=0.75, fits=True)
    good.comparison.accuracy_change = 0.25
    good.comparison.verdict = run_pb2.COMPARISON_VERDICT_BETTER
    good.comparison.p_value = 0.01
    failed = run_pb2.Run(name="projects/demo/runs/two", state=run_pb2.RUN_STATE_FAILED)
    failed.failure.reason = run_pb2.FAILURE_REASON_DIVERGED
    write(packed([good, failed]), tmp_path / PATH)
    found = read(tmp_path / PATH)
    assert found["state"] == ["SUCCEEDED", "FAILED"]
    assert found["failure_reason"] == [None, "DIVERGED"]
    assert found["dataset"] == ["watch", ""]
    assert found["create_time"] == [NOW, None]
    assert found["parameter_count"] == [10, None]
    assert found["int8_test_accuracy"] == [0.75, None]
    assert found["int8_fits"] == [True, None]
    assert found["float32_test_accuracy"] == [None, None]
    assert found["verdict"] == ["BETTER", None]
    assert (found["accuracy_change"], found["change_p_value"]) == ([0.25, None], [0.01, None])


def test_a_large_batch_is_written_in_groups(tmp_path: Path) -> None:
    """More rows than a row group holds come back in order, none twice."""
    count = 2 * ROW_GROUP + 1
    write(packed([run_pb2.Run(batch_index=index) for index in range(count)]), tmp_path / PATH)
    assert read(tmp_path / PATH)["batch_index"] == list(range(count))
    assert pyarrow.parquet.ParquetFile(tmp_path / PATH).num_row_groups == 3


def test_a_cut_off_stream_is_no_batch(tmp_path: Path) -> None:
    """A gateway that dies in the middle leaves no file that looks whole."""
    stream = packed([run_pb2.Run(name="one"), run_pb2.Run(name="two")])
    with pytest.raises(EOFError):
        write(io.BytesIO(stream.getvalue()[:-1]), tmp_path / PATH)
