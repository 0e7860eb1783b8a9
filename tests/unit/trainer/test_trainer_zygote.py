"""Children that can be lost."""

import os
import signal
import time
from concurrent import futures

import grpc
import pytest
from linnet_trainer.zygote import Call, ChildLost, Zygote


def _echo(arguments, send):
    send({"kind": "seen"})
    return {"pid": os.getpid(), **arguments}


def _crash(_arguments, _send):
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def _sleep(_arguments, send):
    send({"kind": "asleep"})
    time.sleep(60)
    return {}


_done_by: list[int] = []


def _do_ahead():
    _done_by.append(os.getpid())


def _look(_arguments, _event):
    return {"done_by": _done_by}


@pytest.fixture
def children():
    made = Zygote({"echo": _echo, "crash": _crash, "sleep": _sleep})
    yield made
    made.close()


def test_a_reused_child_stays_and_a_single_one_does_not(children):
    """Reused calls meet one process; a call of its own meets another."""
    pids = [children.call(Call("echo", {"n": n}, 30))["pid"] for n in range(3)]
    assert len(set(pids)) == 1
    alone = children.call(Call("echo", {}, 30, reused=False))["pid"]
    assert alone not in {*pids, os.getpid()}


def test_a_crash_is_told_and_the_next_call_gets_a_new_child(children):
    """What killed it is named; work goes on."""
    before = children.call(Call("echo", {}, 30))["pid"]
    with pytest.raises(ChildLost, match="SIGKILL") as caught:
        children.call(Call("crash", {}, 30))
    assert caught.value.signal == signal.SIGKILL
    assert children.call(Call("echo", {}, 30))["pid"] != before


def test_a_child_that_takes_too_long_or_is_unwanted_is_ended(children):
    """The timeout and the listener's refusal both end it."""
    with pytest.raises(ChildLost, match="longer"):
        children.call(Call("sleep", {}, 0.3, reused=False))
    with pytest.raises(ChildLost, match="stopped"):
        children.call(Call("sleep", {}, 30, reused=False), lambda event: not event)


def test_events_arrive_before_the_result(children):
    """What a child sends is handed on while it works."""
    events = []
    children.call(Call("echo", {}, 30), lambda e: events.append(e) or True)
    assert {"kind": "seen"} in events


def test_a_process_that_speaks_grpc_may_fork():
    """Children close gRPC's files and live, also where its threads are at work."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(30)
            for _ in range(5):
                made = Zygote({"echo": _echo})
                try:
                    assert made.call(Call("echo", {"n": 1}, 30))["n"] == 1
                finally:
                    made.close()
    finally:
        server.stop(None).wait()


def test_what_is_done_ahead_is_done_once_for_all_children():
    """The zygote does it, not its parent and no child; children find it done."""
    made = Zygote({"look": _look}, ahead=_do_ahead)
    found = [made.call(Call("look", {}, 30, reused=False))["done_by"] for _ in range(2)]
    made.close()
    assert found[0] == found[1]
    assert len(found[0]) == 1
    assert _done_by == []
