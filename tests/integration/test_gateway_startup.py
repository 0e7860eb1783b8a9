"""A gateway whose store starts with it, as in a trial on Kubernetes, waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import settings_for, until
from tests.fakes.gateway_process import GatewayProcess
from tests.support.free_ports import free_port


@asynccontextmanager
async def led(port: int, location: S3Location) -> AsyncIterator[None]:
    """Lead a port to the store, as long as the context lasts."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store = urlsplit(location.endpoint)
        inner, outer = await asyncio.open_connection(store.hostname, store.port)
        await asyncio.gather(_pump(reader, outer), _pump(inner, writer))

    async with await asyncio.start_server(accept, "127.0.0.1", port):
        yield


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


async def waiting(folder: Path, location: S3Location) -> tuple[GatewayProcess, asyncio.Task[None]]:
    """Start a gateway whose store is away, and wait until it waits."""
    process = GatewayProcess(settings_for(folder, location, "127.0.0.1:1"), folder)
    starting = asyncio.create_task(process.start())

    async def told() -> bool:
        log = folder / "gateway.log"
        return log.exists() and "service_awaited" in log.read_text()

    await until(told, 60)
    return process, starting


async def test_a_gateway_waits_for_its_store(tmp_path: Path, s3_location: S3Location) -> None:
    """It says once what it waits for, does not end, and serves when the store is there."""
    port = free_port()
    away = replace(s3_location, endpoint=f"http://127.0.0.1:{port}")
    process, starting = await waiting(tmp_path, away)
    try:
        async with led(port, s3_location):
            await starting
            await process.stop()
    finally:
        await process.kill()
    assert process.exit_code == 0
    assert (tmp_path / "gateway.log").read_text().count("service_awaited") == 1


async def test_a_gateway_that_waits_can_be_stopped(tmp_path: Path, s3_location: S3Location) -> None:
    """SIGTERM ends it at once, and as a gateway that was asked to end."""
    away = replace(s3_location, endpoint=f"http://127.0.0.1:{free_port()}")
    process, starting = await waiting(tmp_path, away)
    async with asyncio.timeout(20):
        await process.stop()
    assert process.exit_code == 0
    with pytest.raises(RuntimeError):
        await starting
