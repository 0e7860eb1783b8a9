"""Checkpoints of a run: each in a place of its own, the last two remembered."""

from collections.abc import Mapping, Sequence

from linnet_gateway.attempts import check_attempt
from linnet_gateway.records import FileRecord, RunRecord, altered

CHECKPOINT = "checkpoint/"


def checkpoints(files: Sequence[FileRecord]) -> Mapping[int, list[FileRecord]]:
    """Sort files of checkpoints by the number of the checkpoint, oldest first."""
    found: dict[int, list[FileRecord]] = {}
    for file in files:
        found.setdefault(_number(file.key), []).append(file)
    return dict(sorted(found.items()))


def _number(key: str) -> int:
    return int(key.rsplit(f"/{CHECKPOINT}", 1)[1].split("/", 1)[0])


def upload_key(run: RunRecord, name: str, number: int) -> str:
    """Give the key of a file of the present attempt, as part of a checkpoint if it is one."""
    # Each checkpoint has a place of its own: a half-written one spoils no complete one.
    if name.startswith(CHECKPOINT):
        name = f"{CHECKPOINT}{number}/{name.removeprefix(CHECKPOINT)}"
    return run.attempt_key(name)


def remember(run: RunRecord, *, attempt: int, new: tuple[FileRecord, ...]) -> RunRecord:
    """Remember the files of a new checkpoint, and of the one before it."""
    check_attempt(run, attempt)
    kept = list(checkpoints(run.checkpoint).values())[-1:]
    return altered(run, checkpoint=(*(f for files in kept for f in files), *new))


def next_number(run: RunRecord) -> int:
    """Give the number of the next checkpoint."""
    return 1 + max((_number(file.key) for file in run.checkpoint), default=0)
