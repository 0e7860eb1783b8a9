"""Files of TLS that can't be used end a service's start, and the variable is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from linnet_evaluator.serving.settings import EvaluatorSettings
from linnet_gateway.settings import GatewaySettings
from linnet_profiler.serving.settings import ProfilerSettings
from linnet_runtime.errors import InvalidInput
from linnet_runtime.lifecycle import ExitCode
from linnet_runtime.settings import ServiceSettings

from tests.support.certificates import Authority


@pytest.mark.parametrize("kind", [GatewaySettings, EvaluatorSettings, ProfilerSettings])
@pytest.mark.parametrize("given", ["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"])
def test_half_of_a_pair_is_refused_by_each_service(
    monkeypatch: pytest.MonkeyPatch, kind: type[ServiceSettings], given: str
) -> None:
    """A certificate without its key, or a key alone, is told by the variable."""
    prefix = kind.model_config["env_prefix"]
    monkeypatch.setenv(f"{prefix}{given}", "/run/tls/file")
    with pytest.raises(InvalidInput) as caught:
        kind.read()
    found = {one.field: one.description for one in caught.value.violations}
    assert "go together" in found[f"{prefix}TLS_KEY_FILE"]


def _start(service: str, folder: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    settings = {
        "STORE_ENDPOINT": "http://127.0.0.1:9",
        "STORE_ACCESS_KEY": "none",
        "STORE_SECRET_KEY": "none",
        **files,
    }
    if service == "gateway":
        settings |= {
            "DATABASE_URL": f"sqlite:///{folder / 'records.db'}",
            "EVALUATOR_ADDRESS": "127.0.0.1:9",
            "PROFILER_ADDRESS": "127.0.0.1:9",
            "PROCESS_FOLDER": str(folder),
        }
    variables = {f"LINNET_{service.upper()}_{name}": value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", f"linnet_{service}"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("service", ["evaluator", "profiler"])
def test_a_certificate_that_cannot_be_used_ends_the_start(tmp_path: Path, service: str) -> None:
    """The variable is named, nothing is served and nothing traced."""
    authority = Authority()
    (tmp_path / "cert").write_bytes(authority.pair("service").certificate)
    (tmp_path / "key").write_bytes(authority.pair("other").key)
    files = {
        "TLS_CERTIFICATE_FILE": str(tmp_path / "cert"),
        "TLS_KEY_FILE": str(tmp_path / "key"),
    }
    ended = _start(service, tmp_path, files)
    assert ended.returncode == ExitCode.USAGE
    assert f"LINNET_{service.upper()}_TLS_CERTIFICATE_FILE: expected" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "no PEM"])
def test_authorities_that_cannot_be_used_end_the_gateways_start(
    tmp_path: Path, content: bytes | None
) -> None:
    """As above; gRPC alone would let each call fail."""
    path = tmp_path / "ca"
    if content is not None:
        path.write_bytes(content)
    ended = _start("gateway", tmp_path, {"SERVICE_CA_FILE": str(path)})
    assert ended.returncode == ExitCode.USAGE
    assert "LINNET_GATEWAY_SERVICE_CA_FILE: expected PEM certificates" in ended.stderr
    assert "Traceback" not in ended.stderr
