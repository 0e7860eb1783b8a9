"""Pages in browsers: those of named origins may call the HTTP port, others may not."""

import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from linnet_gateway.settings import GatewaySettings
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import PARENT, Bench, running

PAGE = "https://app.example.org"
OTHER = "https://evil.test"


@pytest.fixture
async def bench(tmp_path: Path, s3_location: S3Location) -> AsyncIterator[Bench]:
    async with running(
        tmp_path, s3_location, web_origins=(PAGE, "http://localhost:5173"), api_token="secret"
    ) as made:
        yield made


@pytest.fixture
async def browser(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    url = f"{bench.endpoints['http']}/linnet.v1.TrainingService/"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


def asking(origin: str) -> dict[str, str]:
    """Give the headers with which a browser asks before it calls for a page."""
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,connect-protocol-version",
    }


async def test_a_page_of_a_named_origin_may_ask_and_call(browser: httpx.AsyncClient) -> None:
    """The preflight allows what Connect sends, and the answer may be read, a refusal as well."""
    for origin in (PAGE, "http://localhost:5173"):
        preflight = await browser.options("ListRuns", headers=asking(origin))
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == origin
        assert "POST" in preflight.headers["access-control-allow-methods"]
        allowed = preflight.headers["access-control-allow-headers"].split(", ")
        assert {"authorization", "content-type", "connect-protocol-version"} <= set(allowed)
        assert "access-control-allow-credentials" not in preflight.headers
        headers = {"origin": origin, "authorization": "Bearer secret"}
        called = await browser.post("ListRuns", json={"parent": PARENT}, headers=headers)
        assert called.status_code == 200
        assert called.headers["access-control-allow-origin"] == origin
        assert "Origin" in called.headers["vary"]
    refused = await browser.post("ListRuns", json={"parent": PARENT}, headers={"origin": PAGE})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == PAGE


async def test_a_page_may_read_a_stream(browser: httpx.AsyncClient) -> None:
    """A stream's frames, its error included, and gRPC-Web's status are open to the page."""
    body = json.dumps({"name": f"{PARENT}/runs/none"}).encode()
    headers = {
        "origin": PAGE,
        "authorization": "Bearer secret",
        "content-type": "application/connect+json",
    }
    answer = await browser.post(
        "WatchRun", content=struct.pack(">BI", 0, len(body)) + body, headers=headers
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert b"not_found" in answer.content
    web = headers | {"content-type": "application/grpc-web+proto"}
    answer = await browser.post("ListPresets", content=b"\x00" * 5, headers=web)
    assert "grpc-status" in answer.headers["access-control-expose-headers"]
    assert b"grpc-status: 0" in answer.content.replace(b"grpc-status:0", b"grpc-status: 0")


async def test_a_page_of_another_origin_may_not(browser: httpx.AsyncClient) -> None:
    """No preflight of it succeeds, and no answer allows it to be read."""
    for origin in (OTHER, "null", "http://app.example.org", f"{PAGE}.evil.test"):
        preflight = await browser.options("ListRuns", headers=asking(origin))
        assert preflight.status_code == 405
        called = await browser.post("ListRuns", json={}, headers={"origin": origin})
        for answer in (preflight, called):
            assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("origin", ["app.example.org", "https://app.example.org/", "ftp://a"])
def test_what_is_no_origin_is_refused(origin: str, tmp_path: Path) -> None:
    """A setting that would allow nobody is told at the start."""
    with pytest.raises(ValueError, match="WEB_ORIGINS"):
        GatewaySettings(
            database_url=f"sqlite:///{tmp_path}/records.db",
            store_endpoint="http://store",
            store_access_key="k",
            store_secret_key="s",
            evaluator_address="e:1",
            profiler_address="p:1",
            process_folder=tmp_path,
            web_origins=(origin,),
        )
