"""How far a training is, from what its trainer prints."""

from collections.abc import Sequence

from linnet.v1 import run_pb2


def progress_of(
    entries: Sequence[run_pb2.LogEntry], epochs_planned: int
) -> run_pb2.Progress | None:
    """Give the progress after the last entry that tells of any; None if none does."""
    for entry in reversed(entries):
        if entry.HasField("epoch"):
            epoch = entry.epoch
            ratio = epoch.number / max(epochs_planned, 1)
            if entry.HasField("ratio"):
                ratio = entry.ratio
            return run_pb2.Progress(
                epoch=epoch.number,
                epochs=epochs_planned,
                ratio=min(max(ratio, 0.0), 1.0),
                latest=epoch,
                eta_seconds=epoch.eta_seconds,
            )
    return None
