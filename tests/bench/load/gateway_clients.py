"""Clients of a gateway that is measured, in a process of their own; `python gateway_clients.py`.

Reads an order as JSON from its standard input and writes what it saw as JSON to its output, its own
share of a core with it: a load that fills its core measures itself.
"""

import asyncio
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from linnet.v1 import run_pb2, runner_service_pb2
from linnet.v1 import training_service_pb2 as pb
from raw_grpc import RawConnection, ask, connect, framed

_SERVICE = "/linnet.v1.TrainingService/"
_REPORT = "/linnet.v1.RunnerService/Report"
_TICK_S = 0.005
_CONNECTIONS = 10
_SETTLE_S = 8.0
_ROUNDS = 5


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value below which that share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def spread(values: Sequence[float], name: str) -> dict[str, float]:
    """Give median and 99th percentile of seconds, in milliseconds."""
    return {
        f"{name}_p50_ms": percentile(values, 0.5) * 1000,
        f"{name}_p99_ms": percentile(values, 0.99) * 1000,
    }


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Give the median of each figure: a neighbour on the machine spoils a round, not the rest."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


async def lists(order: dict[str, Any]) -> dict[str, float]:
    """Read pages one after the other."""
    connection = await connect(order["address"])
    rounds = []
    for _ in range(_ROUNDS):
        token, seconds = "", []
        for index in range(int(order["pages"])):
            request = pb.ListRunsRequest(
                parent=order["parent"],
                page_size=100,
                page_token=token,
                filter=order.get("filter", ""),
            )
            begun = time.perf_counter()
            answer = await ask(connection, f"{_SERVICE}ListRuns", framed(request))
            seconds.append(time.perf_counter() - begun)
            page = pb.ListRunsResponse.FromString(answer)
            # Of a filtered list the last page, and one that looked at enough, are shorter.
            assert len(page.runs) == 100 or "filter" in order, index
            token = page.next_page_token
        rounds.append(spread(seconds, "list"))
    return medians(rounds)


async def reads(order: dict[str, Any]) -> dict[str, float]:
    """Read single runs at a steady rate, on a few connections."""
    connections = [await connect(order["address"]) for _ in range(_CONNECTIONS)]

    async def read(index: int, seconds: list[float]) -> None:
        request = pb.GetRunRequest(name=order["runs"].format(index * 37 % int(order["stored"])))
        begun = time.perf_counter()
        await ask(connections[index % _CONNECTIONS], f"{_SERVICE}GetRun", framed(request))
        seconds.append(time.perf_counter() - begun)

    rounds = []
    for _ in range(_ROUNDS):
        seconds: list[float] = []
        tasks = []
        begun = time.perf_counter()
        for index in range(int(order["reads"])):
            await asyncio.sleep(max(0.0, begun + index / order["rate"] - time.perf_counter()))
            tasks.append(asyncio.create_task(read(index, seconds)))
        await asyncio.gather(*tasks)
        rounds.append(spread(seconds, "get"))
    return medians(rounds)


class Live:
    """Trainers that report an epoch each second, and a watcher for each."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._delays: list[float] = []
        self._watching: set[str] = set()
        self._acknowledged = 0
        self._trainers: list[tuple[RawConnection, int]] = []
        self._all_answered = asyncio.Event()

    def _seen(self, message: bytes) -> None:
        now = time.time()
        # The time at which it was sent stands where the epoch's own seconds would.
        update = pb.WatchRunResponse.FromString(message)
        if update.HasField("run"):
            self._watching.add(update.run.name)
            self._note_answers()
        self._delays += [now - epoch.seconds for epoch in update.epochs]

    def _acknowledge(self, _message: bytes) -> None:
        self._acknowledged += 1
        self._note_answers()

    def _note_answers(self) -> None:
        if min(len(self._watching), self._acknowledged) >= len(self._order["tokens"]):
            self._all_answered.set()

    async def run(self) -> dict[str, float]:
        """Watch and report, and give what was seen after it settled."""
        order = self._order
        public = [await connect(order["address"]) for _ in range(_CONNECTIONS)]
        runner = [await connect(order["runner"]) for _ in range(_CONNECTIONS)]
        for index, token in enumerate(order["tokens"]):
            name = order["runs"].format(index)
            connection = public[index % _CONNECTIONS]
            stream, _ = connection.call(f"{_SERVICE}WatchRun", (), self._seen)
            connection.send(stream, framed(pb.WatchRunRequest(name=name)), last=True)
            connection = runner[index % _CONNECTIONS]
            metadata = [("authorization", f"Bearer {token}")]
            stream, _ = connection.call(_REPORT, metadata, self._acknowledge)
            self._trainers.append((connection, stream))
        # A real trainer, too, reports once it has been answered.
        await self._all_answered.wait()
        reporting = asyncio.create_task(self._report())
        await asyncio.sleep(_SETTLE_S)
        print(json.dumps({"settled": True}), flush=True)
        self._delays.clear()
        self._acknowledged = 0
        begun, used = time.perf_counter(), cpu_s()
        await asyncio.sleep(float(order["seconds"]))
        elapsed = time.perf_counter() - begun
        reporting.cancel()
        return spread(self._delays, "delay") | {
            "events_per_s": len(self._delays) / elapsed,
            "reports_per_s": self._acknowledged / elapsed,
            "own_cores": (cpu_s() - used) / elapsed,
        }

    async def _report(self) -> None:
        """Send what is due, spread evenly over each second."""
        total = len(self._trainers)
        begun = time.perf_counter()
        due = 0
        for _ in count():
            await asyncio.sleep(_TICK_S)
            until = int((time.perf_counter() - begun) * total)
            for turn in range(due, until):
                connection, stream = self._trainers[turn % total]
                connection.send(stream, _report(turn // total + 1))
            due = until


def _report(sequence: int) -> bytes:
    epoch = run_pb2.Epoch(number=sequence, loss=0.5, accuracy=0.5, seconds=time.time())
    return framed(
        runner_service_pb2.ReportRequest(
            entries=[run_pb2.LogEntry(sequence=sequence, epoch=epoch)],
            phase=run_pb2.TRAINER_PHASE_FITTING,
            memory_bytes=1,
        )
    )


def cpu_s() -> float:
    """Give the processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def main(order: dict[str, Any]) -> dict[str, float]:
    """Do what is ordered."""
    gc.freeze()
    if order["kind"] == "lists":
        return await lists(order)
    if order["kind"] == "reads":
        return await reads(order)
    return await Live(order).run()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))), flush=True)
