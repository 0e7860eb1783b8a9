"""Trainers of a batch that train nothing, in a process of their own; `python batch_trainers.py`.

Each does over RunnerService what a trainer does for every run of its shard: asks for it, reports
three epochs, asks for addresses, ends it. Files are put to the store before, once: what a store
costs is not measured. Reads an order as JSON from its standard input, then one line for each shard
that begins, and writes one for each that ended.
"""

import asyncio
import gc
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from linnet.v1 import dataset_pb2, run_pb2, runner_service_pb2

from tests.bench.load.raw_grpc import RawConnection, RawGrpcError, ask, connect, framed

_SERVICE = "/linnet.v1.RunnerService/"
_CONNECTIONS = 10
_EPOCHS = 3
NAMES = (
    "model.keras",
    "model.float32.tflite",
    "model.int8.tflite",
    "split.npz",
    "history.json",
    "training.json",
    "manifest.json",
)
_BODY = b"x"
_PAUSE_S = 0.2


def _files() -> list[dataset_pb2.StoredFile]:
    digest = hashlib.sha256(_BODY).hexdigest()
    return [
        dataset_pb2.StoredFile(name=name, size_bytes=len(_BODY), sha256=digest) for name in NAMES
    ]


class Shard:
    """One trainer and the runs of its shard, one after the other."""

    def __init__(self, connection: RawConnection, order: dict[str, Any], index: int) -> None:
        self._connection = connection
        self._launch = [("authorization", f"Bearer {order['token']}")]
        self._index = index
        self._epoch_s = float(order["epoch_s"])
        self._start_s = float(order["start_s"])

    async def run(self) -> int:
        """Train until the shard has no run left; give how many there were."""
        done = 0
        await asyncio.sleep(self._start_s)
        while True:
            request = framed(runner_service_pb2.AcquireAssignmentRequest(shard=self._index))
            answer = await self._ask("AcquireAssignment", self._launch, request)
            found = runner_service_pb2.AcquireAssignmentResponse.FromString(answer)
            if not found.HasField("assignment"):
                return done
            await self._train([("authorization", f"Bearer {found.assignment.run_token}")])
            done += 1

    async def _train(self, metadata: list[tuple[str, str]]) -> None:
        stored, came = 0, asyncio.Event()

        def acknowledged(message: bytes) -> None:
            nonlocal stored
            stored = runner_service_pb2.ReportResponse.FromString(message).stored_sequence
            came.set()

        stream, ended = self._connection.call(f"{_SERVICE}Report", metadata, acknowledged)
        await came.wait()
        # As the real one: a word at once, and what nobody follows together at the end.
        phase = run_pb2.TRAINER_PHASE_PREPARING
        self._connection.send(stream, _report(phase, 0))
        await asyncio.sleep(self._epoch_s * _EPOCHS)
        uploads = runner_service_pb2.CreateUploadsRequest(files=_files())
        await self._ask("CreateUploads", metadata, framed(uploads))
        phase = run_pb2.TRAINER_PHASE_UPLOADING
        self._connection.send(stream, _report(phase, _EPOCHS), last=True)
        while stored < _EPOCHS:
            came.clear()
            await came.wait()
        await ended
        result = runner_service_pb2.TrainingResult(files=_files())
        finish = runner_service_pb2.FinishRunRequest(result=result)
        await self._ask("FinishRun", metadata, framed(finish))

    async def _ask(self, method: str, metadata: list[tuple[str, str]], request: bytes) -> bytes:
        while True:
            try:
                return await ask(self._connection, f"{_SERVICE}{method}", request, metadata)
            except RawGrpcError:
                await asyncio.sleep(_PAUSE_S)


def _report(phase: run_pb2.TrainerPhase.ValueType, epochs: int) -> bytes:
    entries = [
        run_pb2.LogEntry(
            sequence=number, epoch=run_pb2.Epoch(number=number, loss=1.0 / number, accuracy=0.5)
        )
        for number in range(1, epochs + 1)
    ]
    return framed(runner_service_pb2.ReportRequest(entries=entries, phase=phase, memory_bytes=1))


async def main() -> None:
    """Run shards as they are named, until the input ends."""
    gc.freeze()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    address = json.loads(await reader.readline())["runner"]
    connections = [await connect(address) for _ in range(_CONNECTIONS)]
    tasks = set()

    async def one(order: dict[str, Any]) -> None:
        index = int(order["shard"])
        shard = Shard(connections[index % _CONNECTIONS], order, index)
        runs = await shard.run()
        print(json.dumps({"launch": order["launch"], "shard": index, "runs": runs}), flush=True)

    while line := await reader.readline():
        tasks.add(asyncio.create_task(one(json.loads(line))))
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main())
