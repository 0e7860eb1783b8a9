"""The processes of local mode: what each is started with, in order of start."""

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from linnet_runtime.errors import NotAllowedInState

from linnet_sdk.local import seaweed
from linnet_sdk.local.home import Credentials, Home
from linnet_sdk.local.probes import Probe, grpc_probe, http_probe

HOST = "127.0.0.1"
BUCKET = "linnet"
PORT_NAMES = (
    *seaweed.PORT_NAMES,
    "gateway",
    "gateway_runner",
    "gateway_http",
    "gateway_metrics",
    "evaluator",
    "evaluator_metrics",
    "profiler",
    "profiler_metrics",
)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One process.

    Attributes:
        name: For people, and its log file.
        command: Program and arguments; the program by its full path.
        environment: Variables beside the inherited ones.
        folder: Where it runs.
        log: Where it prints to.
        probe: Whether it serves.
        stop_s: Seconds it may take to end after SIGTERM.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    log: Path
    probe: Probe = field(repr=False)
    stop_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The processes of a home: the store, then what needs only it, then the gateway."""

    store: ChildSpec
    analysts: tuple[ChildSpec, ...]
    gateway: ChildSpec


def store_endpoint(ports: Mapping[str, int]) -> str:
    """Give the address of the object store."""
    return f"http://{HOST}:{ports['store']}"


def plan(home: Home, ports: Mapping[str, int], credentials: Credentials) -> Plan:
    """Say what is started.

    Raises:
        NotAllowedInState: A service is not installed.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(f"linnet_{name}") is None]
    if missing:
        raise NotAllowedInState(
            "local mode needs services that are not installed: pip install "
            + " ".join(f"linnet-{name}" for name in missing),
            reason="SERVICES_NOT_INSTALLED",
        )
    return Plan(
        store=ChildSpec(
            name="store",
            command=tuple(seaweed.command(ports)),
            environment=seaweed.environment(credentials),
            folder=home.store,
            log=home.log_of("store"),
            probe=http_probe(f"{store_endpoint(ports)}/healthz"),
        ),
        analysts=tuple(_service(home, ports, credentials, name, {}) for name in _ANALYSTS),
        gateway=_service(
            home,
            ports,
            credentials,
            "gateway",
            {
                "RUNNER_PORT": str(ports["gateway_runner"]),
                "HTTP_PORT": str(ports["gateway_http"]),
                "DATABASE_URL": f"sqlite:///{home.gateway / 'records.db'}",
                "EVALUATOR_ADDRESS": f"{HOST}:{ports['evaluator']}",
                "PROFILER_ADDRESS": f"{HOST}:{ports['profiler']}",
                "LAUNCHER": "process",
                "PROCESS_FOLDER": str(home.launches),
                "STORE_PUBLIC_ENDPOINT": store_endpoint(ports),
                "API_TOKEN": credentials.api_token,
            },
        ),
    )


_ANALYSTS = ("evaluator", "profiler")
_NEEDED = ("gateway", "trainer", *_ANALYSTS)


def _service(
    home: Home,
    ports: Mapping[str, int],
    credentials: Credentials,
    name: str,
    settings: Mapping[str, str],
) -> ChildSpec:
    settings = {
        "HOST": HOST,
        "PORT": str(ports[name]),
        "METRICS_PORT": str(ports[f"{name}_metrics"]),
        "SERVICE_TOKEN": credentials.service_token,
        "STORE_ENDPOINT": store_endpoint(ports),
        "STORE_ACCESS_KEY": credentials.store_access_key,
        "STORE_SECRET_KEY": credentials.store_secret_key,
        "STORE_BUCKET": BUCKET,
        **settings,
    }
    return ChildSpec(
        name=name,
        command=(sys.executable, "-P", "-m", f"linnet_{name}"),
        environment={f"LINNET_{name.upper()}_{key}": value for key, value in settings.items()},
        folder=home.path,
        log=home.log_of(name),
        probe=grpc_probe(f"{HOST}:{ports[name]}"),
    )
