"""What specs may ask for follows from what the launcher would launch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from linnet.v1 import spec_pb2
from linnet_gateway.kubernetes.ceilings import KubernetesCeilings
from linnet_gateway.kubernetes.manifests import build_job
from linnet_gateway.kubernetes.settings import GIB, KubernetesSettings
from linnet_gateway.launches.launcher import Launch
from linnet_gateway.records import DatasetFacts
from linnet_gateway.specs.ceilings import Ceilings, OneCeiling
from linnet_gateway.specs.resolution import ResourceLimits, SpecResolution
from linnet_gateway.targets import Targets
from linnet_ml.spec import Resources
from linnet_runtime.errors import InvalidInput

from tests.fakes.gateway import a_spec
from tests.fakes.killable import FakeProfiler, Gateway, NoRows
from tests.fakes.lasting_world import World

Resolution = Callable[[Ceilings, ResourceLimits], SpecResolution]

SMALL = {"cpu_millis": 500, "memory_bytes": GIB, "deadline_s": 7200}


def settings_of(**ceiling: int) -> KubernetesSettings:
    return KubernetesSettings.model_validate(
        {"trainer_image": "t", "gateway_address": "g:1", "project_ceilings": {"demo": ceiling}}
    )


@pytest.fixture
def resolution(world: World, gateway: Gateway) -> Resolution:
    def under(ceilings: Ceilings, limits: ResourceLimits) -> SpecResolution:
        records = gateway.records
        targets = Targets(FakeProfiler(), world.clock)
        files = NoRows(world.store)
        return SpecResolution(
            records.datasets, records.runs, targets, files, limits, ceilings=ceilings
        )

    return under


async def resources_of(specs: SpecResolution, **asked: Any) -> Resources:
    spec = a_spec()
    spec.resources.CopyFrom(spec_pb2.Resources(**asked))
    return (await specs.resolve("demo", spec, "spec")).spec.resources


async def test_what_a_spec_leaves_open_fits_under_the_ceiling(resolution: Resolution) -> None:
    """A project of small ceilings runs specs that name no resources."""
    settings = settings_of(**SMALL)
    found = await resources_of(resolution(KubernetesCeilings(settings), ResourceLimits()))
    assert (found.cpu_millis, found.memory_bytes) == (500, GIB)
    assert found.deadline == timedelta(hours=2)
    launch = Launch(
        uid="l-one",
        project="demo",
        shard_count=1,
        parallelism=1,
        token="t",
        deadline=found.deadline,
        cpu_millis=found.cpu_millis,
        memory_bytes=found.memory_bytes,
        expert=False,
        labels={},
        spec_digest="d",
    )
    assert build_job(launch, settings)["spec"]["activeDeadlineSeconds"] == 7200


@pytest.mark.parametrize(
    ("field", "asked", "most"),
    [
        ("cpu_millis", {"cpu_millis": 501}, "500"),
        ("memory_bytes", {"memory_bytes": GIB + 1}, str(GIB)),
        ("deadline", {"deadline": timedelta(seconds=7201)}, "2:00:00"),
    ],
)
async def test_what_would_not_be_launched_is_refused_by_its_field(
    resolution: Resolution, field: str, asked: dict[str, Any], most: str
) -> None:
    """Before there is a run, with the ceiling and what came."""
    specs = resolution(KubernetesCeilings(settings_of(**SMALL)), ResourceLimits())
    with pytest.raises(InvalidInput) as refused:
        await resources_of(specs, **asked)
    (violation,) = refused.value.violations
    assert refused.value.reason == "RESOURCES_REFUSED"
    assert violation.field == f"spec.resources.{field}"
    assert f"at most {most} in project 'demo'" in violation.description


async def test_a_large_ceiling_can_be_used(resolution: Resolution) -> None:
    """What the launcher allows a project is not cut by a default of the gateway."""
    ceilings = KubernetesCeilings(settings_of(memory_bytes=64 * GIB, deadline_s=3 * 86_400))
    specs = resolution(ceilings, ResourceLimits())
    found = await resources_of(specs, memory_bytes=64 * GIB)
    assert (found.memory_bytes, found.deadline) == (64 * GIB, timedelta(days=3))


async def test_memory_is_asked_for_what_trainers_compute_with(
    gateway: Gateway, resolution: Resolution
) -> None:
    """Features that are stored as bytes take four times their size, several times over."""
    images = DatasetFacts((256, 256, 3), 4096, (2048, 2048), feature_bytes=256 * 256 * 3)
    await gateway.records.datasets.change("d1", lambda d: replace(d, facts=images))
    ceilings = KubernetesCeilings(settings_of(memory_bytes=64 * GIB))
    specs = resolution(ceilings, ResourceLimits(base_memory_bytes=GIB))
    needed = GIB + 3 * 4 * 256 * 256 * 3 * 4096
    with pytest.raises(InvalidInput, match=f"at least {needed} for a dataset of 3221225472"):
        await resources_of(specs, memory_bytes=needed - 1)
    assert (await resources_of(specs, memory_bytes=needed)).memory_bytes == needed


async def test_the_gateways_own_limits_lower_a_ceiling(resolution: Resolution) -> None:
    """Set on purpose, they hold for every project and launcher."""
    limits = ResourceLimits(max_memory_bytes=3 * GIB, max_deadline=timedelta(hours=1))
    ceilings = KubernetesCeilings(settings_of(memory_bytes=64 * GIB))
    specs = resolution(ceilings, limits)
    assert (await resources_of(specs)).deadline == timedelta(hours=1)
    with pytest.raises(InvalidInput, match=r"resources\.memory_bytes"):
        await resources_of(specs, memory_bytes=3 * GIB + 1)


async def test_a_launcher_without_ceilings_has_the_usual_ones(resolution: Resolution) -> None:
    """Local mode: a day, 16 GiB and 16 cores."""
    specs = resolution(OneCeiling(), ResourceLimits())
    found = await resources_of(specs, memory_bytes=16 * GIB, cpu_millis=16_000)
    assert found.deadline == timedelta(days=1)
    with pytest.raises(InvalidInput, match=r"resources\.memory_bytes"):
        await resources_of(specs, memory_bytes=16 * GIB + 1)


async def test_scripts_are_refused_by_what_the_launcher_lacks(resolution: Resolution) -> None:
    """Without a sandbox a script is refused by that reason, whatever else forbids scripts."""
    spec = a_spec()
    spec.architecture.script = "def build_model(data):\n    return None\n"
    bare = settings_of()
    sandboxed = bare.model_copy(update={"expert_runtime_class": "gvisor"})
    local, none_allowed = OneCeiling(), ResourceLimits(expert_allowed=False)
    cases: list[tuple[Ceilings, ResourceLimits, str]] = [
        (KubernetesCeilings(bare), ResourceLimits(), "EXPERT_SANDBOX_MISSING"),
        # As the chart sets it.
        (KubernetesCeilings(bare), none_allowed, "EXPERT_SANDBOX_MISSING"),
        (KubernetesCeilings(sandboxed), none_allowed, "EXPERT_NOT_ALLOWED"),
        (local, none_allowed, "EXPERT_NOT_ALLOWED"),
    ]
    for ceilings, limits, reason in cases:
        with pytest.raises(InvalidInput) as refused:
            await resolution(ceilings, limits).resolve("demo", spec, "run.spec")
        assert refused.value.reason == reason
        assert [v.field for v in refused.value.violations] == ["run.spec.architecture.script"]
    for ceilings in (KubernetesCeilings(sandboxed), local):
        specs = resolution(ceilings, ResourceLimits())
        assert (await specs.resolve("demo", spec, "run.spec")).expert
