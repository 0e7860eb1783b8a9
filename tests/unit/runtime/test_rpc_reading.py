"""Requests are bounded before they are made, and wrong ones told without looking at everything."""

import asyncio
import threading

import pytest
from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.errors import InvalidInput, QuotaExceeded
from linnet_runtime.rpc.message_shape import MAX_PARTS, count_parts
from linnet_runtime.rpc.reading import NEAR_BYTES, Reader, request_kind
from linnet_runtime.rpc.validation import MAX_VIOLATIONS, check


def refusal(message) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        check(message)
    return caught.value


def test_a_few_wrong_fields_are_all_named():
    """Each field of a small message that breaks a rule is named with what came."""
    run = run_pb2.Run()
    run.spec.fit.epochs, run.spec.fit.batch_size = -1, -2
    error = refusal(pb.CreateRunRequest(parent="projects/demo", run=run))
    assert {v.field for v in error.violations} == {
        "run.spec.fit.epochs",
        "run.spec.fit.batch_size",
    }
    assert "received -1" in error.message


def test_the_number_of_wrong_fields_is_told():
    """Of a hundred the first twenty are named, and how many there are more."""
    request = pb.CreateRunRequest(parent="projects/demo")
    for _ in range(100):
        request.run.spec.architecture.layers.layers.add()
    *named, more = refusal(request).violations
    assert len(named) == MAX_VIOLATIONS
    assert more.description == "... and 80 more"


def test_what_is_wrong_in_a_large_message_is_found():
    """In a message of many parts the wrong ones are named by their place, whichever they are."""
    right, wrong = run_pb2.Run(), run_pb2.Run()
    for _ in range(20):
        right.spec.architecture.layers.layers.add(kind=1, units=3)
    wrong.CopyFrom(right)
    wrong.spec.architecture.layers.layers[7].units = -1
    header = pb.BatchHeader(parent="projects/demo")
    error = refusal(pb.CreateBatchRequest(header=header, runs=[right] * 99 + [wrong]))
    assert [v.field for v in error.violations] == [
        "runs[99].spec.architecture.layers.layers[7].units"
    ]
    many = refusal(pb.CreateBatchRequest(header=header, runs=[wrong] * 400))
    assert many.violations[-1].description == "... and more"
    assert len(many.violations) == MAX_VIOLATIONS + 1


def test_lists_come_before_their_elements():
    """Of a list that is too long its length is told first, however wrong what stands in it."""
    request = pb.ValidateSpecRequest(parent="projects/demo")
    for _ in range(300):
        request.spec.architecture.layers.layers.add()
    assert refusal(request).violations[0].field == "spec.architecture.layers.layers"


def test_parts_are_counted_in_what_is_not_made_yet():
    """Lists beyond the contract, too many parts in all, and other bytes are refused by name."""
    request = pb.CreateBatchRequest()
    for _ in range(500):
        run = request.runs.add()
        for _ in range(200):
            run.spec.architecture.layers.layers.add(kind=1, units=3)
    count_parts(request.SerializeToString(), pb.CreateBatchRequest)
    request.runs[499].spec.architecture.layers.layers.add(kind=1, units=3)
    with pytest.raises(InvalidInput) as caught:
        count_parts(request.SerializeToString(), pb.CreateBatchRequest)
    assert caught.value.violations[0].field == "runs[499].spec.architecture.layers.layers"
    axis = pb.CreateBatchRequest()
    for value in [axis.header.grid.add(field="x").values.add() for _ in range(8)]:
        for _ in range(9_000):
            value.list_value.values.add()
    count_parts(axis.SerializeToString(), pb.CreateBatchRequest)
    spread = pb.CreateBatchRequest()
    for value in [spread.header.grid.add(field="x").values.add() for _ in range(8)]:
        for inner in [value.list_value.values.add() for _ in range(9_000)]:
            for _ in range(8):
                inner.list_value.values.add().number_value = 1.0
    with pytest.raises(InvalidInput) as caught:
        count_parts(spread.SerializeToString(), pb.CreateBatchRequest)
    assert caught.value.reason == "TOO_MANY_PARTS"
    assert str(MAX_PARTS) in caught.value.message
    with pytest.raises(InvalidInput) as caught:
        count_parts(b"\xff" * 100, pb.CreateBatchRequest)
    assert caught.value.reason == "MALFORMED_MESSAGE"


def test_a_message_that_is_sent_in_pieces_is_counted_whole():
    """A field that stands in a message many times is what its pieces make together."""
    one = pb.ValidateSpecRequest()
    for _ in range(150):
        one.spec.architecture.layers.layers.add()
    with pytest.raises(InvalidInput) as caught:
        count_parts(one.SerializeToString() * 2, pb.ValidateSpecRequest)
    assert caught.value.violations[0].field == "spec.architecture.layers.layers"


async def test_large_messages_are_read_aside():
    """What takes long is read in another thread; what is too large is not read at all."""
    reader = Reader()
    own = threading.get_ident()
    assert await reader.run(NEAR_BYTES, threading.get_ident) == own
    assert await reader.run(NEAR_BYTES + 1, threading.get_ident) != own
    large = pb.GetRunRequest(name="x" * 9 * 1024 * 1024).SerializeToString()
    with pytest.raises(QuotaExceeded) as caught:
        await asyncio.wait_for(reader.read(large, pb.GetRunRequest), 30)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"


def test_methods_name_what_they_are_asked_with():
    """The type of a request is found by the name that calls go to."""
    assert request_kind("/linnet.v1.TrainingService/GetRun") is pb.GetRunRequest
