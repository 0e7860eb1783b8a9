"""The messages that fill a batch: every run once, in order, none too large."""

from hypothesis import given
from hypothesis import strategies as st
from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_sdk.batch_chunks import CHUNK_BYTES, CHUNK_RUNS, Item, after, chunks, digest


def taken(messages: list[pb.CreateBatchRequest]) -> list[str]:
    """Give the titles in the order in which a gateway takes them."""
    return [
        item.display_name for message in messages for item in [*message.runs, *message.overrides]
    ]


items = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0, 10, CHUNK_BYTES // 3])), max_size=40
).map(
    lambda kinds: [
        run_pb2.Run(display_name=str(index), predecessor="x" * size)
        if whole
        else pb.RunOverride(display_name=str(index), predecessor="x" * size)
        for index, (whole, size) in enumerate(kinds)
    ]
)


@given(items)
def test_every_item_is_sent_once_in_order(found: list[Item]) -> None:
    """Runs and overrides, however mixed and large, arrive in order in messages of a few MiB."""
    messages = list(chunks(found))
    assert taken(messages) == [item.display_name for item in found]
    assert [message.complete for message in messages] == [False] * (len(messages) - 1) + [True]
    for message in messages:
        count = len(message.runs) + len(message.overrides)
        assert count == 1 or message.ByteSize() < CHUNK_BYTES + 1000


def test_messages_hold_at_most_500() -> None:
    """1,201 small runs travel in three messages and one that ends the batch."""
    messages = list(chunks(run_pb2.Run() for _ in range(1201)))
    assert [len(message.runs) for message in messages] == [CHUNK_RUNS, CHUNK_RUNS, 201, 0]


@given(st.integers(0, 30), st.integers(0, 20), st.integers(0, 10))
def test_what_is_accepted_is_not_sent_again(accepted: int, count: int, grid: int) -> None:
    """The grid's runs come first; of the others those beyond what was accepted are lacking."""
    found = [run_pb2.Run(display_name=str(index)) for index in range(count)]
    lacking = after(found, accepted, grid)
    assert len(lacking) == min(count, max(0, count - max(0, accepted - grid)))
    assert [run.display_name for run in lacking] == [str(i) for i in range(count)][
        count - len(lacking) :
    ]


@given(items, st.data())
def test_a_digest_tells_any_change(found: list[Item], data: st.DataObject) -> None:
    """Leaving out, changing or moving an item, or its kind, makes another digest."""
    known = digest(found)
    assert digest(list(found)) == known
    assert digest([*found, run_pb2.Run()]) != known
    assert digest([*found, run_pb2.Run()]) != digest([*found, pb.RunOverride()])
    if found:
        place = data.draw(st.integers(0, len(found) - 1))
        assert digest(found[:place] + found[place + 1 :]) != known
