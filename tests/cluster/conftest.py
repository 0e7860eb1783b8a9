"""What the cluster tests share: a running cluster, kubectl, a namespace of their own."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from testbed import build, network, objectstore, requirements, serviceimages
from testbed.cluster import Cluster
from testbed.faults import TestbedFault, Unsupported
from testbed.helm import Helm
from testbed.imagebuild import Builder
from testbed.kubectl import Kubectl
from testbed.places import DEFAULT_NAME
from testbed.serviceimages import IMAGES, ServiceImages, small_values

_PYTHON_IMAGE_VARIABLE = "LINNET_TEST_PYTHON_IMAGE"
"""Names the image of stub trainers for a cluster that pulls none from Docker's registry."""
_REQUIRED_VARIABLE = "LINNET_REQUIRE_TESTBED"
"""Set where the testbed is known to run, so that tests can't be skipped unnoticed."""


def pytest_runtestloop(session: pytest.Session) -> None:
    """Make what takes longer than any test may before the first test's time starts.

    A machine that may not run a testbed is no failure, on CI neither: its tests are skipped and one
    line says what is missing. Whatever goes wrong on a machine that may is a failure.
    """
    items = [item for item in session.items if item.get_closest_marker("cluster")]
    foreign = os.environ.get("KUBECONFIG") and not os.environ.get("LINNET_TESTBED")
    if session.config.option.collectonly or foreign or not items:
        return
    try:
        requirements.check()
    except Unsupported as unsupported:
        required = bool(os.environ.get(_REQUIRED_VARIABLE))
        if required or len(items) == len(session.items):
            pytest.exit(f"tests/cluster skipped: {unsupported}", returncode=int(required))
        for item in items:
            item.add_marker(pytest.mark.skip(reason=str(unsupported)))
        return
    wanted = {name for item in items for name in getattr(item, "fixturenames", ())}
    try:
        _prepare(wanted)
    except TestbedFault as fault:
        pytest.exit(f"tests/cluster: {fault}", returncode=1)


def _prepare(wanted: Collection[str]) -> None:
    if "testbed" not in wanted:
        return
    cluster = Cluster.of(os.environ.get("LINNET_TESTBED") or DEFAULT_NAME)
    for program in build.PROGRAMS:
        build.folder(program, cluster.places.cache)
    if wanted & {"python_image", "service_images"}:
        services = ServiceImages.of(cluster)
        services.builder.base()
        for image in IMAGES if "service_images" in wanted else ():
            services.build(image)


@pytest.fixture(scope="session")
def testbed() -> Iterator[Cluster | None]:
    """The running testbed, entered by the main thread; None on a cluster that KUBECONFIG names."""
    name = os.environ.get("LINNET_TESTBED")
    if os.environ.get("KUBECONFIG") and not name:
        yield None
        return
    cluster = Cluster.of(name or DEFAULT_NAME)
    was_ready = cluster.ready()
    cluster.up(print)
    try:
        with network.entered(cluster.holder()):
            yield cluster
    finally:
        if not was_ready:
            cluster.down()


@pytest.fixture(scope="session")
def own_testbed(testbed: Cluster | None) -> Cluster:
    """The testbed, for what a cluster of somebody else does not have."""
    if testbed is None:
        pytest.skip("KUBECONFIG names a cluster that is not the testbed")
    return testbed


@pytest.fixture(scope="session")
def kubectl(testbed: Cluster | None) -> Kubectl:
    """The administrator's kubectl."""
    if testbed is not None:
        folder = build.folder(build.KUBERNETES, testbed.places.cache)
        return Kubectl(folder / "kubectl", testbed.kubeconfig)
    program = shutil.which("kubectl")
    assert program, "KUBECONFIG is set and there is no kubectl on PATH"
    return Kubectl(Path(program), Path(os.environ["KUBECONFIG"]))


@pytest.fixture(scope="session")
def python_image(testbed: Cluster | None) -> str:
    """An image with Python 3.11 and nothing of Linnet: on the node, or where a cluster pulls it."""
    if testbed is None:
        return os.environ.get(_PYTHON_IMAGE_VARIABLE) or serviceimages.public_base()
    builder = Builder(testbed.places.cache / "images")
    name = builder.base()
    if name not in testbed.image_names():
        archive = testbed.places.state / "python.tar"
        builder.export(name, archive)
        testbed.import_image(archive)
        archive.unlink()
    return name


@pytest.fixture(scope="session")
def service_images(own_testbed: Cluster) -> Mapping[str, str]:
    """Names of the services' images, built from this working tree once a session, on the node."""
    services = ServiceImages.of(own_testbed)
    return {image: services.provide(own_testbed, image, built=True) for image in IMAGES}


@pytest.fixture(scope="session")
def chart_values(service_images: Mapping[str, str]) -> dict[str, Any]:
    """Values that name the images of this working tree and ask for little.

    The requests leave most of a small node to the trainers. Objects that nobody needs go at once:
    tests wait for that.
    """
    values = small_values(service_images)
    values["gateway"]["settings"] = {"SWEEP_DELAY_S": 0}
    return values


@pytest.fixture(scope="session")
def object_store(own_testbed: Cluster) -> Iterator[objectstore.ObjectStore]:
    """A MinIO that pods and tests reach by the same address."""
    with objectstore.started(own_testbed) as store:
        yield store


@pytest.fixture(scope="session")
def helm_in(own_testbed: Cluster) -> Callable[[str], Helm]:
    """Helm for releases in a namespace."""
    program = build.executable(build.HELM, own_testbed.places.cache)

    def in_namespace(namespace: str) -> Helm:
        return Helm(program, own_testbed.kubeconfig, namespace)

    return in_namespace


@pytest.fixture
def restricted_namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace that admits pods of the restricted profile only."""
    name = f"test-{secrets.token_hex(4)}"
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }
    )
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
