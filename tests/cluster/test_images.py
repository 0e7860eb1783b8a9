"""The images of the services are small, closed, and run as the chart runs them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
from testbed.cluster import Cluster
from testbed.imagebuild import Builder
from testbed.kubectl import Kubectl
from testbed.patience import wait_until
from testbed.serviceimages import SERVICES, ServiceImages

# The trainer's image alone takes minutes to build and import on two cores.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

_SETTLE_S = 90.0
# Uncompressed, with the base.
_SIZE_LIMITS_BYTES = {
    "gateway": 800e6,
    "profiler": 500e6,
    "evaluator": 1.1e9,
    "trainer": 2.4e9,
}
# What the image is for, as one import that takes in its heaviest parts.
_IMPORTS = {
    "gateway": "linnet_gateway, sqlalchemy, kubernetes, psycopg, pyarrow.parquet",
    "profiler": "linnet_profiler",
    "evaluator": "linnet_evaluator, ai_edge_litert.interpreter, sklearn",
    "trainer": "linnet_trainer, tensorflow, keras, tflite_micro.python.tflite_micro.runtime",
}
# A package of uv.lock that no service requires.
_STRANGER = """
[[package]]
name = "newer"
version = "1"
source = { registry = "https://pypi.org/simple" }
"""
_INSPECT = """
import importlib.util, json, os, pathlib, py_compile, shutil, sys
import {imports}
site = pathlib.Path({name}.__file__).parent
writable = [p for p in ("/", "/app", "/usr", "/etc") if os.access(p, os.W_OK)]
sources = list(site.rglob("*.py"))
compiled = [p for p in sources if pathlib.Path(importlib.util.cache_from_source(str(p))).exists()]
print(json.dumps({{
    "user": os.getuid(),
    "writable": writable,
    "programs": [n for n in ("pip", "uv", "gcc", "cc", "g++", "make", "ld") if shutil.which(n)],
    "pip": importlib.util.find_spec("pip") is not None,
    "uncompiled": len(sources) - len(compiled),
    "sources": len(sources),
    "materials": len(json.load(open("/usr/share/sbom/linnet-{service}.cdx.json"))["components"]),
}}))
"""


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def image(service_images: Mapping[str, str], service: str) -> str:
    """The service's image, on the node."""
    return service_images[service]


@pytest.fixture(scope="module")
def builder(own_testbed: Cluster) -> Builder:
    return ServiceImages.of(own_testbed).builder


def _pod(name: str, image: str, code: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "command": ["python", "-c", code],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
                    "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
    }


def test_an_image_runs_restricted_and_holds_no_tools(
    kubectl: Kubectl, restricted_namespace: str, service: str, image: str
) -> None:
    """It is not root, writes only to /tmp, has bytecode and an SBOM, no pip and no compiler."""
    name = f"linnet_{service}"
    code = _INSPECT.format(imports=_IMPORTS[service], name=name, service=service)
    namespace = f"--namespace={restricted_namespace}"
    manifest = json.dumps(_pod(service, image, code))
    kubectl("create", namespace, "--filename=-", stdin=manifest)

    def phase() -> str:
        return str(kubectl.get("pod", service, namespace)["status"].get("phase"))

    wait_until(lambda: phase() in {"Succeeded", "Failed"}, _SETTLE_S, f"{service} has run")
    log = kubectl("logs", namespace, service)
    assert phase() == "Succeeded", log
    found = json.loads(log.splitlines()[-1])
    assert found["user"] == 10001
    assert found["writable"] == []
    assert found["programs"] == []
    assert not found["pip"]
    assert found["sources"] > 0
    assert found["uncompiled"] == 0
    assert found["materials"] > 20


def test_an_image_is_within_its_size(builder: Builder, service: str, image: str) -> None:
    """Uncompressed and with its base it stays below the limit."""
    size_bytes = builder.size_bytes(image)
    assert 50e6 < size_bytes <= _SIZE_LIMITS_BYTES[service]


def test_an_image_says_what_it_is(builder: Builder, service: str, image: str) -> None:
    """It has the OCI labels, a user who is not root, and starts the service."""
    configuration = builder.configuration(image)
    assert configuration["User"] == "10001:10001"
    assert configuration["Entrypoint"] == [f"linnet-{service}"]
    labels = configuration["Labels"]
    for key in ("title", "description", "version", "revision", "source", "licenses"):
        assert labels[f"org.opencontainers.image.{key}"]


def test_the_dependencies_layer_moves_only_with_the_services_own_requirements(
    own_testbed: Cluster, tmp_path: Any
) -> None:
    """Another program text and a lock that others changed give, from scratch, the same layer."""
    images = ServiceImages.of(own_testbed)
    first = images.builder.layers(images.build("profiler"))
    copy = tmp_path / "source"
    words = ["git", "-C", str(images.source), "ls-files", "-z", "pyproject.toml", "uv.lock"]
    words += ["protos", "libs", "services/profiler", "deploy/images"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    for path in filter(None, re.split("\0", listed)):
        target = copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((images.source / path).read_bytes())
        target.chmod((images.source / path).stat().st_mode)
    module = copy / "services/profiler/src/linnet_profiler/__init__.py"
    module.write_text(module.read_text() + "\nNEWER = True\n")
    project = copy / "pyproject.toml"
    project.write_text(project.read_text().replace("pytest>=9", "newer") + "\n[tool.newer]\n")
    lock = copy / "uv.lock"
    lock.write_text(lock.read_text() + _STRANGER)
    other = ServiceImages(images.builder, copy)
    again = other.build("profiler", tag="other", keep_layers=False)
    second = images.builder.layers(again)
    assert second[-1] != first[-1], "the program's layer is the same, so this test shows nothing"
    assert second[-2] == first[-2]
