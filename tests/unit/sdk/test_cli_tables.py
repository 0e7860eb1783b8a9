"""What the command line tells of a run."""

from datetime import UTC, datetime

from linnet.v1 import run_pb2
from linnet_sdk.cli.tables import run_lines


def test_what_retention_took_is_told_with_its_time() -> None:
    """Output and artifacts each have a line, and none while they are kept."""
    run = run_pb2.Run(name="projects/demo/runs/one", state=run_pb2.RUN_STATE_SUCCEEDED)
    assert not any(line.startswith("gone") for line in run_lines(run))
    run.artifacts_delete_time.FromDatetime(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
    assert run_lines(run)[-1] == "gone     artifacts, since 2026-03-04T05:06:07"
