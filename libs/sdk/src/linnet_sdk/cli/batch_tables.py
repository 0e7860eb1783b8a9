"""Batches as people read them: tables, and one line a change."""

from collections.abc import Sequence

from linnet.v1 import batch_pb2, run_pb2
from rich.markup import escape
from rich.table import Table

from linnet_sdk.cli.tables import new_table
from linnet_sdk.names import TERMINAL_STATES, short_name


def state_word(batch: batch_pb2.Batch) -> str:
    """Give the state as a person reads it, such as `RUNNING`."""
    word = batch_pb2.BatchState.Name(batch.state).removeprefix("BATCH_STATE_")
    cancelling = batch.HasField("cancel_time") and batch.state != batch_pb2.BATCH_STATE_DONE
    return "CANCELLING" if cancelling else word


def done_count(batch: batch_pb2.Batch) -> int:
    """Count the runs that are over."""
    return sum(c.run_count for c in batch.run_counts if c.state in TERMINAL_STATES)


def succeeded_count(batch: batch_pb2.Batch) -> int:
    """Count the runs that succeeded."""
    return sum(c.run_count for c in batch.run_counts if c.state == run_pb2.RUN_STATE_SUCCEEDED)


def failed_count(batch: batch_pb2.Batch) -> int:
    """Count the runs that failed."""
    return sum(c.run_count for c in batch.failure_counts)


def counts_text(batch: batch_pb2.Batch) -> str:
    """Give the number of runs in each state, `2 TRAINING, 5 SUCCEEDED`."""
    return ", ".join(
        f"{c.run_count} {run_pb2.RunState.Name(c.state).removeprefix('RUN_STATE_')}"
        for c in batch.run_counts
    )


def failures_text(batch: batch_pb2.Batch) -> str:
    """Give the number of failures for each reason, `3 DIVERGED, 1 OUT_OF_MEMORY`."""
    return ", ".join(
        f"{c.run_count} {run_pb2.FailureReason.Name(c.reason).removeprefix('FAILURE_REASON_')}"
        for c in batch.failure_counts
    )


def verdicts_text(batch: batch_pb2.Batch) -> str:
    """Give what became of retrained runs, `7 BETTER, 2 EQUAL`."""
    prefix = "COMPARISON_VERDICT_"
    return ", ".join(
        f"{c.run_count} {run_pb2.ComparisonVerdict.Name(c.verdict).removeprefix(prefix)}"
        for c in batch.verdict_counts
    )


def eta_text(batch: batch_pb2.Batch) -> str:
    """Give the estimated time to the end, empty where there is none."""
    return f"{batch.eta_seconds:.0f} s" if batch.HasField("eta_seconds") else ""


def progress_line(batch: batch_pb2.Batch) -> str:
    """Give how a batch gets on, on one line."""
    parts = [
        short_name(batch.name),
        state_word(batch),
        f"{done_count(batch)}/{batch.run_count} done",
        counts_text(batch),
    ]
    for word, text in (
        ("failed", failures_text(batch)),
        ("against predecessors", verdicts_text(batch)),
        ("eta", eta_text(batch)),
    ):
        if text:
            parts.append(f"{word}: {text}")
    return "  ".join(part for part in parts if part)


def batches(found: Sequence[batch_pb2.Batch], *, boxed: bool) -> Table:
    """List batches."""
    table = new_table(
        "batch", "state", "runs", "done", "failed", "eta", "priority", "created",
        boxed=boxed, right=("runs", "done", "failed", "eta", "priority"),
    )  # fmt: skip
    for batch in found:
        table.add_row(
            short_name(batch.name),
            state_word(batch),
            str(batch.run_count),
            str(done_count(batch)),
            str(failed_count(batch)),
            eta_text(batch),
            str(batch.priority),
            batch.create_time.ToJsonString()[:19],
        )
    return table


def batch_lines(batch: batch_pb2.Batch) -> list[str]:
    """Give a batch's facts, one a line."""
    lines = {
        "batch": batch.name,
        "title": batch.display_name,
        "state": state_word(batch),
        "runs": f"{batch.run_count}: {counts_text(batch)}" if batch.run_counts else "0",
        "failed": failures_text(batch),
        "verdicts": verdicts_text(batch),
        "eta": eta_text(batch),
        "created": batch.create_time.ToJsonString()[:19],
        "ended": batch.end_time.ToJsonString()[:19] if batch.HasField("end_time") else "",
    }
    return [escape(f"{name:<8} {text}") for name, text in lines.items() if text]
