"""Nothing secret stands in logs, records of launches, errors or metrics."""

import asyncio
import contextlib
import urllib.request
from pathlib import Path

import grpc
import pytest
from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.errors import InvalidInput, LinnetError
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import PARENT, a_spec
from tests.fakes.gateway_process import spawned

TOKEN = "an-api-token-that-nobody-may-read"


async def test_a_whole_run_leaves_no_secret_behind(tmp_path: Path, s3_location: S3Location) -> None:
    """After a run, refusals, an outage of analysis and a crash, no secret is in what people read.

    Looked for are the API token, the launch token, the store's keys and signatures of addresses.
    """
    async with spawned(tmp_path, s3_location, api_token=TOKEN, log_level="DEBUG") as (
        bench,
        process,
    ):
        bench.metadata = [("authorization", f"Bearer {TOKEN}")]
        await bench.push()
        bench.control(crash={"*": 3}, hold=1)
        bench.analysts.failures = [InvalidInput.of("model", "expected another one")]
        run = await bench.submit("one")
        # The folder of a launch goes with it: its token is read while the trainer is held.
        async with asyncio.timeout(60):
            while True:
                if tokens := await asyncio.to_thread(read_tokens, tmp_path):
                    break
                await asyncio.sleep(0.01)
        bench.control(crash={"*": 3})
        done = await bench.until_state(
            run.name, run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_FAILED
        )
        assert done.state == run_pb2.RUN_STATE_SUCCEEDED
        told = [str(done)]
        for token in (f"{TOKEN}x", "lnl.AAAA.BBBB"):
            with pytest.raises(grpc.RpcError) as caught:
                await bench.stub.GetRun(
                    pb.GetRunRequest(name=run.name), metadata=[("authorization", f"Bearer {token}")]
                )
            told.append(str(caught.value))
        wrong = run_pb2.Run(spec=a_spec())
        wrong.spec.target = "cray-1"
        with pytest.raises(LinnetError) as refused:
            await bench.call("CreateRun", pb.CreateRunRequest(parent=PARENT, run=wrong))
        told.append(f"{refused.value.message} {refused.value.metadata}")
        page = await asyncio.to_thread(urllib.request.urlopen, process.metrics)
        told.append(page.read().decode())
        files = await asyncio.to_thread(read_files, tmp_path)
    told += [text for path, text in files.items() if path.name != "token"]
    assert any(path.name == "gateway.log" for path in files)
    secrets = [TOKEN, s3_location.secret_key, "X-Amz-Signature", *tokens]
    for text in told:
        for secret in secrets:
            assert secret not in text.replace(f"{TOKEN}x", "")


def read_files(folder: Path) -> dict[Path, str]:
    """Read the gateway's log and everything that it keeps of launches, which may end meanwhile."""
    texts = {}
    for path in [folder / "gateway.log", *folder.glob("launches/**/*")]:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            texts[path] = path.read_text(errors="replace")
    return texts


def read_tokens(folder: Path) -> list[str]:
    """Read the tokens of the launches that there are."""
    files = read_files(folder)
    return [text.strip() for path, text in files.items() if path.name == "token" and text]
