"""The command `linnet doctor --cluster`."""

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from linnet_runtime.errors import LinnetError

if TYPE_CHECKING:
    from linnet_gateway.kubernetes.checkup import Finding

_EXIT_FINDINGS = 1
_EXIT_USAGE = 2


def doctor(
    *,
    cluster: bool = False,
    namespace: str = "",
    kubeconfig: str = "",
    probe: bool = True,
    json_lines: bool = False,
) -> None:
    """Say whether an installation is whole and its protections hold.

    --cluster looks at the cluster of your kubeconfig, as you; --namespace names the release's
    namespace where several hold a gateway. --no-probe leaves out the pod that tries what a trainer
    can reach. Exits 1 if anything failed.
    """
    if not cluster:
        sys.stderr.write("linnet doctor: say what to look at: --cluster\n")
        raise SystemExit(_EXIT_USAGE)
    chosen = kubeconfig or os.environ.get("KUBECONFIG", "") or str(Path.home() / ".kube" / "config")
    try:
        findings = asyncio.run(_examine(Path(chosen), namespace, run_probe=probe))
    except LinnetError as error:
        sys.stderr.write(f"linnet doctor: {error.message}\n")
        raise SystemExit(_EXIT_FINDINGS) from error
    sys.stdout.write(render(findings, json_lines=json_lines))
    if any(finding.verdict.name == "FAILED" for finding in findings):
        raise SystemExit(_EXIT_FINDINGS)


def render(findings: Iterable["Finding"], *, json_lines: bool) -> str:
    """Give a line a finding, for people or as JSON."""
    if json_lines:
        return "".join(
            json.dumps(
                {
                    "check": one.check,
                    "verdict": one.verdict.name,
                    "detail": one.detail,
                    "rests_on": one.rests_on,
                }
            )
            + "\n"
            for one in findings
        )
    lines = []
    for one in findings:
        detail = f": {one.detail}" if one.detail else ""
        rests = f"  [{one.rests_on}]" if one.rests_on else ""
        lines.append(f"{one.verdict.value:<8} {one.check}{detail}{rests}\n")
    return "".join(lines)


async def _examine(kubeconfig: Path, namespace: str, *, run_probe: bool) -> list["Finding"]:
    # The Kubernetes client loads only when a cluster is looked at.
    from linnet_runtime.clock import SystemClock
    from linnet_runtime.errors import NotFound
    from prometheus_client import CollectorRegistry

    from linnet_gateway.kubernetes import checkup
    from linnet_gateway.kubernetes import probe as probing
    from linnet_gateway.kubernetes.client import Api
    from linnet_gateway.kubernetes.patient_calls import ApiMetrics
    from linnet_gateway.kubernetes.settings import KubernetesSettings

    clock = SystemClock()
    settings = KubernetesSettings.model_validate(
        {
            "kubeconfig": kubeconfig,
            "trainer_image": "unknown",
            "gateway_address": "unknown",
            "retry_limit_s": 10,
        }
    )
    async with await Api.connect(settings, ApiMetrics(CollectorRegistry()), clock) as api:
        findings = [await checkup.check_version(api)]
        installations = await checkup.find_installations(api, namespace)
        if len(installations) != 1:
            if not installations:
                raise NotFound("gateway", namespace or "in any namespace")
            places = ", ".join(one.namespace for one in installations)
            raise LinnetError(f"several gateways are installed; choose by --namespace: {places}")
        (installation,) = installations
        findings += [
            checkup.check_replicas(installation),
            await checkup.check_namespace(api, installation),
            await checkup.check_admission(api, installation),
            *await checkup.check_rights(api, installation),
            await checkup.check_sandbox(api, installation),
            await checkup.check_policies(api, installation),
        ]
        if run_probe:
            findings += await probing.probe(api, installation, clock)
        return findings
