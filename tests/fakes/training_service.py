# ruff: noqa: N802 - methods are named as the contract names them
"""A TrainingService in memory over real gRPC, for tests of clients.

Runs train by counting epochs. Faults are asked for: `refuse` answers the next calls UNAVAILABLE,
`break_streams_after` ends each stream UNAVAILABLE after so many responses, `renewals` are the
tokens that count next: while there is one, a stream's third response is that its own has expired.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import grpc
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from linnet.v1 import (
    batch_pb2,
    dataset_pb2,
    evaluation_pb2,
    evaluator_service_pb2,
    profile_pb2,
    run_pb2,
    training_service_pb2,
    training_service_pb2_grpc,
)
from linnet_runtime.errors import NotFound, Unauthenticated, Unavailable
from linnet_runtime.ids import new_id
from linnet_runtime.objectstore import ObjectStore

from tests.fakes.training_datasets import LIFE, FakeDatasets

Q = training_service_pb2


class FakeTrainingService(FakeDatasets):
    """Keeps everything in memory; uploads go to `store`, a real one.

    Args:
        store: Where files are put; None for tests that push nothing.
        token: What callers must present; empty lets everybody in.
        epochs: Epochs that every run trains.
    """

    def __init__(
        self, store: ObjectStore | None = None, *, token: str = "", epochs: int = 5
    ) -> None:
        super().__init__(store, token=token)
        self.runs: dict[str, run_pb2.Run] = {}
        self.requests: dict[str, str] = {}
        self.batches: dict[str, tuple[batch_pb2.Batch, list[run_pb2.Run]]] = {}
        self.events: dict[str, list[Q.WatchRunResponse]] = {}
        self.logs: dict[str, list[run_pb2.LogEntry]] = {}
        self.artifacts: dict[str, bytes] = {
            "model.int8.tflite": b"TFL3 int8",
            "big": b"x" * 300_000,
        }
        self.break_streams_after = 0
        self._epochs = epochs

    def CreateRun(self, request, context):
        self._enter(context)
        if known := self.requests.get(request.request_id):
            return self.runs[known]
        run = run_pb2.Run()
        run.CopyFrom(request.run)
        run.name = f"{request.parent}/runs/{request.run_id or new_id('run')}"
        run.state = run_pb2.RUN_STATE_QUEUED
        run.spec.fit.epochs = run.spec.fit.epochs or self._epochs
        run.create_time.FromDatetime(datetime.now(UTC))
        self.runs[run.name] = run
        self.requests[request.request_id] = run.name
        self._script(run)
        return run

    def _script(self, run: run_pb2.Run) -> None:
        """Write down everything that a watcher of the run will be told."""
        events = self.events[run.name] = []
        logs = self.logs[run.name] = []

        def tell(state: run_pb2.RunState.ValueType, epochs: list[run_pb2.Epoch]) -> None:
            run.state = state
            now = run_pb2.Run()
            now.CopyFrom(run)
            response = Q.WatchRunResponse(run=now, epochs=epochs, resume_token=str(len(events) + 1))
            events.append(response)

        total = run.spec.fit.epochs
        tell(run_pb2.RUN_STATE_QUEUED, [])
        for number in range(1, total + 1):
            epoch = run_pb2.Epoch(
                number=number,
                loss=1 / number,
                accuracy=number / total,
                val_loss=2 / number,
                val_accuracy=number / total / 2,
                seconds=0.1,
                eta_seconds=(total - number) * 0.1,
            )
            run.progress.epoch, run.progress.epochs = number, total
            logs.append(
                run_pb2.LogEntry(attempt=1, sequence=number, text=f"Epoch {number}/{total}")
            )
            tell(run_pb2.RUN_STATE_TRAINING, [epoch])
        tell(run_pb2.RUN_STATE_ANALYZING, [])
        run.summary.variants.add(variant=run_pb2.VARIANT_FLOAT32, test_accuracy=0.8)
        run.summary.variants.add(variant=run_pb2.VARIANT_INT8, test_accuracy=0.79)
        for name, content in self.artifacts.items():
            run.artifacts.add(name=name, size_bytes=len(content))
        run.end_time.FromDatetime(datetime.now(UTC))
        failed = run.labels.get("fail")
        if failed:
            run.failure.reason = run_pb2.FAILURE_REASON_DIVERGED
            run.failure.message = failed
            run.failure.log_tail.append("loss: nan")
            tell(run_pb2.RUN_STATE_FAILED, [])
        else:
            tell(run_pb2.RUN_STATE_SUCCEEDED, [])

    def GetRun(self, request, context):
        self._enter(context)
        if request.name not in self.runs:
            self._fail(context, NotFound("run", request.name))
        return self.runs[request.name]

    def ListRuns(self, request, context):
        self._enter(context)
        return Q.ListRunsResponse(runs=list(self.runs.values()))

    def CreateBatch(self, requests, context):
        self._enter(context)
        first = next(requests)
        name = f"{first.header.parent}/batches/{first.header.batch_id}"
        batch, runs = self.batches.setdefault(first.header.request_id, (batch_pb2.Batch(), []))
        batch.name = name
        batch.state = batch.state or batch_pb2.BATCH_STATE_FILLING
        yield Q.CreateBatchResponse(batch=batch, accepted_count=len(runs))
        for sent, request in enumerate(requests, start=1):
            if self.break_streams_after and sent > self.break_streams_after:
                self._fail(context, Unavailable("asked to break"))
            runs.extend(request.runs)
            if request.complete:
                batch.state = batch_pb2.BATCH_STATE_RUNNING
            yield Q.CreateBatchResponse(batch=batch, accepted_count=len(runs))

    def CancelRun(self, request, context):
        self._enter(context)
        return self.runs[request.name]

    def DeleteRun(self, request, context):
        self._enter(context)
        del self.runs[request.name]
        return Empty()

    def WatchRun(self, request, context):
        self._enter(context)
        yield from self._broken(self.events[request.name], request.resume_token, context)

    def StreamLog(self, request, context):
        self._enter(context)
        entries = self.logs[request.name]
        responses = [
            Q.StreamLogResponse(entries=[entry], resume_token=str(i + 1), end=i + 1 == len(entries))
            for i, entry in enumerate(entries)
        ]
        yield from self._broken(responses, request.resume_token, context)

    def _broken(self, responses: list, token: str, context: grpc.ServicerContext) -> Iterator:
        for sent, response in enumerate(responses[int(token or 0) :]):
            if self.break_streams_after and sent == self.break_streams_after:
                self._fail(context, Unavailable("asked to break"))
            if self.renewals and sent == 2:
                self._token = self.renewals.pop(0)
                self._fail(context, Unauthenticated("it expired", reason="EXPIRED_TOKEN"))
            yield response

    def CompareRuns(self, request, context):
        self._enter(context)
        for name in (request.name, request.other):
            if name not in self.runs:
                self._fail(context, NotFound("run", name))
        found = evaluator_service_pb2.CompareScoresResponse(
            sample_count=100,
            both_right_count=80,
            first_only_count=3,
            second_only_count=12,
            both_wrong_count=5,
            accuracy_gain=0.09,
            p_value=0.035,
            verdict="the second is better",
        )
        found.accuracy_gain_interval.low, found.accuracy_gain_interval.high = 0.01, 0.17
        return found

    def GetThresholds(self, request, context):
        self._enter(context)
        found = evaluation_pb2.ThresholdOutcome(
            side=request.side,
            thresholds=request.thresholds,
            uncertain_counts=[2, 1],
            certain_share=0.85,
            certain_accuracy=0.9412,
            precision=0.94,
            recall=0.8,
            f1=0.864,
        )
        for counts in ([8, 0, 2], [1, 8, 1]):
            found.confusion.rows.add(counts=counts)
        return found

    def GetEvaluation(self, request, context):
        return self.GetReport(request, context).evaluation

    def GetProfile(self, request, context):
        self._enter(context)
        found = Q.GetProfileResponse(smallest_target="cortex-m4f-80mhz")
        for target in request.targets or ("cortex-m0plus-48mhz", "cortex-m4f-80mhz"):
            profile = found.profiles.add(target=target, variant=run_pb2.VARIANT_INT8)
            profile.ram.total_bytes = 65_536
            profile.flash.total_bytes = 131_072
            profile.latency.milliseconds = 12.5
            profile.latency.basis = profile_pb2.BASIS_CALIBRATED
            profile.verdict.fits = "m4f" in target
            if not profile.verdict.fits:
                profile.verdict.reasons.append("needs 64 KiB of RAM, has 32")
        if request.check_interpreter:
            found.checks.add(
                variant=run_pb2.VARIANT_INT8, available=True, agrees=True, arena_bytes=4096
            )
        return found

    def GetReport(self, request, context):
        self._enter(context)
        run = self.runs[request.name]
        report = Q.Report(run=run)
        report.evaluation.classes.extend(["PEN", "ABD"])
        for variant in (run_pb2.VARIANT_FLOAT32, run_pb2.VARIANT_INT8):
            found = report.evaluation.sets.add(
                variant=variant, side=evaluation_pb2.SPLIT_SIDE_TEST, sample_count=20
            )
            found.scores.accuracy = 0.8
            for counts in ([9, 1], [3, 7]):
                found.confusion.rows.add(counts=counts)
                found.class_scores.add(precision=0.75, recall=0.9, f1=0.818, support=10)
            profile = report.profiles.add(target="cortex-m4f-80mhz", variant=variant)
            profile.ram.total_bytes = 65_536
            profile.flash.total_bytes = 131_072
            profile.latency.milliseconds = 12.5
            profile.latency.basis = profile_pb2.BASIS_CALIBRATED
            profile.verdict.fits = variant == run_pb2.VARIANT_INT8
            profile.verdict.ram_fits = profile.verdict.fits
            profile.verdict.flash_fits = profile.verdict.latency_fits = True
        report.target.id = "cortex-m4f-80mhz"
        report.target.clock_hz = 80_000_000
        report.target.ram_bytes = 131_072
        report.target.flash_bytes = 1_048_576
        return report

    def DownloadArtifact(self, request, context):
        self._enter(context)
        if request.artifact not in self.artifacts:
            self._fail(context, NotFound("artifact", request.artifact))
        key = f"{request.name}/{request.artifact}"
        self._store.put(key, self.artifacts[request.artifact])
        return dataset_pb2.PresignedRequest(
            name=request.artifact,
            method="GET",
            url=self._store.presign("GET", key, LIFE),
        )


@contextlib.contextmanager
def serving(service: FakeTrainingService, port: int = 0) -> Iterator[str]:
    """Serve on loopback for the time of a block and give the address."""
    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    training_service_pb2_grpc.add_TrainingServiceServicer_to_server(service, server)
    checks = health.HealthServicer()
    checks.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        server.stop(0.2).wait()
