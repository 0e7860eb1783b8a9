"""The messages that fill a batch: at most 500 runs and a few MiB each."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as service

CHUNK_RUNS = 500
"""Runs of one message of CreateBatch: the contract's limit."""
CHUNK_BYTES = 4 * 1024 * 1024
"""Where a message ends early: scripts make runs large, and a gateway reads 8 MiB at most."""

Item = run_pb2.Run | service.RunOverride


def chunks(items: Iterable[Item]) -> Iterator[service.CreateBatchRequest]:
    """Pack runs and overrides, in order; the last message says that the batch is complete."""
    message = service.CreateBatchRequest()
    count = size_bytes = 0
    for item in items:
        item_bytes = item.ByteSize()
        # A message holds runs before overrides: a run that comes after an override begins anew.
        turned = isinstance(item, run_pb2.Run) and bool(message.overrides)
        if count and (count == CHUNK_RUNS or size_bytes + item_bytes > CHUNK_BYTES or turned):
            yield message
            message, count, size_bytes = service.CreateBatchRequest(), 0, 0
        if isinstance(item, run_pb2.Run):
            message.runs.append(item)
        else:
            message.overrides.append(item)
        count += 1
        size_bytes += item_bytes
    if count:
        yield message
    yield service.CreateBatchRequest(complete=True)


def after(items: Sequence[Item], accepted_count: int, grid_size: int) -> Sequence[Item]:
    """Give the items that a gateway lacks, which has some runs of which the grid's came first."""
    return items[max(0, accepted_count - grid_size) :]


def digest(items: Iterable[Item]) -> str:
    """Give the SHA-256 of all items, in order: each with its kind and length before it."""
    whole = sha256()
    for item in items:
        data = item.SerializeToString(deterministic=True)
        whole.update(f"{type(item).__name__} {len(data)} ".encode())
        whole.update(data)
    return whole.hexdigest()
