"""A run's output arrives once, in order, however often the stream breaks."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from linnet.v1 import run_pb2, runner_service_pb2
from linnet_runtime.errors import PermissionDenied, Unavailable
from linnet_runtime.rpc.message_limit import MAX_MESSAGE_BYTES
from linnet_trainer.runner.reporting import Reporting


class FlakyGateway:
    """Stores entries and breaks streams after a number of messages; a Runner for reports."""

    def __init__(self, lives: list[int]) -> None:
        self.stored: list[run_pb2.LogEntry] = []
        self.lives = lives
        self.cancelled = False
        self.refuse = False
        self.followed = False
        self.phases: list[int] = []
        self.sizes: list[int] = []
        self.bytes: list[int] = []
        self.told = threading.Condition()

    def report(
        self, run_token: str, requests: Iterator[runner_service_pb2.ReportRequest]
    ) -> Iterator[runner_service_pb2.ReportResponse]:
        if self.refuse:
            raise PermissionDenied("the attempt is over")
        life = self.lives.pop(0) if self.lives else 1_000_000
        for number, request in enumerate(requests):
            if number >= life:
                raise Unavailable("cut")
            last = self.stored[-1].sequence if self.stored else 0
            with self.told:
                self.phases.append(request.phase)
                self.sizes.append(len(request.entries))
                self.bytes.append(request.ByteSize())
                self.stored += [e for e in request.entries if e.sequence > last]
                self.told.notify_all()
            yield runner_service_pb2.ReportResponse(
                stored_sequence=self.stored[-1].sequence if self.stored else 0,
                cancelled=self.cancelled,
                followed=self.followed,
            )

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for what reports bring; say whether it came."""
        with self.told:
            return self.told.wait_for(condition, seconds)


class AskingGateway(FlakyGateway):
    """Fails its first stream, on whose behalf the transport asks for further messages, as gRPC."""

    def __init__(self) -> None:
        super().__init__([])
        self.asking: threading.Thread | None = None
        self.again = threading.Event()

    def report(
        self, run_token: str, requests: Iterator[runner_service_pb2.ReportRequest]
    ) -> Iterator[runner_service_pb2.ReportResponse]:
        if self.asking is None:
            next(requests)
            yield runner_service_pb2.ReportResponse()
            self.asking = threading.Thread(target=lambda: list(requests))
            self.asking.start()
            raise Unavailable("cut")
        for response in super().report(run_token, requests):
            yield response
            self.again.set()


def _reporting(gateway) -> Reporting:
    return Reporting(gateway, "token", attempt=2, memory_bytes=lambda: 1)


@pytest.mark.parametrize("lives", [[], [0, 1, 1, 2, 3], [1] * 20])
def test_entries_arrive_once_and_in_order(lives):
    """Whatever breaks, the gateway has every entry exactly once, in order, with its attempt."""
    gateway = FlakyGateway(lives)
    reporting = _reporting(gateway)

    for number in range(200):
        reporting.entry(f"line {number}")
    reporting.flush(60)
    reporting.close()

    assert [e.text for e in gateway.stored] == [f"line {n}" for n in range(200)]
    assert [e.sequence for e in gateway.stored] == list(range(1, 201))
    assert {e.attempt for e in gateway.stored} == {2}


def test_a_broken_stream_takes_no_more_entries():
    """What comes after a reconnect goes to the new stream, though the old one is still asked."""
    gateway = AskingGateway()
    reporting = _reporting(gateway)
    assert gateway.again.wait(10)

    for number in range(20):
        reporting.entry(f"line {number}")
        reporting.flush(10)
    assert gateway.asking is not None
    gateway.asking.join(10)
    ended_with_its_stream = not gateway.asking.is_alive()
    reporting.close()

    assert [e.text for e in gateway.stored] == [f"line {n}" for n in range(20)]
    assert ended_with_its_stream


def test_long_lines_make_no_message_that_the_gateway_refuses():
    """Lines of four-byte characters share messages below the size that the gateway reads."""
    gateway = FlakyGateway([])
    reporting = _reporting(gateway)
    for _ in range(500):
        reporting.entry("\U0001f600" * 10_000)
    reporting.flush(60)
    reporting.close()

    assert [e.sequence for e in gateway.stored] == list(range(1, 501))
    assert max(gateway.bytes) <= MAX_MESSAGE_BYTES


def test_entries_of_many_threads_have_no_gap():
    """Threads that print at once get numbers without gap or repeat."""
    gateway = FlakyGateway([2, 2])
    reporting = _reporting(gateway)

    threads = [
        threading.Thread(target=lambda: [reporting.entry("x") for _ in range(100)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reporting.flush(60)
    reporting.close()

    assert [e.sequence for e in gateway.stored] == list(range(1, 401))


def test_a_cancelled_run_is_told():
    """The gateway's word that the run is cancelled reaches the training."""
    gateway = FlakyGateway([])
    gateway.cancelled = True
    reporting = _reporting(gateway)

    reporting.entry("one")
    reporting.flush(10)
    reporting.close()

    assert reporting.cancelled


def test_a_refusing_gateway_ends_the_wait():
    """A gateway that takes no more reports is an error at once, not a time-out."""
    gateway = FlakyGateway([])
    gateway.refuse = True
    reporting = _reporting(gateway)
    reporting.entry("one")
    begun = time.monotonic()

    with pytest.raises(PermissionDenied):
        reporting.flush(30)

    assert time.monotonic() - begun < 10
    reporting.close()


def test_a_new_phase_is_told_without_an_entry():
    """A change of phase is sent by itself, before the next heartbeat."""
    gateway = FlakyGateway([])
    reporting = _reporting(gateway)
    reporting.entry("one")
    reporting.flush(10)

    reporting.phase(run_pb2.TRAINER_PHASE_EXPORTING, 1.0)
    came = gateway.until(lambda: run_pb2.TRAINER_PHASE_EXPORTING in gateway.phases, 4)
    reporting.close()

    assert came


@pytest.mark.parametrize("followed", [False, True])
def test_entries_share_a_message_unless_somebody_follows(monkeypatch, followed):
    """Entries of a short time go together; with a follower the first does not wait for the next."""
    monkeypatch.setattr("linnet_trainer.runner.reporting.GATHER_S", 60.0)
    gateway = FlakyGateway([])
    gateway.followed = followed
    reporting = _reporting(gateway)
    stored = []
    for number in range(3):
        reporting.entry(f"line {number}")
        if followed:
            gateway.until(lambda wanted=number: len(gateway.stored) > wanted, 10)
        stored.append(len(gateway.stored))
    reporting.flush(10)
    reporting.close()

    assert stored == ([1, 2, 3] if followed else [0, 0, 0])
    assert [size for size in gateway.sizes if size] == ([1, 1, 1] if followed else [3])
