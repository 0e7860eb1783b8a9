"""The sandbox: answers, named failures, limits, and a zygote that outlives its children."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from linnet_runtime.errors import DeadlineExceeded, InvalidInput, Unavailable
from linnet_runtime.sandbox import Limits, Sandbox, SandboxFailure, SharedBytes

FUNCTIONS = "tests.support.sandboxed"
SMALL = Limits(wall_s=20, memory_bytes=1 << 28, output_bytes=1 << 20)


@pytest.fixture(scope="module")
def sandbox():
    root = str(Path(__file__).parents[3])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = root
    os.environ["LINNET_TEST_SECRET"] = "secret"
    found = Sandbox([FUNCTIONS, "decimal"])
    found.start()
    yield found
    found.close()
    del os.environ["LINNET_TEST_SECRET"]
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def _do(sandbox, what: str, limits: Limits = SMALL, inputs=()):
    return sandbox.run(f"{FUNCTIONS}:act", {"what": what}, inputs, limits)


def _await(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _await_children(zygote: int, count: int) -> None:
    """Wait until the zygote has forked so many children that still run."""
    _await(lambda: len(_children(zygote)) >= count)


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _where(sandbox):
    return sandbox.run(f"{FUNCTIONS}:where", {}, (), SMALL).value


def test_arguments_and_inputs_come_back(sandbox):
    """JSON values and bytes go in and come out unchanged, the empty ones too."""
    arguments = {"text": "ä", "numbers": [1, 2.5, None], "flag": True}
    inputs = [SharedBytes(b""), SharedBytes(b"abc" * 1000)]
    answer = sandbox.run(f"{FUNCTIONS}:echo", arguments, inputs, SMALL)
    assert answer.value == arguments
    assert [bytes(view) for view in answer.outputs] == [b"", b"abc" * 1000]
    assert answer.max_rss_bytes > 0


def test_large_arguments_are_no_trouble(sandbox):
    """Arguments may be longer than a socket's packet."""
    arguments = {"rows": list(range(200_000))}
    assert sandbox.run(f"{FUNCTIONS}:echo", arguments, (), Limits()).value == arguments


def test_every_call_has_a_child_of_its_own_that_the_zygote_forked(sandbox):
    """Two calls have two processes, children of one zygote, none of them this process."""
    first, second = _where(sandbox), _where(sandbox)
    assert first["pid"] != second["pid"]
    assert first["parent"] == second["parent"] != os.getpid()
    assert "decimal" in first["modules"]


def test_children_see_no_secrets(sandbox):
    """The environment holds none of the owner's settings."""
    assert "LINNET_TEST_SECRET" not in _where(sandbox)["environment"]


def test_children_hold_no_foreign_files(sandbox):
    """A child forked while another runs has none of that one's descriptors."""
    alone = _where(sandbox)
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(_do, sandbox, "hang", Limits(wall_s=3)) for _ in range(3)]
        _await_children(alone["parent"], 3)
        assert _where(sandbox)["files"] == alone["files"]
        for waiting in slow:
            with pytest.raises(DeadlineExceeded):
                waiting.result()


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("segfault", "MODEL_CRASHED_SIGSEGV"),
        ("abort", "MODEL_CRASHED_SIGABRT"),
        ("memory", "MODEL_OUT_OF_MEMORY"),
        ("memory_slowly", "MODEL_OUT_OF_MEMORY"),
        ("fail", "MODEL_REFUSED"),
        ("leave", "MODEL_CRASHED"),
        ("write_input", "MODEL_REFUSED"),
        ("fill_disk", "MODEL_REFUSED"),
        ("call_out", "MODEL_REFUSED"),
        ("start_program", "MODEL_REFUSED"),
        ("fork", "MODEL_REFUSED"),
        ("kill_parent", "MODEL_REFUSED"),
    ],
)
def test_each_failure_has_a_name(sandbox, what, reason):
    """A crash, a refusal or a forbidden act ends in a stable reason, and the zygote lives on."""
    zygote = _where(sandbox)["parent"]
    with SharedBytes(b"abc") as shared, pytest.raises(SandboxFailure) as caught:
        _do(sandbox, what, inputs=[shared])
    assert caught.value.reason == reason
    assert _where(sandbox)["parent"] == zygote


@pytest.mark.parametrize("what", ["hang", "spin"])
def test_a_deadline_ends_a_call(sandbox, what):
    """Sleeping or spinning, the child is killed when its time is over."""
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        _do(sandbox, what, Limits(wall_s=0.5))
    assert caught.value.reason == "MODEL_DEADLINE_EXCEEDED"
    assert time.monotonic() - begun < 15


def test_errors_of_the_function_keep_their_fields(sandbox):
    """An InvalidInput that the function raises arrives as it was."""
    with pytest.raises(InvalidInput) as caught:
        _do(sandbox, "refuse")
    assert caught.value.reason == "NO_GOOD"
    assert caught.value.violations[0].field == "layers[2]"


@pytest.mark.parametrize("what", ["call_out", "fill_disk", "start_program", "fork", "kill_parent"])
def test_forbidden_acts_are_refused_by_the_kernel(sandbox, what):
    """Network, writing files, programs, processes and foreign signals fail with EPERM."""
    with pytest.raises(SandboxFailure, match="Operation not permitted"):
        _do(sandbox, what)


def test_a_refusal_tells_the_error(sandbox):
    """Other exceptions are told by kind and message."""
    with pytest.raises(SandboxFailure, match="ValueError: strange bytes"):
        _do(sandbox, "fail")


@pytest.mark.parametrize("function", ["too_much", "lie", "not_json", "none_such"])
def test_wrong_answers_are_failures(sandbox, function):
    """Too long, of wrong sizes, no JSON, no such function: a failure, never a wrong answer."""
    with pytest.raises(SandboxFailure) as caught:
        sandbox.run(f"{FUNCTIONS}:{function}", {}, (), SMALL)
    assert caught.value.reason in {"MODEL_REFUSED", "MODEL_CRASHED"}


def test_calls_run_side_by_side(sandbox):
    """A slow call does not hold up others."""
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(_do, sandbox, "hang", Limits(wall_s=6))
        for _ in range(5):
            sandbox.run(f"{FUNCTIONS}:echo", {}, (), SMALL)
        assert not slow.done()
        with pytest.raises(DeadlineExceeded):
            slow.result()


def test_many_threads_get_their_own_answers(sandbox):
    """Answers go to whoever asked."""
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda i: sandbox.run(f"{FUNCTIONS}:echo", {"i": i}, (), SMALL).value["i"], range(64)
        )
        assert list(answers) == list(range(64))


def _children(zygote: int) -> set[str]:
    return set(Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split())


def test_children_forked_ahead_serve_one_call_each(sandbox):
    """A call is answered by a child that was there before it, which no later call gets."""
    zygote = _where(sandbox)["parent"]
    _await_children(zygote, 2)
    ahead = _children(zygote)
    first = str(_where(sandbox)["pid"])
    assert first in ahead
    second = str(_where(sandbox)["pid"])
    assert second != first
    assert first not in _children(zygote)


def test_children_forked_ahead_that_died_fail_no_call(sandbox):
    """Calls go on where every waiting child was killed, and new ones take their places."""
    zygote = _where(sandbox)["parent"]
    _await_children(zygote, 2)
    killed = _children(zygote)
    for pid in killed:
        os.kill(int(pid), signal.SIGKILL)
    told = _where(sandbox)
    assert told["parent"] == zygote
    assert str(told["pid"]) not in killed
    _await_children(zygote, 2)


def test_a_call_whose_child_died_before_it_began_goes_to_another(sandbox):
    """A child killed between being given a call and beginning with it costs time, not the call."""
    zygote = _where(sandbox)["parent"]
    _await_children(zygote, 2)
    stopped = _children(zygote)
    for pid in stopped:
        os.kill(int(pid), signal.SIGSTOP)
    held = _open_files(zygote)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_where, sandbox)
        # The zygote keeps the descriptors of a call that it has given to a child.
        _await(lambda: _open_files(zygote) > held)
        for pid in stopped:
            os.kill(int(pid), signal.SIGKILL)
        told = asked.result(30)
    assert told["parent"] == zygote
    assert str(told["pid"]) not in stopped
    _await_children(zygote, 2)
    _await(lambda: _open_files(zygote) == held)


@pytest.mark.usefixtures("sandbox")
def test_children_forked_ahead_end_with_their_zygote():
    """A killed zygote leaves no process behind."""
    own = Sandbox([FUNCTIONS])
    own.start()
    zygote = own._process.pid
    _await_children(zygote, 2)
    waiting = _children(zygote)
    os.kill(zygote, signal.SIGKILL)
    own._process.wait(20)
    _await(lambda: not any(_runs(pid) for pid in waiting))
    own.close()


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.usefixtures("sandbox")
def test_a_killed_zygote_is_replaced():
    """A call during the kill is Unavailable; the next one works."""
    sandbox = Sandbox([FUNCTIONS], spares=0)
    zygote = _where(sandbox)["parent"]
    seen = []

    def call():
        try:
            _do(sandbox, "hang", Limits(wall_s=30))
        except Unavailable as error:
            seen.append(error)

    waiting = threading.Thread(target=call)
    waiting.start()
    _await_children(zygote, 1)
    os.kill(zygote, signal.SIGKILL)
    waiting.join(20)
    assert len(seen) == 1
    assert _where(sandbox)["parent"] != zygote
    sandbox.close()


def test_closing_ends_the_zygote_and_its_children():
    """Nothing is left running."""
    sandbox = Sandbox(["json"])
    sandbox.start()
    process = sandbox._process
    sandbox.close()
    assert process.returncode is not None


def test_shared_bytes_cannot_be_changed():
    """A sealed file refuses writes through its descriptor."""
    with SharedBytes(b"abc") as shared:
        with pytest.raises(OSError, match="not permitted"):
            os.pwrite(shared.fd, b"x", 0)
        assert bytes(shared.view()) == b"abc"


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_a_time_that_no_clock_counts_is_refused(seconds):
    """A limit that is not a finite time is refused by name and never reaches the zygote."""
    with pytest.raises(ValueError, match="wall_s: expected a finite number"):
        Limits(wall_s=seconds)
