"""What an expert script that misbehaves can reach, and how each of its attempts ends."""

import os
import socket
import time
from datetime import timedelta

import pytest
from linnet_ml.render_script import render
from linnet_ml.spec import (
    Architecture,
    FitSettings,
    Layer,
    LayerKind,
    LayerList,
    Resources,
    TrainingSpec,
)
from linnet_trainer.runner.outcomes import failure_of
from linnet_trainer.scripts import landlock
from linnet_trainer.scripts import run as script_run
from linnet_trainer.scripts.errors import ScriptFailed, ScriptOutOfMemory, ScriptTooSlow

from tests.fakes.training import Recorder, train, wine

GOOD = render(LayerList((Layer(LayerKind.DENSE, units=4),)), (13,), 3)
WIDE = (
    "def build_model(a, b):\n    import keras\n    i = keras.Input(a)\n"
    "    x = keras.layers.Dense(200_000)(i)\n    x = keras.layers.Dense(200_000)(x)\n"
    "    return keras.Model(i, keras.layers.Dense(b, activation='softmax')(x))\n"
)
REFUSED = "Permission denied", "Operation not permitted"


def run(shop, tmp_path, source, *, events=None, limit_s=None, **resources):
    spec = TrainingSpec(
        fit=FitSettings(
            epochs=2,
            learning_rate=0.01,
            time_limit=None if limit_s is None else timedelta(seconds=limit_s),
        ),
        architecture=Architecture(script=source),
        resources=Resources(**resources),
    )
    return train(shop, spec, wine(tmp_path), tmp_path / "out", events=events)


def said(shop, tmp_path, expression, imports="import os"):
    """Have a script print an expression's value or what it raises; the run itself is good."""
    source = (
        f"{imports}\ntry:\n    found = {expression}\nexcept Exception as error:\n"
        f"    found = f'{{type(error).__name__}}: {{error}}'\nprint('found', found)\n{GOOD}"
    )
    outcome, events = run(shop, tmp_path, source)
    assert "model.int8.tflite" in outcome.files
    lines = [line.removeprefix("found ") for line in events.lines if line.startswith("found ")]
    assert lines
    return lines[0]


def test_a_script_sees_no_variable_of_the_trainer(shop, tmp_path, monkeypatch):
    """Neither os.environ nor the memory behind /proc/self/environ holds the trainer's variables."""
    monkeypatch.setenv("LINNET_TRAINER_TOKEN", "hidden")
    names = said(shop, tmp_path, "sorted(os.environ)")
    assert "TOKEN" not in names
    raw = said(shop, tmp_path, "open('/proc/self/environ', 'rb').read().strip(b'\\0')")
    assert raw == "b''" or any(word in raw for word in REFUSED)


@pytest.mark.parametrize("name", ["environ", "mem", "maps", "cmdline", "fd"])
def test_a_script_reads_nothing_of_its_parents(shop, tmp_path, name):
    """Neither the process that forked it nor the trainer can be looked into by /proc."""
    for pid in ("os.getppid()", str(os.getpid())):
        path = f"f'/proc/{{{pid}}}/{name}'"
        opened = f"os.listdir({path})" if name == "fd" else f"open({path}, 'rb').read(9)"
        assert said(shop, tmp_path, opened).startswith(("PermissionError", "FileNotFoundError"))


def test_a_script_reads_no_file_but_its_own(shop, tmp_path):
    """A token file, another run's folder and the home of the user are closed; its own is open."""
    token = tmp_path / "token"
    token.write_text("hidden")
    other = tmp_path / "other-run"
    other.mkdir()
    (other / "features.npy").write_bytes(b"theirs")
    for path in (token, other / "features.npy", tmp_path / "features.npy", "/etc/passwd"):
        assert said(shop, tmp_path, f"open({str(path)!r}, 'rb').read()").startswith(
            "PermissionError"
        )
    assert said(shop, tmp_path, f"os.listdir({str(tmp_path)!r})").startswith("PermissionError")
    assert said(shop, tmp_path, f"os.symlink({str(token)!r}, 'link')").startswith("PermissionError")
    assert said(shop, tmp_path, "open('note', 'w').write('mine')") == "4"


def test_a_script_holds_no_connection_of_the_trainer(shop, tmp_path):
    """Of the open files that a fork inherits it keeps its standard streams and its own lines."""
    with (tmp_path / "secret").open("w"):
        kept = said(shop, tmp_path, "sorted(int(n) for n in os.listdir('/proc/self/fd'))")
    own = ("in", "out", "error", "what out and error get", "line", "zygote", "list", "tf")
    assert len(eval(kept)) <= len(own)


@pytest.mark.parametrize(
    "expression",
    [
        "socket.create_connection(('127.0.0.1', {port}), 2)",
        "socket.socket(socket.AF_UNIX)",
        "socket.socketpair()",
        "__import__('urllib.request').request.urlopen('http://127.0.0.1:{port}')",
    ],
)
def test_a_script_opens_no_socket(shop, tmp_path, expression):
    """TCP, Unix sockets and pairs are refused; a listener nearby is never reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        port = server.getsockname()[1]
        answer = said(shop, tmp_path, expression.format(port=port), "import os, socket")
        with pytest.raises(BlockingIOError):
            server.accept()
    assert "not permitted" in answer


@pytest.mark.parametrize(
    "expression",
    [
        "os.fork()",
        "__import__('subprocess').run(['true'])",
        "os.kill(os.getppid(), 9)",
        "os.kill(-1, 9)",
        "os.setuid(0) or open('/root/.profile').read()",
        "os.chmod('/usr', 0o777)",
        "os.open('/usr/planted', os.O_CREAT | os.O_WRONLY)",
    ],
)
def test_a_script_touches_no_process_and_no_file_of_the_system(shop, tmp_path, expression):
    """Forking (so fork bombs), programs, signals and writing outside its folder are refused."""
    assert said(shop, tmp_path, expression).startswith(("PermissionError", "OSError: [Errno 1]"))


def test_a_fork_bomb_is_a_script_error_that_names_its_line(shop, tmp_path):
    """The first fork fails, and the run says where."""
    with pytest.raises(ScriptFailed, match=r"line 3.*\n.*os.fork\(\)"):
        run(shop, tmp_path, f"import os\nwhile True:\n    os.fork()\n{GOOD}")


def test_threads_without_end_hit_a_limit(shop, tmp_path):
    """A bomb of threads ends in a script error or want of memory; the machine goes on."""
    source = (
        "import threading\ngate = threading.Event()\nwhile True:\n"
        f"    threading.Thread(target=gate.wait, daemon=True).start()\n{GOOD}"
    )
    with pytest.raises((ScriptFailed, ScriptOutOfMemory)):
        run(shop, tmp_path, source, memory_bytes=1 << 30)


@pytest.mark.parametrize(
    "source",
    [
        f"hoard = bytearray(1 << 44)\n{GOOD}",
        f"hoard = []\nwhile True:\n    hoard.append(bytes(1 << 26))\n{GOOD}",
        WIDE,
    ],
)
def test_huge_memory_is_told_as_out_of_memory(shop, tmp_path, source):
    """Bytes and layers beyond the run's memory end as OUT_OF_MEMORY, not as a script error."""
    with pytest.raises(ScriptOutOfMemory) as caught:
        run(shop, tmp_path, source, memory_bytes=1 << 30)
    failure = failure_of(caught.value)
    assert failure.out_of_memory
    assert failure.reason == 5


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(script_run, "OVERTIME_S", 1.0)


def test_an_endless_loop_ends_with_the_time_limit(shop, tmp_path, impatient):
    """A script that never comes to an epoch is killed after its limit and told so."""
    begun = time.monotonic()
    with pytest.raises(ScriptTooSlow, match="time limit of 1 s"):
        run(shop, tmp_path, f"while True:\n    pass\n{GOOD}", limit_s=1)
    assert time.monotonic() - begun < 20
    assert failure_of(ScriptTooSlow("late")).reason == 9


def test_an_endless_fit_exports_its_last_checkpoint(shop, tmp_path, impatient):
    """A fit that hangs after some epochs is killed; the best epoch so far becomes the model."""
    source = GOOD + (
        "\n\ndef fit(model, x_train, y_train, x_val, y_val, settings):\n"
        "    import time\n"
        "    model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'])\n"
        "    model.fit(x_train, y_train, validation_data=(x_val, y_val), verbose=0,\n"
        "              epochs=1, callbacks=settings.callbacks)\n"
        "    time.sleep(2)\n"
        "    model.fit(x_train, y_train, validation_data=(x_val, y_val), verbose=0,\n"
        "              epochs=1, callbacks=settings.callbacks)\n"
        "    while True:\n        pass\n"
    )
    outcome, events = run(shop, tmp_path, source, limit_s=8)
    assert "model.int8.tflite" in outcome.files
    assert any("did not end within its time limit" in line for line in events.lines)
    assert len(events.epochs) >= 1


def test_endless_output_is_cut(shop, tmp_path, impatient, monkeypatch):
    """Lines beyond the limit are left out with one warning, and the time limit still holds."""
    monkeypatch.setattr(script_run, "MOST_LINES", 50)
    events = Recorder()
    with pytest.raises(ScriptTooSlow):
        run(
            shop,
            tmp_path,
            f"while True:\n    print('x' * 100_000)\n{GOOD}",
            events=events,
            limit_s=1,
        )
    printed = [line for line in events.lines if line.startswith("x")]
    assert 0 < len(printed) <= 50
    assert max(map(len, printed)) <= 10_000
    assert sum("left out" in line for line in events.lines) == 1


def test_what_a_script_forges_is_only_its_own_failure(shop, tmp_path):
    """Nonsense on the line to the trainer fails the run; the next run of the trainer is good."""
    for forged in (
        b"nonsense\n",
        b'{"event": {"kind": "epoch", "record": 3}}\n',
        b'{"result": {}}\n',
    ):
        source = (
            "import os\nfor number in range(3, 30):\n    try:\n"
            f"        os.write(number, {forged!r})\n    except OSError:\n        pass\n{GOOD}"
        )
        with pytest.raises(ScriptFailed):
            run(shop, tmp_path, source)
        assert said(shop, tmp_path, "1 + 1") == "2"


def test_landlock_is_here():
    """These tests say something of a kernel with Landlock only."""
    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    assert landlock.version() >= 1
