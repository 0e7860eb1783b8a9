"""From data to a sized model on real Kubernetes, as a user and his Prometheus see it."""

from __future__ import annotations

import json
import socket
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from linnet.v1 import run_pb2
from minio import Minio
from product import DATASET, Product, last_json, seconds_since
from testbed import prometheus, requirements
from testbed.cluster import Cluster
from testbed.objectstore import ObjectStore
from testbed.patience import wait_until

from tests.support import promtool

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# Beside the trainer's own end: it saves its checkpoint and leaves.
_REMOVAL_S = 20.0
_REASON_METRICS = 'linnet_runs_finished_total{project="default"}'


@pytest.fixture(scope="module")
def trained(product: Product) -> run_pb2.Run:
    """A run of the dense preset over 30 cycles, trained by `linnet train`."""
    words = ("--preset", "dense", "--epochs", "30", "--id", "journey", "--json")
    told = product.cli("train", DATASET, *words, timeout_s=300)
    assert last_json(told)
    with product.client() as client:
        return client.get_run("journey")


def test_a_run_succeeds_with_evaluation_and_profile(trained: run_pb2.Run) -> None:
    """`linnet train` ends with a model, and every stage of the run has succeeded."""
    assert trained.state == run_pb2.RUN_STATE_SUCCEEDED
    assert [stage.state for stage in trained.stages] == [run_pb2.STAGE_STATE_SUCCEEDED] * 3
    assert trained.summary.epochs == 30


def test_the_report_scores_and_sizes_the_model(product: Product, trained: run_pb2.Run) -> None:
    """`linnet report` has an accuracy better than chance and device figures of both variants."""
    told = last_json(product.cli("report", trained.name, "--json"))
    assert told["evaluation"]["sets"]
    with product.client() as client:
        variants = client.get_run(trained.name).summary.variants
    assert {one.variant for one in variants} == {
        run_pb2.VARIANT_FLOAT32,
        run_pb2.VARIANT_INT8,
    }
    for one in variants:
        assert one.validation_accuracy > 0.3
        assert one.ram_bytes > 0
        assert one.flash_bytes > 0
        assert one.latency_us > 0


def test_the_output_of_the_trainer_is_kept(product: Product, trained: run_pb2.Run) -> None:
    """`linnet runs logs` gives the trainer's lines after its pod has ended."""
    assert len(product.cli("runs", "logs", trained.name).splitlines()) > 5


def _keys(product: Product, store: ObjectStore, prefix: str) -> list[str]:
    """Keys of the release's bucket, as MinIO itself lists them."""
    inside = Minio(
        store.endpoint, access_key=store.access_key, secret_key=store.secret_key, secure=False
    )
    listed = inside.list_objects(product.release.name, prefix, recursive=True)
    return [str(one.object_name) for one in listed]


def test_data_goes_up_through_the_public_address(
    product: Product, object_store: ObjectStore
) -> None:
    """`linnet datasets push` from outside wrote into MinIO; the inner address is unknown there."""
    keys = _keys(product, object_store, "projects/default/datasets/")
    assert any(DATASET in key for key in keys), keys
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(f"objects.{product.release.namespace}.svc.cluster.local", 9000)


def test_artifacts_lie_in_minio_and_come_out_through_the_public_address(
    product: Product, trained: run_pb2.Run, object_store: ObjectStore, tmp_path: Path
) -> None:
    """The trainer wrote by the inner address, a client outside reads by the public one."""
    keys = _keys(product, object_store, "projects/default/runs/")
    assert any(key.endswith("/attempts/1/manifest.json") for key in keys), keys
    with product.client() as client:
        request = client.artifact_request(trained.name, "model.int8.tflite")
        assert urllib.parse.urlsplit(request.url).netloc == product.store
    product.cli("runs", "download", trained.name, "model.int8.tflite", "--to", str(tmp_path))
    (file,) = (one for one in trained.artifacts if one.name == "model.int8.tflite")
    model = (tmp_path / "model.int8.tflite").read_bytes()
    assert len(model) == file.size_bytes
    assert model[4:8] == b"TFL3"


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """Where a pod serves /metrics, as `host:port`, and of which component it is."""

    address: str
    component: str


def _metrics_pages(product: Product) -> list[MetricsPage]:
    """Give the ports named `metrics` of the release's pods, as the chart's monitors select them."""
    pods = product.kubectl.get("pods", f"--namespace={product.release.namespace}")["items"]
    return [
        MetricsPage(
            f"{pod['status']['podIP']}:{port['containerPort']}",
            pod["metadata"]["labels"]["app.kubernetes.io/component"],
        )
        for pod in pods
        for port in pod["spec"]["containers"][0].get("ports", ())
        if port["name"] == "metrics"
    ]


def test_a_real_prometheus_scrapes_gateway_evaluator_and_profiler(
    product: Product, own_testbed: Cluster, trained: run_pb2.Run
) -> None:
    """What the chart's monitors select is up, and the finished run is counted."""
    # Debian's Prometheus is built without Kubernetes discovery: the pods are looked up here.
    targets = [
        {"targets": [page.address], "labels": {"component": page.component}}
        for page in _metrics_pages(product)
    ]
    configuration = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "linnet", "static_configs": targets}],
    }
    with prometheus.started(own_testbed, configuration) as running:

        def up() -> set[str]:
            found = running.query('up{job="linnet"} == 1')
            return {one["metric"]["component"] for one in found}

        wait_until(
            lambda: up() >= {"gateway", "evaluator", "profiler"},
            60.0,
            "every service is scraped",
            detail=lambda: json.dumps(running.query("up")),
        )
        wait_until(
            lambda: sum(float(one["value"][1]) for one in running.query(_REASON_METRICS)) >= 1,
            30.0,
            "the finished run is counted",
            detail=lambda: json.dumps(running.query(_REASON_METRICS)),
        )
        leaders = running.query("sum(linnet_leader)")
        assert [one["value"][1] for one in leaders] == ["1"]
    assert trained.state == run_pb2.RUN_STATE_SUCCEEDED


def test_promtool_finds_nothing_wrong_with_the_live_pages(
    product: Product, own_testbed: Cluster, trained: run_pb2.Run
) -> None:
    """`promtool check metrics` is clean on what each service says after a run."""
    assert own_testbed.places
    assert trained.state == run_pb2.RUN_STATE_SUCCEEDED
    requirements.install(requirements.PROMETHEUS_PACKAGES)
    told: dict[str, str] = {}
    for page in _metrics_pages(product):
        with urllib.request.urlopen(f"http://{page.address}/metrics", timeout=10.0) as answer:
            text = answer.read()
        assert b"# TYPE linnet_" in text, page
        told[page.component] = promtool.complaints(text)
    assert told == dict.fromkeys(("gateway", "evaluator", "profiler"), "")


def test_the_job_of_a_finished_run_trains_no_more(product: Product, trained: run_pb2.Run) -> None:
    """After the run is final nothing of it runs."""
    assert trained.state == run_pb2.RUN_STATE_SUCCEEDED
    product.until_no_trainer_lives()


def _launch(product: Product) -> str:
    """Wait until the only launch that lives has a Job, and name it."""
    jobs: list[str] = []

    def found() -> bool:
        living = set(product.living_trainers())
        jobs[:] = [
            one["metadata"]["labels"]["linnet.dev/launch"]
            for one in product.trainers()
            if f"{one['kind']}/{one['metadata']['name']}" in living and one["kind"] == "Job"
        ]
        return len(jobs) == 1

    wait_until(found, 60.0, "one Job lives", detail=lambda: str(jobs))
    return jobs[0]


def _kinds(product: Product, launch: str) -> set[str]:
    """Kinds of the objects that a launch consists of now."""
    where = (f"--namespace={product.release.runs}", f"--selector=linnet.dev/launch={launch}")
    return {str(one["kind"]) for one in product.kubectl.get("jobs,pods,secrets", *where)["items"]}


def _cancel(product: Product, run: run_pb2.Run, launch: str) -> None:
    """Cancel by the command; in a moment nothing of the launch is left."""
    product.cli("runs", "cancel", run.name)
    assert product.until_ended(run).state == run_pb2.RUN_STATE_CANCELLED
    began = time.monotonic()
    wait_until(
        lambda: not _kinds(product, launch),
        90.0,
        "the Job is removed",
        detail=lambda: str(_kinds(product, launch)),
    )
    assert seconds_since(began) < _REMOVAL_S


def test_a_cancelled_run_leaves_no_job(product: Product) -> None:
    """`linnet runs cancel` ends the run as cancelled; its Job, pod and Secret are gone at once."""
    run = product.start(epochs=5_000)
    product.until_training(run)
    launch = _launch(product)
    assert _kinds(product, launch) == {"Job", "Pod", "Secret"}
    _cancel(product, run, launch)


def test_a_run_cancelled_before_it_trains_leaves_no_job(product: Product) -> None:
    """A run whose pod finds no node is cancelled, and its Job with it."""
    product.until_no_trainer_lives()
    run = product.start(cpu_millis=8_000)
    launch = _launch(product)
    assert "Job" in _kinds(product, launch)
    _cancel(product, run, launch)
