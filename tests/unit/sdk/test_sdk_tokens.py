"""Tokens that are renewed: from a function or a file, read anew at each call."""

from pathlib import Path

import pytest
from linnet.v1 import run_pb2
from linnet_runtime.errors import InvalidInput, Unauthenticated
from linnet_sdk import AsyncClient, Client, ServerAddress
from linnet_sdk.retries import NEVER, RetryPolicy
from linnet_sdk.server_address import resolve

from tests.fakes.training_service import FakeTrainingService, serving

QUICK = RetryPolicy(limit_s=10.0, first_s=0.01, longest_s=0.05)


def a_run() -> run_pb2.Run:
    run = run_pb2.Run()
    run.spec.dataset = "watch"
    return run


def test_a_stream_goes_on_with_the_next_token() -> None:
    """A stream whose token expires is continued with the one that counts now; every epoch once."""
    service = FakeTrainingService(token="one")
    service.renewals = ["two", "three"]
    with (
        serving(service) as address,
        Client(ServerAddress(address, lambda: service._token), retry=QUICK) as client,
    ):
        client.create_run(a_run(), run_id="r")
        epochs = [epoch.number for update in client.watch("r") for epoch in update.epochs]
        assert epochs == [1, 2, 3, 4, 5]
        assert service._token == "three"


async def test_so_does_one_on_an_event_loop() -> None:
    """The asyncio client does the same."""
    service = FakeTrainingService(token="one")
    service.renewals = ["two"]
    with serving(service) as address:
        async with AsyncClient(ServerAddress(address, lambda: service._token)) as client:
            await client.create_run(a_run(), run_id="r")
            epochs = [e.number async for update in client.watch("r") for e in update.epochs]
            assert epochs == [1, 2, 3, 4, 5]


def test_a_token_that_is_not_renewed_is_told() -> None:
    """With the same token as before nothing is tried again."""
    service = FakeTrainingService(token="one")
    service.renewals = ["two"]
    with (
        serving(service) as address,
        Client(ServerAddress(address, "one"), retry=QUICK) as client,
    ):
        client.create_run(a_run(), run_id="r")
        with pytest.raises(Unauthenticated) as raised:
            list(client.watch("r"))
        assert raised.value.reason == "EXPIRED_TOKEN"


def test_a_token_file_is_read_at_each_call(tmp_path: Path) -> None:
    """LINNET_TOKEN_FILE is followed; LINNET_TOKEN and the option win over it."""
    path = tmp_path / "token"
    environ = {"LINNET_TOKEN_FILE": str(path)}
    assert resolve("h:1", "mine", tmp_path, environ).token_now() == "mine"
    both = environ | {"LINNET_TOKEN": "env"}
    assert resolve("h:1", None, tmp_path, both).token_now() == "env"
    service = FakeTrainingService(token="one")
    with serving(service) as address:
        found = resolve(address, None, tmp_path, environ)
        assert str(path) not in repr(found)
        with Client(found, retry=NEVER) as client:
            with pytest.raises(InvalidInput) as raised:
                client.list_targets()
            assert raised.value.violations[0].field == "LINNET_TOKEN_FILE"
            path.write_text("one\n")
            client.create_run(a_run(), run_id="a")
            service._token = "two"
            path.write_text("two\n")
            client.create_run(a_run(), run_id="b")
