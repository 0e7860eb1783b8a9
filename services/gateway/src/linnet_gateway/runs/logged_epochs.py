"""The epochs in a log event, read once however many want to know of them."""

from collections.abc import Sequence
from functools import lru_cache

from linnet.v1 import run_pb2, runner_service_pb2


@lru_cache(maxsize=1024)
def epochs_in(payload: bytes) -> Sequence[tuple[int, run_pb2.Epoch]]:
    """Give (sequence, epoch) of the entries that are epochs; nobody may change what is given.

    Args:
        payload: Serialized LogEntries.
    """
    entries = runner_service_pb2.LogEntries.FromString(payload).entries
    return tuple((e.sequence, e.epoch) for e in entries if e.HasField("epoch"))
