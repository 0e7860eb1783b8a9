"""Fixtures of the whole suite: a real object store, started once and only when a test asks."""

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
from linnet_runtime.s3 import S3Location, S3Store

# The same examples each time, so that a change is judged by what it changed;
# HYPOTHESIS_PROFILE=search looks for new ones.
hypothesis.settings.register_profile("same", derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("search", derandomize=False, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# As in a trainer: what a test forks closes gRPC's files, on which its fork handlers would abort.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

_ROOT = Path(__file__).parents[1]
if str(_ROOT) not in sys.path:
    sys.path.insert(0, str(_ROOT))  # `from tests.fakes.x import y`: test folders are no packages


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let golden files be written anew."""
    parser.addoption("--update-golden", action="store_true", help="write golden files anew")


@contextlib.contextmanager
def running_seaweed(folder: Path) -> Iterator[S3Location]:
    """Run SeaweedFS in a folder and say where it is."""
    from linnet_sdk.local import ports, seaweed
    from linnet_sdk.local.home import Credentials

    credentials = Credentials()
    seaweed.prepare(folder, credentials)
    assigned = ports.assign(seaweed.PORT_NAMES, {})
    endpoint = f"http://127.0.0.1:{assigned['store']}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            seaweed.command(assigned),
            cwd=folder,
            env=seaweed.environment(credentials),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 60
            while not _serves(endpoint):
                assert process.poll() is None, (folder / "log").read_text()[-4000:]
                assert time.monotonic() < deadline, "SeaweedFS did not start in 60 s"
                time.sleep(0.05)
            yield S3Location(
                endpoint=endpoint,
                access_key=credentials.store_access_key,
                secret_key=credentials.store_secret_key,
                bucket="linnet",
            )
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _serves(endpoint: str) -> bool:
    try:
        return httpx.get(f"{endpoint}/healthz", timeout=1.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Location]:
    """Give a running SeaweedFS; its bucket does not exist yet."""
    with running_seaweed(tmp_path_factory.mktemp("seaweed")) as location:
        yield location


@pytest.fixture
def s3_location(seaweed: S3Location) -> S3Location:
    """Give a bucket of the test's own, empty, on the running SeaweedFS."""
    location = S3Location(
        endpoint=seaweed.endpoint,
        access_key=seaweed.access_key,
        secret_key=seaweed.secret_key,
        bucket=f"test-{secrets.token_hex(6)}",
    )
    S3Store(location).create_bucket()
    return location


@pytest.fixture
def s3_store(s3_location: S3Location) -> S3Store:
    """Give a store on a bucket of the test's own."""
    return S3Store(s3_location)


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    """A world that outlives gateways: launcher, trainers, store and a dataset."""
    from linnet_gateway.sql import migrate

    from tests.fakes.lasting_world import World

    made = World(tmp_path, 0)
    migrate.upgrade(made.url)
    await made.begin()
    return made


@pytest.fixture
async def gateway(world: Any) -> AsyncIterator[Any]:
    """A gateway in that world that does not die by itself."""
    from tests.fakes.faults import Faults
    from tests.fakes.killable import Gateway

    made = Gateway(world, Faults())
    yield made
    await made.close()
