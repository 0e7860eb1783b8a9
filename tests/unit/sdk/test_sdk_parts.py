"""Pure parts of the SDK: addresses, retries, ports, files of arrays, specs, home, exit codes."""

import json
import pickle
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linnet.v1 import dataset_pb2
from linnet_runtime import errors
from linnet_runtime.errors import InvalidInput, NotFound, Unavailable
from linnet_sdk import Arrays
from linnet_sdk.cli.exit_codes import CommandExit, exit_code_of, lines_of
from linnet_sdk.cli.spec_options import SpecOptions, build
from linnet_sdk.dataset_files import describe_files
from linnet_sdk.datasets import write_files
from linnet_sdk.local import log_files, ports
from linnet_sdk.local.home import Home, HomeIsHeld
from linnet_sdk.retries import Attempts, RetryPolicy
from linnet_sdk.server_address import ServerAddress, parse, resolve


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:50051", ServerAddress("localhost:50051")),
        ("http://10.0.0.1:80", ServerAddress("10.0.0.1:80")),
        ("https://linnet.example", ServerAddress("linnet.example:443", tls=True)),
        ("[::1]:9", ServerAddress("[::1]:9")),
    ],
)
def test_addresses_are_read(text: str, expected: ServerAddress) -> None:
    """Each way to write an address gives target and encryption."""
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", "host", "ftp://host:1", "host:port", "http://:80"])
def test_wrong_addresses_are_refused(text: str) -> None:
    """What is no address is refused, naming the field."""
    with pytest.raises(InvalidInput) as raised:
        parse(text)

    assert raised.value.violations[0].field == "server"


def test_options_win_over_environment_and_home(tmp_path: Path) -> None:
    """--server wins over LINNET_SERVER, which wins over the home; each with its own token."""
    home = {"address": "127.0.0.1:3", "token": "home"}
    (tmp_path / "endpoint.json").write_text(json.dumps(home))
    environ = {"LINNET_SERVER": "h:2", "LINNET_TOKEN": "env"}

    assert resolve("h:1", "option", tmp_path, environ) == ServerAddress("h:1", "option")
    assert resolve(None, None, tmp_path, environ) == ServerAddress("h:2", "env")
    assert resolve(None, None, tmp_path, {}) == ServerAddress("127.0.0.1:3", "home")
    assert resolve("h:1", None, tmp_path, {}) == ServerAddress("h:1")


def test_a_token_is_not_shown() -> None:
    """The token does not occur in the address's text form."""
    assert "secret" not in repr(ServerAddress("h:1", "secret"))


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=200))
def test_retries_end_within_the_limit(draws: list[float]) -> None:
    """Whatever pauses are drawn, attempts end before the limit; none is over the longest."""
    policy = RetryPolicy(limit_s=10.0, first_s=0.1, longest_s=2.0)
    now = 0.0
    source = iter(draws)
    attempts = Attempts(
        policy, lambda: now, uniform=lambda low, high: low + (high - low) * next(source, 1.0)
    )
    while True:
        try:
            pause = attempts.pause_after(Unavailable("away"))
        except Unavailable:
            break
        assert 0.0 <= pause <= policy.longest_s
        now += pause

    assert now < policy.limit_s


def test_other_errors_are_never_tried_again() -> None:
    """An error that is not Unavailable is raised as it is."""
    error = NotFound("run", "r")
    with pytest.raises(NotFound) as raised:
        Attempts(RetryPolicy(), lambda: 0.0).pause_after(error)

    assert raised.value is error


@given(st.sets(st.integers(ports.FIRST, ports.LAST), max_size=50), st.integers())
def test_ports_are_distinct_free_and_kept(taken: set[int], seed: int) -> None:
    """Every name gets another port that is free; a kept one that is free stays."""
    draw = random.Random(seed).randint
    names = [f"n{i}" for i in range(10)]
    first = ports.assign(names, {}, free=lambda p: p not in taken, draw=draw)
    again = ports.assign(names, first, free=lambda p: p not in taken, draw=draw)
    lost = first["n3"]
    moved = ports.assign(names, first, free=lambda p: p not in taken | {lost}, draw=draw)

    assert len(set(first.values())) == len(names)
    assert not taken & set(first.values())
    assert again == first
    assert {n for n in names if moved[n] != first[n]} == {"n3"}


def test_a_port_that_is_let_go_soon_is_waited_for() -> None:
    """A start right after a crash gets the ports that the dying processes still hold."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        port = server.getsockname()[1]
        waiting = pool.submit(ports.await_free, [port], patience_s=30)
        assert not ports.is_free(port)
        assert not waiting.done()
        server.close()
        waiting.result(30)
        assert ports.is_free(port)


def test_a_port_that_another_program_keeps_is_given_up() -> None:
    """Patience with a port ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports.await_free([server.getsockname()[1]], patience_s=0.1)
        assert not ports.is_free(server.getsockname()[1])


def test_arrays_with_objects_are_refused(tmp_path: Path) -> None:
    """Features of objects are never written: numpy would pickle them."""
    arrays = Arrays(
        input_kind=dataset_pb2.INPUT_KIND_TABULAR,
        classes=["a", "b"],
        features=np.array([[object()], [object()]]),
        labels=np.array([0, 1]),
    )
    with pytest.raises(InvalidInput) as raised:
        write_files(arrays, tmp_path)

    assert raised.value.violations[0].field == "features"


@pytest.mark.parametrize("field", ["labels", "groups", "sample_ids", "test"])
def test_columns_of_another_length_are_named(tmp_path: Path, field: str) -> None:
    """A column with another number of rows than the features is refused with both shapes."""
    columns = {
        "labels": np.zeros(3, dtype=int),
        "groups": ["a"] * 3,
        "sample_ids": ["x"] * 3,
        "test": np.zeros(3, dtype=bool),
    }
    columns[field] = columns[field][:2]
    arrays = Arrays(
        input_kind=dataset_pb2.INPUT_KIND_TABULAR,
        classes=["a", "b"],
        features=np.zeros((3, 2)),
        **columns,  # type: ignore[arg-type]  # one of them wrong on purpose
    )
    with pytest.raises(InvalidInput, match=r"expected shape \(3,\), received \(2,\)"):
        write_files(arrays, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Describing a file that does not exist names it."""
    with pytest.raises(InvalidInput) as raised:
        describe_files({"features.npy": tmp_path / "none"})

    assert raised.value.violations[0].field == "features.npy"


def test_options_change_the_spec_file(tmp_path: Path) -> None:
    """A spec file gives the spec, options change single fields of it."""
    file = tmp_path / "spec.json"
    file.write_text('{"fit": {"epochs": 7, "learning_rate": 0.01}, "target": "t"}')
    spec = build(SpecOptions(dataset="d", spec_file=file, epochs=3, test_groups=("s1", "s2")))

    assert (spec.fit.epochs, spec.fit.learning_rate, spec.target) == (3, 0.01, "t")
    assert list(spec.split.test_groups) == ["s1", "s2"]


def test_a_spec_file_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    """A field that the contract does not know is named."""
    file = tmp_path / "spec.json"
    file.write_text('{"epoch": 7}')
    with pytest.raises(InvalidInput, match="epoch"):
        build(SpecOptions(spec_file=file))


def test_a_value_that_does_not_fit_its_field_is_refused() -> None:
    """A seed above 64 bits is refused, naming the field, and not cut."""
    with pytest.raises(InvalidInput) as raised:
        build(SpecOptions(seed=2**70))

    assert raised.value.violations[0].field == "FitSettings.seed"


def test_a_home_is_held_once(tmp_path: Path) -> None:
    """The second holder is refused with the first one's pid; afterwards the home is free."""
    home = Home(tmp_path / "h")
    with home.hold(), pytest.raises(HomeIsHeld, match="pid"), Home(home.path).hold():
        pytest.fail("held twice")
    with home.hold():
        assert home.path.stat().st_mode & 0o077 == 0


def test_credentials_are_made_once_and_private(tmp_path: Path) -> None:
    """Credentials stay the same, differ between homes, are not shown, and are not readable."""
    home = Home(tmp_path / "a")
    made = home.credentials()

    assert Home(home.path).credentials() == made
    assert Home(tmp_path / "b").credentials() != made
    assert made.store_secret_key not in repr(made)
    assert (home.path / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_last_lines_are_readable(tmp_path: Path) -> None:
    """The last lines of a log show events as text and leave out what an earlier process printed."""
    log = tmp_path / "log"
    log.write_text("old\n")
    begin = log.stat().st_size
    with log.open("a") as file:
        file.write('plain\n{"event": "failed", "level": "error", "code": 3, "exception": "Oops"}\n')

    lines = log_files.last_lines(log, 10, since_byte=begin)

    assert lines == ["plain", "error: failed code=3", "Oops"]


def test_a_large_log_is_put_aside(tmp_path: Path) -> None:
    """A log above the limit is renamed, a smaller one stays."""
    log = tmp_path / "log"
    log.write_text("x" * 100)
    log_files.rotate(log, limit_bytes=100)
    assert log.exists()

    log_files.rotate(log, limit_bytes=99)
    assert not log.exists()
    assert (tmp_path / "log.1").exists()


@pytest.mark.parametrize(
    "kind", [k for k in errors.LinnetError.__subclasses__() if k.__module__ == errors.__name__]
)
def test_every_error_has_lines_and_an_exit_code(kind: type[errors.LinnetError]) -> None:
    """Each kind of error ends a command with a code of its own and one line or more."""
    if kind is InvalidInput:
        error: errors.LinnetError = InvalidInput.of("a.b", "wrong")
    elif kind is NotFound:
        error = NotFound("run", "r")
    else:
        error = kind("it failed")

    assert exit_code_of(error) > CommandExit.USAGE
    assert all(lines_of(error))


def test_only_array_constructors_are_unpickled() -> None:
    """A pickle that names anything but numpy's array constructors is refused, not run."""
    import io

    from linnet_sdk.examples.smartwatch import ArrayUnpickler

    class Evil:
        def __reduce__(self):
            return (print, ("run by a pickle",))

    with pytest.raises(InvalidInput) as raised:
        ArrayUnpickler(io.BytesIO(pickle.dumps(Evil()))).load()

    assert raised.value.reason == "PICKLE_REFUSED"
