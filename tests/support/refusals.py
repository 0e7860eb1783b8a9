"""A gateway with people of different roles, and how a test names the refusal that it got."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from linnet_runtime.errors import LinnetError
from linnet_runtime.rpc.status import from_rpc_error
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import Bench, running
from tests.fakes.issuer import AUDIENCE, ISSUER, Issuer, serving

PEOPLE = {
    "admin": {"*": "admin"},
    "submitter": {"demo": "submitter"},
    "viewer": {"demo": "viewer"},
    "stranger": {"other": "admin"},
}
"""Each presents its own name as its token."""


@asynccontextmanager
async def guarded(folder: Path, location: S3Location, issuer: Issuer) -> AsyncIterator[Bench]:
    """Run a gateway that knows the people and an issuer, holds a dataset and trains slowly."""
    entries = [
        {"subject": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "roles": roles}
        for name, roles in PEOPLE.items()
    ]
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps(entries))
    with serving(issuer) as keys:
        async with running(
            folder,
            location,
            tokens_file=tokens,
            oidc_issuer=ISSUER,
            oidc_audience=AUDIENCE,
            oidc_jwks_url=keys,
            max_streams=5,
        ) as made:
            made.metadata = bearer("admin")
            await made.push()
            made.control(hold=2)
            yield made


def bearer(token: str) -> list[tuple[str, str]]:
    """Give the metadata that presents a token."""
    return [("authorization", f"Bearer {token}")]


async def reason(call: Any) -> str:
    """Give the reason of the refusal that a call ends in."""
    with pytest.raises((LinnetError, grpc.RpcError)) as caught:
        await call
    error = caught.value
    if isinstance(error, grpc.RpcError):
        error = from_rpc_error(error)
    assert isinstance(error, LinnetError)
    assert "Traceback" not in error.message
    return error.reason
