"""A shard trains its runs for a gateway; real training and real HTTP, a gateway of memory."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest
from linnet.v1 import dataset_pb2, run_pb2, runner_service_pb2, spec_pb2
from linnet_ml import npy
from linnet_runtime.errors import PermissionDenied
from linnet_runtime.lifecycle import ExitCode
from linnet_trainer.runner.transfers import Transfers, stored_file


class MemoryStore:
    """GET and PUT of named bytes over HTTP; refuses as many PUTs as it is told to."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.refusals = 0
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = store.files.get(self.path)
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Length", str(len(found or b"")))
                self.end_headers()
                self.wfile.write(found or b"")

            def do_PUT(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if store.refusals:
                    store.refusals -= 1
                    self.send_response(503)
                else:
                    store.files[self.path] = data
                    self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def request(self, name: str, path: str, data: bytes = b"") -> dataset_pb2.PresignedRequest:
        file = stored_file(name, data)
        return dataset_pb2.PresignedRequest(
            name=name, url=self.address(path), sha256=file.sha256 if data else ""
        )


class MemoryGateway:
    """Hands assignments out and remembers what it was told; a Runner."""

    def __init__(self, store: MemoryStore, assignments: list) -> None:
        self.store = store
        self.assignments = assignments
        self.entries: dict[str, list[run_pb2.LogEntry]] = {}
        self.finished: dict[str, runner_service_pb2.FinishRunRequest] = {}
        self.put_order: list[str] = []
        self.after_epoch = lambda token, epoch: None
        self.cancelled: set[str] = set()
        self.taken_back: set[str] = set()

    def acquire(self, shard: int) -> runner_service_pb2.Assignment | None:
        return self.assignments.pop(0) if self.assignments else None

    def report(
        self, run_token: str, requests: Iterator[runner_service_pb2.ReportRequest]
    ) -> Iterator[runner_service_pb2.ReportResponse]:
        kept = self.entries.setdefault(run_token, [])
        for request in requests:
            kept.extend(request.entries)
            for entry in request.entries:
                if entry.HasField("epoch"):
                    self.after_epoch(run_token, entry.epoch.number)
            yield runner_service_pb2.ReportResponse(
                stored_sequence=len(kept), cancelled=run_token in self.cancelled
            )

    def create_uploads(self, run_token, files):
        self.put_order += [file.name for file in files]
        return [self.store.request(f.name, f"/{run_token}/{f.name}") for f in files]

    def finish(self, run_token, request) -> None:
        if run_token in self.taken_back:
            raise PermissionDenied("the attempt is not under way", reason="STALE_ATTEMPT")
        self.finished[run_token] = request


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    made = MemoryStore()
    yield made
    made.server.shutdown()
    made.server.server_close()


def assignment(store, token, epochs=3, features=None, **more):
    from sklearn.datasets import load_wine

    x, labels = load_wine(return_X_y=True)
    x = x.astype(np.float32) if features is None else features
    files = {
        "features.npy": npy.to_bytes(x),
        "labels.npy": npy.to_bytes(labels.astype(np.int64)),
    }
    for name, data in files.items():
        store.files[f"/data/{token}/{name}"] = data
    spec = spec_pb2.TrainingSpec()
    spec.fit.epochs = epochs
    spec.fit.learning_rate = 0.01
    return runner_service_pb2.Assignment(
        run=f"projects/p/runs/{token}",
        attempt=1,
        run_token=token,
        spec=spec,
        dataset=dataset_pb2.Dataset(
            input_kind=dataset_pb2.INPUT_KIND_TABULAR,
            classes=["a", "b", "c"],
            digest=token if features is not None else "wine",
        ),
        inputs=[store.request(n, f"/data/{token}/{n}", d) for n, d in files.items()],
        **more,
    )


def shard(shop, gateway, folder, stopping=None):
    from linnet_trainer.runner.shard import Shard, ShardParts
    from linnet_trainer.train_one import train_one

    return Shard(
        ShardParts(
            runner=gateway,
            transfers=Transfers(lambda _: None),
            train=lambda order, events, out: train_one(shop, order, events, out),
            scratch=folder,
            stopping=stopping or threading.Event(),
            memory_bytes=lambda: 1,
            log=lambda *_args, **_fields: None,
        )
    )


def test_a_failed_run_is_reported_and_the_next_one_trained(shop, tmp_path, store):
    """Bad data, a layer that misfits and a bad digest fail their runs; the others succeed."""
    broken = np.zeros((178, 13), np.float32)
    broken[3, 4] = np.nan
    misfit = assignment(store, "misfit")
    layer = misfit.spec.architecture.layers.layers.add()
    layer.kind = spec_pb2.LAYER_KIND_CONV1D
    layer.units = 3
    damaged = assignment(store, "damaged", features=np.ones((178, 13), np.float32))
    damaged.inputs[0].sha256 = "0" * 64
    gateway = MemoryGateway(
        store,
        [
            assignment(store, "nan", features=broken),
            misfit,
            damaged,
            assignment(store, "good"),
        ],
    )
    assert shard(shop, gateway, tmp_path).run(0) is ExitCode.OK

    reasons = {t: gateway.finished[t].failure.reason for t in ("nan", "misfit", "damaged")}
    assert reasons == {
        "nan": run_pb2.FAILURE_REASON_INVALID_DATA,
        "misfit": run_pb2.FAILURE_REASON_INVALID_SPEC,
        "damaged": run_pb2.FAILURE_REASON_INVALID_DATA,
    }
    assert "features.npy[3, 4]" in gateway.finished["nan"].failure.message
    assert "architecture.layers.layers[0]" in gateway.finished["misfit"].failure.message
    result = gateway.finished["good"].result
    assert [f.name for f in result.files][-1] == "manifest.json"
    assert gateway.put_order[-1] == "manifest.json"
    for file in result.files:
        assert stored_file(file.name, store.files[f"/good/{file.name}"]) == file
    entries = gateway.entries["good"]
    assert [e.sequence for e in entries] == list(range(1, len(entries) + 1))
    assert [e.epoch.number for e in entries if e.HasField("epoch")] == [1, 2, 3]
    assert result.summary.epochs == 3


@pytest.mark.parametrize("features", [None, np.full((178, 13), np.nan, np.float32)])
def test_a_run_taken_back_at_its_end_does_not_end_the_shard(shop, tmp_path, store, features):
    """A gateway that has given the run up, as at its deadline, gets no result and no failure."""
    late = assignment(store, "late", epochs=1, features=features)
    gateway = MemoryGateway(store, [late, assignment(store, "good", epochs=1)])
    gateway.taken_back = {"late"}
    assert shard(shop, gateway, tmp_path).run(0) is ExitCode.OK
    assert list(gateway.finished) == ["good"]


def test_cancelled_run_ends_with_nothing(shop, tmp_path, store):
    """A run that the gateway cancels is finished as cancelled, with no artifact put."""
    gateway = MemoryGateway(store, [assignment(store, "long", epochs=100_000)])
    gateway.after_epoch = lambda token, _epoch: gateway.cancelled.add(token)
    assert shard(shop, gateway, tmp_path).run(0) is ExitCode.OK
    assert gateway.finished["long"].cancelled
    assert not [name for name in gateway.put_order if not name.startswith("checkpoint/")]


def test_terminated_trainer_leaves_a_checkpoint_that_resumes(shop, tmp_path, store):
    """SIGTERM ends with exit code 143; the next attempt goes on where the first one was."""
    stopping = threading.Event()
    first = MemoryGateway(store, [assignment(store, "run", epochs=3_000)])
    first.after_epoch = lambda _token, epoch: stopping.set() if epoch >= 2 else None
    assert shard(shop, first, tmp_path, stopping).run(0) is ExitCode.TERMINATED
    assert first.finished == {}

    saved = store.files["/run/checkpoint/state.npz"]
    again = assignment(store, "run", epochs=3_000)
    again.attempt = 2
    again.time_used.FromTimedelta(timedelta(seconds=5))
    again.checkpoint.append(
        store.request("checkpoint/state.npz", "/run/checkpoint/state.npz", saved)
    )
    second = MemoryGateway(store, [again])
    second.after_epoch = lambda token, _epoch: second.cancelled.add(token)
    shard(shop, second, tmp_path).run(0)
    numbers = [e.epoch.number for e in second.entries["run"] if e.HasField("epoch")]
    assert numbers[0] > 2
    assert any("Resuming after epoch" in e.text for e in second.entries["run"])


@pytest.mark.parametrize("stored", [b"damaged", None])
def test_a_damaged_or_lost_checkpoint_does_not_fail_the_run(shop, tmp_path, store, stored):
    """A checkpoint of another digest, or gone, is warned about; the run is trained anew."""
    again = assignment(store, "run")
    again.attempt = 2
    path = "/run/checkpoint/state.npz"
    again.checkpoint.append(store.request("checkpoint/state.npz", path, b"as it was"))
    if stored is not None:
        store.files[path] = stored
    gateway = MemoryGateway(store, [again])
    assert shard(shop, gateway, tmp_path).run(0) is ExitCode.OK
    result = gateway.finished["run"].result
    assert result.summary.epochs == 3
    assert any("checkpoint" in warning for warning in result.warnings)


def test_a_transfer_that_waits_for_the_store_tells_it_once(store):
    """A file is put once the store is back; what it waited for is told at the first refusal."""
    store.refusals = 3
    told: list[str] = []
    with contextlib.closing(Transfers(told.append)) as transfers:
        transfers.upload(store.request("model.keras", "/run/model.keras"), b"weights")
    assert told == ["model.keras: the object store answers 503"]
    assert store.refusals == 0
    assert store.files["/run/model.keras"] == b"weights"
