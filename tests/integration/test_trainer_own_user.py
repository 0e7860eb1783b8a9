"""An expert script under a user of its own: what it is, and what that user can't reach."""

import json
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from linnet_ml.render_script import render
from linnet_ml.spec import Layer, LayerKind, LayerList
from sklearn.datasets import load_wine

NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
START = """import site, sys
site.addsitedir(sys.argv.pop(1))
from linnet_trainer.__main__ import main
main()
"""
SCRIPT = """import os

def told(name, expression):
    try:
        print(name, eval(expression))
    except OSError as error:
        print(name, type(error).__name__)

told("user", "os.getuid(), os.geteuid(), os.getgid(), os.getgroups()")
told("secret", "open({secret!r}).read()")
told("features", "open({features!r}, 'rb').read(3)")
told("back", "os.setuid(0)")
told("signal", "os.kill({owner}, 0)")
told("note", "open('note', 'w').write('mine')")
"""


@pytest.fixture
def interpreter():
    """An interpreter that any user may start; that of a home folder is closed to others."""
    found = shutil.which(NAME, path="/usr/bin:/usr/local/bin")
    if os.geteuid() != 0 or found is None:
        pytest.skip(f"needs root and a {NAME} of the system")
    return found


def test_a_script_of_a_root_trainer_has_a_user_of_its_own(interpreter, tmp_path):
    """It runs as a user and group of nobody else, reads no root's file, and its models come out."""
    features, labels = load_wine(return_X_y=True)
    np.save(tmp_path / "x.npy", features.astype(np.float32))
    np.save(tmp_path / "y.npy", labels)
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    secret.chmod(0o600)
    told = {
        "secret": str(secret),
        "features": str(tmp_path / "x.npy"),
        "owner": os.getpid(),
    }
    network = render(LayerList((Layer(LayerKind.DENSE, units=4),)), (13,), 3)
    given = {
        "fit": {"epochs": 2, "learningRate": 0.01},
        "architecture": {"script": SCRIPT.format(**told) + network},
    }
    (tmp_path / "spec.json").write_text(json.dumps(given))
    out = tmp_path / "out"
    words = ["fit", "spec.json", "--features", "x.npy", "--labels", "y.npy", "--out", "out"]
    packages = next(path for path in site.getsitepackages() if Path(path, "tensorflow").is_dir())
    done = subprocess.run(
        [interpreter, "-c", START, packages, *words],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    user, effective, group, groups = eval(lines["user"])
    assert user == effective == group
    assert 61_184 <= user < 65_520
    assert groups == []
    assert lines["secret"] == lines["features"] == lines["back"] == "PermissionError"
    assert lines["signal"] == "PermissionError"
    assert lines["note"] == "4"
    assert "can read what the trainer's user can" not in done.stdout
    assert (out / "model.int8.tflite").stat().st_uid == 0
    assert json.loads((out / "manifest.json").read_text())["epochs"] == 2
