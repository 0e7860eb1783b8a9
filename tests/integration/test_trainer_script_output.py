"""What an expert script prints reaches the run's log: every line, once, within bounds."""

import pytest
from linnet_ml.render_script import render
from linnet_ml.spec import Architecture
from linnet_trainer.runner.outcomes import failure_of
from linnet_trainer.scripts import run as script_run
from linnet_trainer.scripts.errors import ScriptFailed

from tests.fakes.training import SMALL, Recorder, spec, train, wine

GOOD = render(SMALL, (13,), 3)


def told(shop, tmp_path, source, **fit):
    """Train a script of one epoch; gives the outcome and the lines of its log."""
    given = spec(Architecture(script=source + GOOD), **{"epochs": 1, **fit})
    outcome, events = train(shop, given, wine(tmp_path), tmp_path / "out")
    return outcome, events.lines


@pytest.mark.parametrize(
    "printing",
    [
        "import tensorflow as tf\ntf.print('said')\n",
        "import os\nos.write(1, b'said\\n')\n",
        "import os\nos.write(2, b'said')\n",
        "import sys\nsys.__stdout__.write('said\\n')\nsys.__stdout__.flush()\n",
        "import sys\nprint('said', file=sys.stderr)\n",
        "import threading as t\none = t.Timer(0, print, ('said',))\none.start()\none.join()\n",
        "print('not this\\rsaid', end='')\n",
    ],
)
def test_a_printed_line_is_kept_whatever_printed_it(shop, tmp_path, printing):
    """Python, its threads, TensorFlow and bare file descriptors print into the run's log, once."""
    outcome, lines = told(shop, tmp_path, printing)
    assert lines.count("said") == 1
    assert "model.int8.tflite" in outcome.files


def test_threads_that_print_at_once_keep_their_lines_whole(shop, tmp_path):
    """Long lines of eight threads arrive one by one, and the run goes on."""
    source = (
        "import sys, threading\n"
        "def say(name):\n"
        "    for _ in range(100):\n"
        "        sys.stdout.write(name * 9_000 + '\\n')\n"
        "threads = [threading.Thread(target=say, args=(n,)) for n in 'abcdefg\\u1234']\n"
        "for thread in threads:\n    thread.start()\n"
        "for thread in threads:\n    thread.join()\n"
    )
    _, lines = told(shop, tmp_path, source)
    for name in "abcdefg\u1234":
        assert lines.count(name * 9_000) == 100


def test_line_ends_of_every_kind_count_as_lines(shop, tmp_path, monkeypatch):
    """Form feeds inside few lines do not get past the limit of lines."""
    monkeypatch.setattr(script_run, "MOST_LINES", 50)
    _, lines = told(shop, tmp_path, "for _ in range(9):\n    print('\\x0c' * 9_000)\n")
    assert 50 <= len(lines) < 100
    assert sum("left out" in line for line in lines) == 1


def test_what_no_message_can_carry_is_replaced(shop, tmp_path):
    """Half a pair of surrogates costs neither a model nor, in an error, the trainer's process."""
    outcome, lines = told(shop, tmp_path, "print('half \\ud800')\n")
    assert "half ?" in lines
    assert "model.int8.tflite" in outcome.files
    with pytest.raises(ScriptFailed) as caught:
        told(shop, tmp_path, "raise ValueError('half \\ud800')\n")
    assert "half ?" in failure_of(caught.value).message


@pytest.mark.parametrize(
    "figures",
    [
        "{'parameter_count': 10**30}",
        "{'epochs': -1}",
        "{'best_epoch': float('inf')}",
        "{'warnings': 3}",
        "'[' * 100_000",
        "{}",
    ],
)
def test_a_forged_result_fails_its_own_run(shop, tmp_path, figures):
    """Figures that are none, or none of the files that a result must have, are a script's error."""
    source = (
        "import json, os\n"
        "good = {'parameter_count': 1, 'train_seconds': 1, 'best_epoch': 1, 'epochs': 1,\n"
        "        'val_accuracy': 1, 'weights_sha256': '', 'warnings': []}\n"
        f"told = {figures}\n"
        "told = told if isinstance(told, str) else json.dumps(good | told)\n"
        "line = json.dumps({'result': {'ending': 'completed', 'figures': told}}) + '\\n'\n"
        "for number in range(3, 30):\n    try:\n"
        "        os.write(number, line.encode())\n    except OSError:\n        pass\n"
    )
    with pytest.raises(ScriptFailed):
        told(shop, tmp_path, source)


def test_progress_without_end_is_thinned(shop, tmp_path):
    """A flood of forged progress reports becomes a few; true ones still come."""
    source = (
        'import os\nline = b\'{"event": {"kind": "ratio", "ratio": 0.5}}\\n\'\n'
        "for number in range(3, 30):\n    try:\n"
        "        os.write(number, line * 5_000)\n    except OSError:\n        pass\n"
    )
    events = Recorder()
    given = spec(Architecture(script=source + GOOD), epochs=1)
    train(shop, given, wine(tmp_path), tmp_path / "out", events=events)
    assert 0.5 in events.ratios
    assert len(events.ratios) < 100
