"""`linnet demo`: the whole way on real sensor data."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from linnet_sdk.local.home import Home

LINNET = [sys.executable, "-m", "linnet_sdk"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("LINNET_")}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_demo_trains_on_real_data_and_fits(tmp_path: Path) -> None:
    """The demo reaches 70 % on unseen people, int8 within 2 points, and leaves only files."""
    home = tmp_path / "home"
    done = subprocess.run(
        [*LINNET, "demo", "--json", "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=230,
        env=CLEAN,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert list(told) == ["run", "state", "accuracy", "seconds", "artifacts"]
    assert told["state"] == "SUCCEEDED"
    float32, int8 = told["accuracy"]["float32"], told["accuracy"]["int8"]
    assert float32 >= 0.70
    assert abs(float32 - int8) <= 0.02
    assert 0 < told["seconds"]["train"] < told["seconds"]["total"]
    for name in ("model.float32.tflite", "model.int8.tflite"):
        assert Path(told["artifacts"][name]).read_bytes()[4:8] == b"TFL3"
    page = Path(told["artifacts"]["report.html"]).read_text(encoding="utf-8")
    assert "rows by UMAP of the input features" in page
    assert 'id="explorer"' in page
    assert Home(home).recorded_processes() == []


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_cleanly(tmp_path: Path) -> None:
    """SIGINT during the demo stops its servers, exits with 130, and leaves no process."""
    home = Home(tmp_path / "home")
    process = subprocess.Popen(
        [*LINNET, "demo", "--home", str(home.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=CLEAN,
        start_new_session=True,
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if "training the" in line:
            break
    started = home.recorded_processes()

    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=90)

    assert process.returncode == 130, [*printed, rest]
    assert "Traceback" not in rest
    assert len(started) == 4
    deadline = time.monotonic() + 10
    while any(p.is_alive() for p in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [p for p in started if p.is_alive()] == []
