"""The blocking client against a real gRPC server."""

import threading
import time
from collections.abc import Iterator

import pytest
from linnet.v1 import run_pb2
from linnet_runtime.errors import InvalidInput, NotFound, Unauthenticated, Unavailable
from linnet_sdk import Client, ServerAddress
from linnet_sdk.retries import NEVER, RetryPolicy

from tests.fakes.training_service import FakeTrainingService, serving

QUICK = RetryPolicy(limit_s=10.0, first_s=0.01, longest_s=0.05)


@pytest.fixture
def service() -> FakeTrainingService:
    return FakeTrainingService()


@pytest.fixture
def client(service: FakeTrainingService) -> Iterator[Client]:
    with serving(service) as address, Client(ServerAddress(address), retry=QUICK) as client:
        yield client


def make_run() -> run_pb2.Run:
    run = run_pb2.Run()
    run.spec.dataset = "watch"
    return run


def test_short_names_are_completed(client: Client) -> None:
    """A run that is created by its id alone is found by its id and by its full name."""
    created = client.create_run(make_run(), run_id="first")

    assert created.name == "projects/default/runs/first"
    assert created.spec.dataset == "projects/default/datasets/watch"
    assert client.get_run("first") == client.get_run("projects/default/runs/first")


def test_unavailable_is_tried_again(client: Client, service: FakeTrainingService) -> None:
    """A call that is refused three times as UNAVAILABLE succeeds in the end."""
    service.refuse = 3

    assert client.create_run(make_run(), run_id="r").name.endswith("/r")
    assert service.calls == 4


def test_other_errors_are_told_at_once(client: Client, service: FakeTrainingService) -> None:
    """NOT_FOUND arrives as the error of the tree, after one call, naming what is missing."""
    with pytest.raises(NotFound) as raised:
        client.get_run("nobody")

    assert raised.value.name == "projects/default/runs/nobody"
    assert service.calls == 1


def test_a_server_that_never_comes_is_given_up() -> None:
    """With nobody there, the call ends as Unavailable when the policy's limit has passed."""
    begun = time.monotonic()
    with (
        Client(ServerAddress("127.0.0.1:1"), retry=RetryPolicy(limit_s=0.5)) as client,
        pytest.raises(Unavailable),
    ):
        client.get_run("r")

    assert time.monotonic() - begun < 5


def test_a_wrong_token_is_told(service: FakeTrainingService) -> None:
    """A caller without the token gets Unauthenticated, one with it gets in."""
    service._token = "secret"
    with serving(service) as address:
        with (
            Client(ServerAddress(address, "wrong"), retry=NEVER) as stranger,
            pytest.raises(Unauthenticated),
        ):
            stranger.create_run(make_run())
        with Client(ServerAddress(address, "secret"), retry=NEVER) as friend:
            assert friend.create_run(make_run(), run_id="mine").name.endswith("/mine")


def test_the_same_request_id_gives_the_same_run(client: Client) -> None:
    """Creating twice with one request id makes one run."""
    first = client.create_run(make_run(), request_id="abc")
    again = client.create_run(make_run(), request_id="abc")

    assert first.name == again.name


def test_a_broken_watch_tells_every_epoch_once(
    client: Client, service: FakeTrainingService
) -> None:
    """A stream that breaks after every second response still gives each epoch exactly once."""
    client.create_run(make_run(), run_id="r")
    service.break_streams_after = 2

    responses = list(client.watch("r"))

    assert [e.number for r in responses for e in r.epochs] == [1, 2, 3, 4, 5]
    assert responses[-1].run.state == run_pb2.RUN_STATE_SUCCEEDED


def test_broken_logs_tell_every_entry_once(client: Client, service: FakeTrainingService) -> None:
    """A log stream that breaks after every response still gives each entry exactly once."""
    client.create_run(make_run(), run_id="r")
    service.break_streams_after = 1

    assert [e.sequence for e in client.logs("r", follow=True)] == [1, 2, 3, 4, 5]


def test_a_watch_outlives_a_restart_of_the_server(service: FakeTrainingService) -> None:
    """A watch goes on where it was after the server is gone and comes back on its port."""
    with serving(service) as address:
        port = int(address.rsplit(":", 1)[1])
        client = Client(ServerAddress(address), retry=QUICK)
        client.create_run(make_run(), run_id="r")
        stream = client.watch("r")
        seen = [next(stream), next(stream)]

    def come_back() -> None:
        with serving(service, port):
            done.wait(30)

    done = threading.Event()
    server = threading.Thread(target=come_back)
    server.start()
    seen += list(stream)
    done.set()
    server.join()
    client.close()

    assert [e.number for r in seen for e in r.epochs] == [1, 2, 3, 4, 5]


def test_lists_ask_for_every_page(client: Client, service: FakeTrainingService) -> None:
    """Listing gives the datasets of all pages."""
    for index in range(5):
        name = f"projects/default/datasets/d{index}"
        service.datasets[name] = service.datasets.get(name) or _dataset(name)

    assert [d.name[-2:] for d in client.list_datasets()] == ["d4", "d3", "d2", "d1", "d0"]


def _dataset(name: str):
    from linnet.v1 import dataset_pb2

    return dataset_pb2.Dataset(name=name)


def test_a_wrong_name_is_refused_before_any_call(
    client: Client, service: FakeTrainingService
) -> None:
    """A name that is none is refused with the field, and nobody is called."""
    with pytest.raises(InvalidInput) as raised:
        client.get_run("Not A Name")

    assert raised.value.violations[0].field == "run"
    assert service.calls == 0


def test_a_broken_batch_is_filled_with_every_run_once(
    client: Client, service: FakeTrainingService
) -> None:
    """A stream of 1,700 runs that breaks after every chunk fills the batch with each run once."""
    service.break_streams_after = 1
    runs = [run_pb2.Run(display_name=str(index)) for index in range(1700)]

    *_, last = client.batches.create(runs, batch_id="many")

    ((_, stored),) = service.batches.values()
    assert [run.display_name for run in stored] == [str(index) for index in range(1700)]
    assert last.accepted_count == 1700
    assert last.batch.name == "projects/default/batches/many"
