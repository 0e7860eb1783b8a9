"""Linnet as it was installed by Helm, seen by its user and by an administrator."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from linnet.v1 import run_pb2, spec_pb2
from linnet_runtime.errors import Unavailable
from linnet_sdk import Client
from linnet_sdk.server_address import parse
from testbed.kubectl import Kubectl
from testbed.patience import wait_until

DATASET = "smartwatch-spectral"

TERMINAL = (
    run_pb2.RUN_STATE_SUCCEEDED,
    run_pb2.RUN_STATE_FAILED,
    run_pb2.RUN_STATE_CANCELLED,
)
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Release:
    """Names of one installation.

    Attributes:
        name: Of the Helm release.
        namespace: Of its services.
        runs: Namespace of its trainers.
    """

    name: str
    namespace: str
    runs: str

    @property
    def gateway(self) -> str:
        """Name of the gateway's objects."""
        return f"{self.name}-linnet-gateway"


@dataclass(frozen=True, slots=True)
class Product:
    """One installation.

    Attributes:
        kubectl: The administrator's.
        release: Its names.
        server: `host:port` of TrainingService, or `https://host:port`.
        token: Its API token.
        store: `localhost:port` by which clients outside the cluster reach the object store.
    """

    kubectl: Kubectl
    release: Release
    server: str
    token: str
    store: str

    def client(self) -> Client:
        """Open a client, as a program outside the cluster would."""
        return Client(parse(self.server, self.token))

    def cli(self, *words: str, timeout_s: float = 180.0) -> str:
        """Run `linnet …` as a user would and give what it printed.

        Raises:
            AssertionError: It failed; shows what it said.
        """
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LINNET_")},
            "LINNET_SERVER": self.server,
            "LINNET_TOKEN": self.token,
        }
        done = subprocess.run(
            [sys.executable, "-m", "linnet_sdk", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"linnet {words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def push_dataset(self) -> None:
        """Push the watch recordings that runs train on."""
        self.cli("datasets", "push", f"--example={DATASET}", f"--id={DATASET}")

    def run_of(self, **spec: Any) -> run_pb2.Run:
        """Make a small run on the watch recordings.

        Args:
            spec: `epochs`, `cpu_millis`, `memory_bytes`, `deadline_s`, `script`, `dense_units`.
        """
        run = run_pb2.Run()
        run.spec.dataset = DATASET
        run.spec.fit.epochs = spec.get("epochs", 5)
        if "script" in spec:
            run.spec.architecture.script = spec["script"]
        elif "dense_units" in spec:
            for units in spec["dense_units"]:
                layer = run.spec.architecture.layers.layers.add()
                layer.kind, layer.units = spec_pb2.LAYER_KIND_DENSE, units
        else:
            run.spec.architecture.preset = "dense"
        run.spec.resources.cpu_millis = spec.get("cpu_millis", 500)
        if "memory_bytes" in spec:
            run.spec.resources.memory_bytes = spec["memory_bytes"]
        if "deadline_s" in spec:
            run.spec.resources.deadline.FromMilliseconds(int(spec["deadline_s"] * 1000))
        return run

    def until(
        self, run: run_pb2.Run, wanted: Callable[[run_pb2.Run], bool], timeout_s: float = 180.0
    ) -> run_pb2.Run:
        """Wait until the run's record is as wanted."""
        found: list[run_pb2.Run] = [run]
        with self.client() as client:

            def reached() -> bool:
                with suppress(Unavailable):
                    found.append(client.get_run(run.name))
                return wanted(found[-1])

            wait_until(
                reached,
                timeout_s,
                f"{run.name} is as wanted",
                detail=lambda: str(found[-1]),
                interval_s=0.3,
            )
        return found[-1]

    def until_ended(self, run: run_pb2.Run, timeout_s: float = 240.0) -> run_pb2.Run:
        """Wait until the run has ended."""
        return self.until(run, lambda now: now.state in TERMINAL, timeout_s)

    def until_training(self, run: run_pb2.Run) -> run_pb2.Run:
        """Wait until the run has trained an epoch."""
        return self.until(
            run,
            lambda now: now.progress.epoch > 0 or now.state in TERMINAL,
        )

    def start(self, **spec: Any) -> run_pb2.Run:
        """Submit a run of `run_of`."""
        with self.client() as client:
            return client.create_run(self.run_of(**spec))

    def trainers(self) -> list[Mapping[str, Any]]:
        """Every Job and trainer pod that exists."""
        items: list[Mapping[str, Any]] = self.kubectl.get(
            "jobs,pods", f"--namespace={self.release.runs}"
        )["items"]
        return items

    def living_trainers(self) -> list[str]:
        """Names of trainer pods that have not ended, and of Jobs that may still make one."""
        found = []
        for one in self.trainers():
            conditions = one["status"].get("conditions") or ()
            if one["kind"] == "Job":
                ended = any(
                    c["type"] in {"Complete", "Failed"} and c["status"] == "True"
                    for c in conditions
                )
            else:
                ended = one["status"].get("phase") in {"Succeeded", "Failed"}
            if not ended:
                found.append(f"{one['kind']}/{one['metadata']['name']}")
        return found

    def until_no_trainer_lives(self) -> None:
        """Wait until nothing trains."""
        wait_until(
            lambda: not self.living_trainers(),
            90.0,
            "no trainer lives",
            detail=lambda: str(self.living_trainers()),
        )

    def gateway_pods(self) -> list[Mapping[str, Any]]:
        """The gateway's pods."""
        selector = "--selector=app.kubernetes.io/component=gateway"
        items: list[Mapping[str, Any]] = self.kubectl.get(
            "pods", f"--namespace={self.release.namespace}", selector
        )["items"]
        return items

    def set_gateway(self, **variables: str) -> None:
        """Change variables of the gateway's launcher, empty ones away, and wait for the rollout."""
        words = [
            f"LINNET_KUBERNETES_{name}={value}" if value else f"LINNET_KUBERNETES_{name}-"
            for name, value in variables.items()
        ]
        where = f"--namespace={self.release.namespace}"
        self.kubectl("set", "env", f"deployment/{self.release.gateway}", where, *words)
        self.await_rollout()

    def restart_gateway(self) -> None:
        """Replace the gateway's pods, as an upgrade does; returns before it is done."""
        gateway = f"deployment/{self.release.gateway}"
        self.kubectl("rollout", "restart", gateway, f"--namespace={self.release.namespace}")

    def await_rollout(self) -> None:
        """Wait until the gateway's pods are those of its Deployment, and serve."""
        gateway = f"deployment/{self.release.gateway}"
        namespace = f"--namespace={self.release.namespace}"
        self.kubectl("rollout", "status", gateway, namespace, "--timeout=110s")
        with self.client() as client:
            wait_until(lambda: _serves(client), 90.0, "the gateway serves")


def token_of(kubectl: Kubectl, release: Release) -> str:
    """Read the token that the chart made, as NOTES.txt says."""
    where = f"--namespace={release.namespace}"
    secret = kubectl.get("secret", f"{release.gateway}-token", where)
    return base64.b64decode(secret["data"]["token"]).decode()


def service_address(kubectl: Kubectl, release: Release) -> str:
    """Give the gateway Service's own address, which outlives its pods."""
    service = kubectl.get("service", release.gateway, f"--namespace={release.namespace}")
    return f"{service['spec']['clusterIP']}:50051"


def last_json(text: str) -> dict[str, Any]:
    """Read the last line of what a command printed."""
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found


def epochs_told(product: Product, run: run_pb2.Run) -> list[int]:
    """Numbers of the epochs that the run's watch tells from the start to its success."""
    numbers: list[int] = []
    with product.client() as client:
        for response in client.watch(run.name):
            numbers += [epoch.number for epoch in response.epochs if not epoch.fold]
            if response.run.state == run_pb2.RUN_STATE_SUCCEEDED:
                break
    return numbers


def seconds_since(began: float) -> float:
    """Give the time since a moment of `time.monotonic`."""
    return time.monotonic() - began


def _serves(client: Client) -> bool:
    try:
        client.list_targets()
    except Unavailable:
        return False
    return True
