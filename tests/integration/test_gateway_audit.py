"""The audit log of a real gateway, read by its command."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

from linnet.v1 import run_pb2
from linnet.v1 import training_service_pb2 as pb
from linnet_runtime.s3 import S3Location

from tests.fakes.gateway import PARENT, a_spec
from tests.fakes.gateway_process import spawned
from tests.support.refusals import bearer, reason


def audit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the records of a folder."""
    return subprocess.run(
        [
            *(sys.executable, "-P", "-m", "linnet_gateway", "audit"),
            *("--database", f"sqlite:///{folder / 'records.db'}", *arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def entries(folder: Path, *arguments: str) -> list[tuple[str, str, str, str]]:
    """Give what the command prints."""
    done = audit(folder, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [(e["actor"], e["method"], e["resource"], e["decision"]) for e in found]


async def test_a_kill_leaves_the_entry_of_what_was_done(
    tmp_path: Path, s3_location: S3Location
) -> None:
    """A batch that was committed is in the log, however soon the gateway was killed afterwards."""
    async with spawned(tmp_path, s3_location, api_token="secret") as (bench, process):
        bench.metadata = bearer("secret")
        header = pb.BatchHeader(parent=PARENT, batch_id="kept")
        call = bench.stub.CreateBatch(metadata=bench.metadata)
        await call.write(pb.CreateBatchRequest(header=header))
        assert (await call.read()).accepted_count == 0
        await process.kill()
        [(actor, method, resource, decision)] = entries(tmp_path)
        assert (actor, method, resource) == ("local-admin", "CreateBatch", PARENT)
        assert decision.startswith("BEGUN ")
        await process.start()


async def test_what_is_refused_is_in_the_log(tmp_path: Path, s3_location: S3Location) -> None:
    """Bad tokens, bad messages and rates are in it, a flood in two entries; its chain is whole."""
    limits = {"rate_burst": 5.0, "rate_per_s": 0.001}
    async with spawned(tmp_path, s3_location, api_token="secret", **limits) as (bench, process):
        create = pb.CreateRunRequest(parent=PARENT, run=run_pb2.Run(spec=a_spec()))
        bench.metadata = bearer("guess")
        for _ in range(40):
            assert await reason(bench.call("CreateRun", create)) == "BAD_TOKEN"
        bench.metadata = bearer("secret")
        wrong = pb.CreateRunRequest(parent=PARENT)
        wrong.run.spec.fit.epochs = -1
        assert await reason(bench.call("CreateRun", wrong)) == "INVALID_ARGUMENT"
        assert await reason(bench.call("CreateRun", create)) == "NO_DATASET"
        for _ in range(3):
            await bench.call("ListPresets", pb.ListPresetsRequest())
        assert await reason(bench.call("CreateRun", create)) == "RATE_LIMITED"
        await process.stop()
    found = entries(tmp_path)
    begun = [entry for entry in found if entry[3].startswith("BEGUN ")]
    assert [(*entry[:3], entry[3].partition(" u")[0]) for entry in found] == [
        ("unknown", "CreateRun", "", "BAD_TOKEN"),
        ("local-admin", "CreateRun", "", "INVALID_ARGUMENT"),
        ("local-admin", "CreateRun", PARENT, "BEGUN"),
        ("local-admin", "CreateRun", PARENT, "NO_DATASET"),
        ("local-admin", "CreateRun", "", "RATE_LIMITED"),
        ("unknown", "CreateRun", "", "BAD_TOKEN x39"),
    ]
    assert len(begun) == 1
    assert len(entries(tmp_path, "--project", "demo")) == 2
    assert not entries(tmp_path, "--project", "dem")
    assert not entries(tmp_path, "--since", "2999-01-01")
    assert len(entries(tmp_path, "--since", "2020-01-01T00:00:00+01:00")) == 6


async def test_what_is_done_to_the_log_is_noticed(tmp_path: Path, s3_location: S3Location) -> None:
    """A changed entry breaks the chain; one that is cut off is missed by who kept its digest."""
    async with spawned(tmp_path, s3_location) as (bench, _):
        for number in range(3):
            await bench.push(f"d{number}")
    whole = audit(tmp_path, "--verify")
    assert whole.returncode == 0
    assert whole.stdout.startswith("12 entries are as they were written")
    last = whole.stdout.split()[-1]
    assert audit(tmp_path, "--verify", "--expect", last).returncode == 0
    with sqlite3.connect(tmp_path / "records.db") as connection:
        connection.execute("DELETE FROM audit WHERE id > 10")
    assert audit(tmp_path, "--verify").returncode == 0
    cut = audit(tmp_path, "--verify", "--expect", last)
    assert (cut.returncode, cut.stdout.split(":")[0]) == (1, "BROKEN at entry 12")
    with sqlite3.connect(tmp_path / "records.db") as connection:
        connection.execute("UPDATE audit SET actor = 'somebody' WHERE id = 4")
    changed = audit(tmp_path, "--verify", "--json")
    assert (changed.returncode, json.loads(changed.stdout)["broken"]) == (1, 4)


def test_a_command_without_a_database_says_so(tmp_path: Path) -> None:
    """It neither makes a database nor ends in a traceback."""
    done = audit(tmp_path, "--verify")
    assert done.returncode == 64
    assert "no such file" in done.stderr
    assert not list(tmp_path.iterdir())
