"""The runs that a message of a batch asks for, made one at a time: together they may be large."""

from collections.abc import Callable

from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb

from linnet_gateway.batches.specs import grid_run, overridden


class Items:
    """Some runs in order; each is made when it is asked for, and again when it is asked again."""

    def __init__(self, count: int, make: Callable[[int], run_pb2.Run]) -> None:
        self._count = count
        self._make = make

    def __len__(self) -> int:
        return self._count

    def make(self, index: int) -> run_pb2.Run:
        """Make a run, which stays the message's: copy it before it is changed.

        Raises:
            InvalidInput: What is to be changed of the template does not fit it.
        """
        return self._make(index)

    def part(self, begin: int, end: int) -> "Items":
        """Give the runs from a place to before another."""
        begin, end = min(begin, self._count), min(end, self._count)
        return Items(end - begin, lambda index: self._make(begin + index))


def of_message(message: pb.CreateBatchRequest, header: pb.BatchHeader) -> Items:
    """Give the runs of a message: those that it lists, then those made of the template."""
    listed = len(message.runs)

    def make(index: int) -> run_pb2.Run:
        if index < listed:
            return message.runs[index]
        place = index - listed
        return overridden(header.template, message.overrides[place], f"overrides[{place}]")

    return Items(listed + len(message.overrides), make)


def of_grid(header: pb.BatchHeader, size: int) -> Items:
    """Give the runs of a header's grid."""
    return Items(size, lambda index: grid_run(header, index))
