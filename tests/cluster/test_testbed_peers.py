"""The real MinIO, Prometheus and KWOK of the testbed work as the tests use them."""

from __future__ import annotations

import datetime as dt
import io
import urllib.request

import pytest
from minio import Minio
from testbed import fakenodes, objectstore, prometheus
from testbed.cluster import Cluster
from testbed.kubectl import Kubectl
from testbed.patience import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def test_minio_keeps_objects_and_signs_links(object_store: objectstore.ObjectStore) -> None:
    """An object put with the generated keys is read back through a presigned link without them."""
    client = Minio(
        object_store.endpoint,
        access_key=object_store.access_key,
        secret_key=object_store.secret_key,
        secure=False,
        region="us-east-1",
    )
    client.make_bucket("models")
    client.put_object("models", "a/b", io.BytesIO(b"content"), 7)
    link = client.presigned_get_object("models", "a/b", expires=dt.timedelta(minutes=1))
    with urllib.request.urlopen(link, timeout=10) as answer:
        assert answer.read() == b"content"


def test_prometheus_scrapes_what_it_is_told_to(own_testbed: Cluster) -> None:
    """A target of its configuration is up, and a query gives its series."""
    configuration = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {"job_name": "itself", "static_configs": [{"targets": ["10.77.0.2:9090"]}]}
        ],
    }
    with prometheus.started(own_testbed, configuration) as running:
        wait_until(
            lambda: [one["value"][1] for one in running.query('up{job="itself"}')] == ["1"],
            30.0,
            "the target is up",
            detail=lambda: str(running.query("up")),
        )


def test_fake_nodes_finish_a_job_of_200_pods(
    own_testbed: Cluster, kubectl: Kubectl, restricted_namespace: str
) -> None:
    """A Job of 200 indexes on KWOK's nodes is complete, and the real node is left alone."""
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": fakenodes.NODE_SELECTOR,
        "tolerations": [fakenodes.TOLERATION],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "main",
                "image": "localhost/none",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "many", "namespace": restricted_namespace},
        "spec": {
            "completionMode": "Indexed",
            "completions": 200,
            "parallelism": 200,
            "template": {"spec": pod},
        },
    }
    with fakenodes.started(own_testbed, count=2):
        kubectl.apply(job)
        namespace = f"--namespace={restricted_namespace}"
        kubectl("wait", namespace, "--for=condition=Complete", "job/many", "--timeout=90s")
        found = kubectl.get("job", "many", namespace)["status"]
        assert found["succeeded"] == 200
    assert own_testbed.ready()
