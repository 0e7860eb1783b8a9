"""A gateway in a process of its own, which tests may kill; its trainers are without TensorFlow."""

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from linnet.v1 import training_service_pb2_grpc
from linnet_gateway.settings import GatewaySettings
from linnet_runtime.s3 import S3Location, S3Store
from pydantic import SecretStr

from tests.fakes.analysts import FakeAnalysts, serving
from tests.fakes.gateway import Bench, settings_for, stop_trainers, until
from tests.support.free_ports import free_port


class GatewayProcess:
    """A gateway in a process of its own, on ports that it keeps when it is started again."""

    def __init__(self, settings: GatewaySettings, folder: Path) -> None:
        self._folder = folder
        names = ("port", "runner_port", "http_port", "metrics_port")
        self._ports = {name: free_port() for name in names}
        values = settings.model_dump(exclude_none=True) | self._ports
        values["endpoint_file"] = folder / "endpoints.json"
        self._environment = dict(os.environ)
        for name, value in values.items():
            if isinstance(value, SecretStr):
                text = value.get_secret_value()
            else:
                text = json.dumps(value) if isinstance(value, tuple | list) else str(value)
            self._environment[f"LINNET_GATEWAY_{name.upper()}"] = text
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        """Where TrainingService is."""
        return f"127.0.0.1:{self._ports['port']}"

    @property
    def runner(self) -> str:
        """Where RunnerService is."""
        return f"127.0.0.1:{self._ports['runner_port']}"

    @property
    def http(self) -> str:
        """Where TrainingService is over HTTP."""
        return f"http://127.0.0.1:{self._ports['http_port']}"

    @property
    def metrics(self) -> str:
        """The page with the metrics."""
        return f"http://127.0.0.1:{self._ports['metrics_port']}/metrics"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._process.returncode if self._process is not None else None

    def resident_bytes(self) -> int:
        """Give the memory that it has now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    async def start(self) -> None:
        """Start it and wait until it serves."""
        endpoints = self._folder / "endpoints.json"
        endpoints.unlink(missing_ok=True)
        with (self._folder / "gateway.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "linnet_gateway", env=self._environment, stderr=log
            )

        async def serves() -> bool:
            assert self._process is not None
            if self._process.returncode is not None:
                raise RuntimeError((self._folder / "gateway.log").read_text()[-4000:])
            return endpoints.exists()

        await until(serves, 60)

    async def kill(self) -> None:
        """Kill it without a warning."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.wait()


@asynccontextmanager
async def spawned(
    folder: Path, location: S3Location, **more: Any
) -> AsyncIterator[tuple[Bench, GatewayProcess]]:
    """Run a gateway with fake analysts in a process that tests may kill."""
    analysts = FakeAnalysts(S3Store(location))
    async with serving(analysts) as address:
        process = GatewayProcess(settings_for(folder, location, address, **more), folder)
        await process.start()
        options = [("grpc.max_reconnect_backoff_ms", 200)]
        async with grpc.aio.insecure_channel(process.address, options=options) as channel:
            stub = training_service_pb2_grpc.TrainingServiceStub(channel)
            try:
                yield Bench(folder, stub, analysts, S3Store(location), {}), process
            finally:
                await process.stop()
                await stop_trainers(folder / "launches")
