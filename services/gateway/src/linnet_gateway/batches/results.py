"""The results of a batch as one file, written by a process of its own and kept in the store."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

from linnet_runtime.errors import DeadlineExceeded, Internal
from linnet_runtime.ids import ResourceName
from linnet_runtime.objectstore import ObjectStore

from linnet_gateway.converters import run_message
from linnet_gateway.object_keys import batch_prefix
from linnet_gateway.ports import Batches
from linnet_gateway.records import BatchRecord, FileRecord

_NAME = "results.parquet"
_PAGE = 500
_TIMEOUT_S = 120.0
_AT_ONCE = 2


class BatchResults:
    """Makes results files; a few at once."""

    def __init__(self, batches: Batches, store: ObjectStore) -> None:
        self._batches = batches
        self._store = store
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def make(self, name: ResourceName) -> FileRecord:
        """Write the results of a batch as it is now, a row a run, in order.

        Raises:
            NotFound: The batch does not exist.
            DeadlineExceeded: It took too long.
        """
        batch = await self._batches.get(name.project, name.id)
        async with self._places:
            with tempfile.TemporaryDirectory(prefix="linnet-results-") as folder:
                path = Path(folder) / _NAME
                try:
                    async with asyncio.timeout(_TIMEOUT_S):
                        await self._write(batch, path)
                except TimeoutError:
                    raise DeadlineExceeded(
                        f"the results of {batch.name} took longer than {_TIMEOUT_S:.0f} s"
                    ) from None
                key = f"{batch_prefix(batch.project, batch.id, batch.uid)}{_NAME}"
                return await asyncio.to_thread(self._keep, path, key)

    async def _write(self, batch: BatchRecord, path: Path) -> None:
        command = (sys.executable, "-P", "-m", "linnet_gateway.batches.results_file", str(path))
        writer = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert writer.stdin is not None
        assert writer.stderr is not None
        told = asyncio.create_task(writer.stderr.read())
        try:
            async for page in self._pages(batch):
                writer.stdin.write(page)
                await writer.stdin.drain()
            writer.stdin.close()
            code = await writer.wait()
        except (BrokenPipeError, ConnectionResetError):
            code = await writer.wait()
        finally:
            if writer.returncode is None:
                writer.kill()
                await writer.wait()
        if code != 0:
            raise Internal(
                f"the writer of results ended with {code}: {(await told).decode()[-500:]}"
            )

    async def _pages(self, batch: BatchRecord) -> AsyncIterator[bytes]:
        after = -1
        while True:
            runs = await self._batches.members(batch.uid, after, _PAGE)
            if not runs:
                return
            after = runs[-1].batch_index
            messages = [run_message(run).SerializeToString() for run in runs]
            yield b"".join(len(data).to_bytes(4, "big") + data for data in messages)

    def _keep(self, path: Path, key: str) -> FileRecord:
        data = path.read_bytes()
        self._store.put(key, data)
        return FileRecord(_NAME, key, len(data), sha256(data).hexdigest())
