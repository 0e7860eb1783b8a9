"""A trainer without TensorFlow: speaks RunnerService as the real one does and makes tiny files.

Runs as `python trainer_process.py CONTROL_FILE`. Each training that begins is a line "RUN ATTEMPT"
in a file `trainings` beside the control file. The control file is JSON, read at each epoch:
    epoch_s         seconds an epoch takes (default 0)
    hold            epoch to wait at while the key is there
    crash           {run name or "*": exit code} to end with at the first epoch, once a run
    failure         {run name or "*": failure reason number} to report
    without         names of files that trainings do not make
"""

import hashlib
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
from linnet.v1 import dataset_pb2, run_pb2, runner_service_pb2, runner_service_pb2_grpc

FILES = {
    "model.keras": b"keras",
    "model.float32.tflite": b"float32",
    "model.int8.tflite": b"int8",
    "split.npz": b"split",
    "history.json": b"{}",
    "manifest.json": b"manifest",
}


class Trainer:
    def __init__(self, control: Path) -> None:
        self.control_file = control
        self.address = os.environ["LINNET_TRAINER_GATEWAY"]
        self.launch_token = Path(os.environ["LINNET_TRAINER_TOKEN_FILE"]).read_text().strip()
        self.shard = int(os.environ["JOB_COMPLETION_INDEX"])
        self.stopped = False
        signal.signal(signal.SIGTERM, self._stop)
        self.connect()

    def _stop(self, *_: object) -> None:
        self.stopped = True

    def connect(self) -> None:
        self.channel = grpc.insecure_channel(
            self.address, options=[("grpc.max_reconnect_backoff_ms", 200)]
        )
        self.stub = runner_service_pb2_grpc.RunnerServiceStub(self.channel)

    def control(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.control_file.read_text())
        except (OSError, ValueError):
            return {}
        return found

    def call(self, method: Any, request: Any, token: str) -> Any:
        """Call again until the gateway answers."""
        while True:
            try:
                return method(request, metadata=[("authorization", f"Bearer {token}")], timeout=10)
            except grpc.RpcError as error:
                if error.code() not in {
                    grpc.StatusCode.UNAVAILABLE,
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                }:
                    raise
                time.sleep(0.1)

    def main(self) -> int:
        while not self.stopped:
            request = runner_service_pb2.AcquireAssignmentRequest(
                shard=self.shard, trainer=os.environ["LINNET_TRAINER_NAME"]
            )
            answer = self.call(self.stub.AcquireAssignment, request, self.launch_token)
            if not answer.HasField("assignment"):
                return 0
            code = self.train(answer.assignment)
            if code:
                return code
        return 143

    def train(self, assignment: runner_service_pb2.Assignment) -> int:
        # Beside the control file it outlives the launch, whose folder goes when it has ended.
        with self.control_file.with_name("trainings").open("a") as begun:
            begun.write(f"{assignment.run} {assignment.attempt}\n")
        for given in assignment.inputs:
            with urllib.request.urlopen(given.url) as response:
                assert hashlib.sha256(response.read()).hexdigest() == given.sha256
        stream = Stream(self, assignment)
        epochs = assignment.spec.fit.epochs
        for number in range(1, epochs + 1):
            control = self.control()
            while control.get("hold") == number and not self.stopped and not stream.cancelled:
                stream.pulse()
                time.sleep(0.05)
                control = self.control()
            crashes = control.get("crash", {})
            name = assignment.run if assignment.run in crashes else "*"
            mark = self.control_file.with_name(f"crashed-{assignment.run.replace('/', '-')}")
            if name in crashes and not mark.exists():
                mark.touch()
                stream.epoch(number, epochs)
                stream.drain()
                os._exit(crashes[name]) if crashes[name] < 128 else os.kill(
                    os.getpid(), crashes[name] - 128
                )
            time.sleep(control.get("epoch_s", 0.0))
            stream.epoch(number, epochs)
            if self.stopped or stream.cancelled:
                break
        stream.drain()
        if stream.cancelled:
            return self.finish(assignment, cancelled=True)
        if self.stopped:
            return 143
        failures = self.control().get("failure", {})
        reason = failures.get(assignment.run, failures.get("*"))
        if reason:
            failure = run_pb2.Failure(reason=reason, message="told to fail")
            return self.finish(assignment, failure=failure)
        return self.finish(assignment, result=self.result(assignment))

    def result(
        self, assignment: runner_service_pb2.Assignment
    ) -> runner_service_pb2.TrainingResult:
        files = [
            dataset_pb2.StoredFile(
                name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
            )
            for name, data in FILES.items()
            if name not in self.control().get("without", ())
        ]
        request = runner_service_pb2.CreateUploadsRequest(files=files)
        uploads = self.call(self.stub.CreateUploads, request, assignment.run_token).uploads
        for upload in uploads:
            put = urllib.request.Request(upload.url, data=FILES[upload.name], method="PUT")
            for _ in range(50):
                try:
                    urllib.request.urlopen(put).close()
                    break
                except OSError:
                    time.sleep(0.1)
        summary = run_pb2.RunSummary(parameter_count=10, epochs=assignment.spec.fit.epochs)
        return runner_service_pb2.TrainingResult(files=files, summary=summary)

    def finish(self, assignment: runner_service_pb2.Assignment, **outcome: Any) -> int:
        request = runner_service_pb2.FinishRunRequest(**outcome)
        self.call(self.stub.FinishRun, request, assignment.run_token)
        return 0


class Stream:
    """Numbered entries to the gateway, sent again after a lost connection."""

    def __init__(self, trainer: Trainer, assignment: runner_service_pb2.Assignment) -> None:
        self._trainer = trainer
        self._assignment = assignment
        self._entries: list[run_pb2.LogEntry] = []
        self._stored = 0
        self.cancelled = False
        self._open()

    def _open(self) -> None:
        self._queue: SimpleQueue[runner_service_pb2.ReportRequest | None] = SimpleQueue()
        self._responses = self._trainer.stub.Report(
            self._requests(self._queue),
            metadata=[("authorization", f"Bearer {self._assignment.run_token}")],
        )
        self._take(next(self._responses))

    @staticmethod
    def _requests(queue: Any) -> Iterator[runner_service_pb2.ReportRequest]:
        while (request := queue.get()) is not None:
            yield request

    def _take(self, response: runner_service_pb2.ReportResponse) -> None:
        self._stored = response.stored_sequence
        self.cancelled = self.cancelled or response.cancelled

    def epoch(self, number: int, epochs: int) -> None:
        epoch = run_pb2.Epoch(
            number=number, loss=1.0 / number, accuracy=number / epochs, val_accuracy=0.5
        )
        for entry in (
            run_pb2.LogEntry(text=f"epoch {number}"),
            run_pb2.LogEntry(epoch=epoch),
        ):
            entry.sequence = len(self._entries) + 1
            entry.time.GetCurrentTime()
            self._entries.append(entry)
        self.pulse()

    def pulse(self) -> None:
        """Send what is not stored yet and wait for the answer."""
        while True:
            try:
                self._queue.put(
                    runner_service_pb2.ReportRequest(
                        entries=self._entries[self._stored :],
                        phase=run_pb2.TRAINER_PHASE_FITTING,
                        memory_bytes=1000,
                    )
                )
                self._take(next(self._responses))
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                    self.cancelled = True
                    return
                time.sleep(0.2)
                self._reopen()
            else:
                return

    def _reopen(self) -> None:
        while True:
            try:
                self._open()
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                    self.cancelled = True
                    return
                time.sleep(0.2)
            else:
                return

    def drain(self) -> None:
        """End the stream."""
        self._queue.put(None)
        for _ in self._responses:
            pass


if __name__ == "__main__":
    sys.exit(Trainer(Path(sys.argv[1])).main())
