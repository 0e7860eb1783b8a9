"""Bad input is refused with the field's path, and nothing is stored."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from linnet.v1 import run_pb2, spec_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.errors import (
    AlreadyExists,
    Conflict,
    InvalidInput,
    NotAllowedInState,
    NotFound,
    QuotaExceeded,
)
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import PARENT, Bench, a_spec, running, until

TOO_LARGE = 9 * 1024 * 1024


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Bench]:
    async with running(tmp_path, s3_location) as made:
        yield made


def nan_features() -> Any:
    features = np.zeros((40, 4), np.float32)
    features[7, 1] = np.nan
    return features


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}] * 40, object), allow_pickle=True)
    return buffer.getvalue()


DATASETS: dict[str, tuple[dict[str, Any], str, str]] = {
    "not finite": ({"features": nan_features()}, "features.npy[7, 1]", "NOT_FINITE"),
    "rows": ({"labels": np.arange(39) % 2}, "labels.npy", "ROW_COUNT_MISMATCH"),
    "one class": ({"labels": np.zeros(40, int)}, "labels.npy", "ONE_CLASS_ONLY"),
    "few": (
        {"features": np.zeros((1, 4)), "labels": np.zeros(1, int)},
        "features.npy",
        "TOO_FEW_SAMPLES",
    ),
    "range": ({"labels": np.arange(40) % 3}, "labels.npy[2]", "LABEL_OUT_OF_RANGE"),
    "no npy": ({"features_npy": b"sepal,petal\n1,2\n"}, "features.npy", "NOT_NPY"),
    "pickle": ({"features_npy": pickled()}, "features.npy", "PICKLED_NPY"),
}


async def test_bad_datasets_are_refused_and_deleted(bench: Bench) -> None:
    """Finalizing names the file and what is wrong with it; objects go after the record."""
    for case, (changes, field, reason) in DATASETS.items():
        with pytest.raises(InvalidInput) as caught:
            await bench.push("bad", **changes)
        assert (caught.value.violations[0].field, caught.value.reason) == (field, reason), case
        listed = await bench.call("ListDatasets", pb.ListDatasetsRequest(parent=PARENT))
        assert not listed.datasets

    async def gone() -> bool:
        return not list(await asyncio.to_thread(bench.store.list, f"{PARENT}/datasets/"))

    await until(gone)


def spec(**changes: Any) -> spec_pb2.TrainingSpec:
    made = a_spec()
    for path, value in changes.items():
        *parents, last = path.split("__")
        message: Any = made
        for name in parents:
            message = getattr(message, name)
        setattr(message, last, value)
    return made


def wrong_layers() -> spec_pb2.TrainingSpec:
    made = a_spec()
    made.architecture.layers.layers.add(kind=spec_pb2.LAYER_KIND_CONV2D, units=4)
    return made


def empty_split() -> spec_pb2.TrainingSpec:
    made = a_spec()
    made.split.method = spec_pb2.SPLIT_METHOD_EXPLICIT
    made.split.validation_rows.extend(range(40))
    return made


SPECS: dict[str, tuple[spec_pb2.TrainingSpec, str]] = {
    "unknown target": (spec(target="cray-1"), "run.spec.target"),
    "unknown preset": (spec(architecture__preset="vgg"), "run.spec.architecture.preset"),
    "no dataset": (spec(dataset=f"{PARENT}/datasets/none"), "run.spec.dataset"),
    "foreign dataset": (spec(dataset="projects/other/datasets/watch"), "run.spec.dataset"),
    "epochs": (spec(fit__epochs=-1), "run.spec.fit.epochs"),
    "learning rate": (spec(fit__learning_rate=2.0), "run.spec.fit.learning_rate"),
    "layer shapes": (wrong_layers(), "run.spec.architecture.layers.layers[0]"),
    "empty split": (empty_split(), "run.spec.split"),
    "memory": (spec(resources__memory_bytes=1 << 50), "run.spec.resources.memory_bytes"),
    "first weights": (spec(init_from=f"{PARENT}/runs/none"), "run.spec.init_from"),
}


async def test_a_bad_spec_is_refused_with_its_field(bench: Bench) -> None:
    """Every kind of wrong spec names its field, and no run is stored."""
    await bench.push()
    for case, (wrong, field) in SPECS.items():
        request = pb.CreateRunRequest(parent=PARENT, run=run_pb2.Run(spec=wrong))
        with pytest.raises(InvalidInput) as caught:
            await bench.call("CreateRun", request)
        fields = [violation.field for violation in caught.value.violations]
        assert any(found.startswith(field) for found in fields), (case, fields)
    listed = await bench.call("ListRuns", pb.ListRunsRequest(parent=PARENT))
    assert not listed.runs


async def test_the_same_request_makes_one_run(bench: Bench) -> None:
    """A repeated request is answered with the first run; another run under its id is refused."""
    await bench.push()
    bench.control(hold=1)
    first = await bench.submit("one", request_id="r")
    again = await bench.submit("one", request_id="r")
    assert first.uid == again.uid
    with pytest.raises(AlreadyExists) as caught:
        await bench.submit("two", request_id="r")
    assert caught.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(AlreadyExists) as caught:
        await bench.submit("one")
    assert caught.value.reason == "RUN_EXISTS"
    with pytest.raises(Conflict):
        await bench.call("CancelRun", pb.CancelRunRequest(name=first.name, etag="old"))
    with pytest.raises(NotAllowedInState):
        await bench.call("DeleteRun", pb.DeleteRunRequest(name=first.name))
    dataset = pb.DeleteDatasetRequest(name=f"{PARENT}/datasets/watch")
    with pytest.raises(NotAllowedInState) as used:
        await bench.call("DeleteDataset", dataset)
    assert used.value.reason == "DATASET_IN_USE"
    await bench.call("CancelRun", pb.CancelRunRequest(name=first.name))
    done = await bench.until_state(first.name, run_pb2.RUN_STATE_CANCELLED)
    assert done.state == run_pb2.RUN_STATE_CANCELLED
    await bench.call("DeleteRun", pb.DeleteRunRequest(name=first.name))
    with pytest.raises(NotFound):
        await bench.get(first.name)


async def test_an_oversized_message_is_refused(bench: Bench) -> None:
    """A message beyond 8 MiB is refused by its size; the gateway serves on."""
    request = pb.CreateRunRequest(parent=PARENT, run=run_pb2.Run(display_name="x" * TOO_LARGE))
    with pytest.raises(QuotaExceeded) as caught:
        await bench.call("CreateRun", request)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"
    await bench.call("ListTargets", pb.ListTargetsRequest())


async def test_pages_follow_each_other_and_tokens_are_bound(bench: Bench) -> None:
    """Pages together give every run once, newest first; a token fits only its own list."""
    await bench.push()
    bench.control(hold=1)
    names = [(await bench.submit(f"run-{index}")).name for index in range(5)]
    found: list[str] = []
    token = ""
    while True:
        request = pb.ListRunsRequest(parent=PARENT, page_size=2, page_token=token)
        page = await bench.call("ListRuns", request)
        found += [run.name for run in page.runs]
        token = page.next_page_token
        if not token:
            break
        foreign = pb.ListRunsRequest(parent=PARENT, filter='state = "FAILED"', page_token=token)
        with pytest.raises(InvalidInput):
            await bench.call("ListRuns", foreign)
    assert found == names[::-1]
    for name in names:
        await bench.call("CancelRun", pb.CancelRunRequest(name=name))


async def test_connect_answers_as_grpc_does(bench: Bench) -> None:
    """JSON over plain HTTP reads a run and gets the same errors with their details."""
    await bench.push()
    run = await bench.submit("web")
    base = f"{bench.endpoints['http']}/linnet.v1.TrainingService"
    async with httpx.AsyncClient(trust_env=False) as client:
        found = await client.post(f"{base}/GetRun", json={"name": run.name})
        assert found.status_code == 200
        assert found.json()["uid"] == run.uid
        missing = await client.post(f"{base}/GetRun", json={"name": f"{PARENT}/runs/none"})
        assert missing.status_code == 404
        body = missing.json()
        assert body["code"] == "not_found"
        assert any(d["type"] == "google.rpc.ErrorInfo" for d in body["details"])
        bad = await client.post(f"{base}/GetRun", json={"name": "../../etc"})
        assert bad.json()["code"] == "invalid_argument"
        stream = json.dumps({"name": run.name}).encode()
        envelope = b"\0" + len(stream).to_bytes(4, "big") + stream
        headers = {"content-type": "application/connect+json"}
        watched = await client.post(
            f"{base}/WatchRun", content=envelope, headers=headers, timeout=40
        )
        assert b"RUN_STATE_SUCCEEDED" in watched.content
