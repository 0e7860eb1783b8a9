"""The examples of the README do the main job, word for word."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import dataset_files, running

DOCUMENT = Path(__file__).parents[2] / "README.md"
TOKEN = "example-token"


def example(kind: str) -> str:
    """Give the code block of a kind."""
    (found,) = re.findall(
        rf"^```{kind}\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
    )
    return str(found)


def shell(script: str, folder: Path, **variables: str) -> str:
    """Run a script in a folder, where it must not fail anywhere."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **variables, "PATH": path, "TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_curl_buf_and_grpcio_do_the_main_job(tmp_path: Path, s3_location: S3Location) -> None:
    """Push, train, watch, report and download, each as the README shows it."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name, data in dataset_files().items():
        (folder / name).write_bytes(data)
    async with running(tmp_path, s3_location, api_token=TOKEN) as bench:
        http, address = bench.endpoints["http"], bench.endpoints["address"]
        told = await asyncio.to_thread(shell, example("sh curl"), folder, HTTP=http)
        assert '"variant": "VARIANT_INT8"' in told
        assert (folder / "curl.tflite").read_bytes() == b"int8"
        told = await asyncio.to_thread(shell, example("sh buf"), folder, ADDRESS=address)
        assert "RUN_STATE_SUCCEEDED" in told
        script = f"ADDRESS, TOKEN = {address!r}, {TOKEN!r}\n{example('python grpcio')}"
        (folder / "example.py").write_text(script)
        told = await asyncio.to_thread(shell, "python example.py", folder)
        assert told.endswith("RUN_STATE_SUCCEEDED\n")
        assert "epoch 3: loss 0.333" in told


async def test_the_python_client_does_the_main_job(tmp_path: Path, s3_location: S3Location) -> None:
    """The README's Python example finds the server by itself and follows a run to its end."""
    for name, data in dataset_files().items():
        (tmp_path / name).write_bytes(data)
    push = "linnet datasets push --features features.npy --labels labels.npy --classes a,b "
    async with running(tmp_path, s3_location, api_token=TOKEN) as bench:
        server = {"LINNET_SERVER": bench.endpoints["address"], "LINNET_TOKEN": TOKEN}
        command = push + "--kind tabular --id wine"
        await asyncio.to_thread(shell, command, tmp_path, **server)
        (tmp_path / "example.py").write_text(example("python sdk"))
        told = await asyncio.to_thread(shell, "python example.py", tmp_path, **server)
        assert [line.split()[0] for line in told.splitlines()] == [
            str(number) for number in range(1, len(told.splitlines()) + 1)
        ]
        assert told.startswith("1 ")
