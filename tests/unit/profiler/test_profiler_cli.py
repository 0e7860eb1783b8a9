"""`linnet profile` and `linnet targets`, as a person and a program read them."""

import json
import struct
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import typer
from linnet_profiler import profile_all
from linnet_profiler import targets as known_targets
from linnet_profiler.interpreter.check import InterpreterCheck
from linnet_profiler.showing import cli
from linnet_profiler.showing.render import interpreter_line, render_comparison, render_targets
from linnet_profiler.tflite.parser import MAX_MODEL_BYTES
from rich.console import Console
from truth_rows import model_bytes
from typer.testing import CliRunner

APP = typer.Typer()
APP.command("profile")(cli.profile)
APP.command("targets")(cli.targets)
RUNNER = CliRunner()


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """An int8 and a float32 file."""
    paths = []
    for name in ("conv2d11_i8", "conv2d11_f32"):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(model_bytes(f"first/{name}"))
        paths.append(str(path))
    return paths


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and standard output."""
    result = RUNNER.invoke(APP, arguments)
    return result.exit_code, result.stdout


def test_json_is_one_object_a_line_in_order(models: list[str]) -> None:
    """Each file gives one line with every field that programs rely on."""
    code, out = run("profile", *models, "--target", "nucleo-l4r5zi", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [line["file"] for line in lines] == models
    for line in lines:
        ram = ("arena_used_bytes", "arena_declare_bytes", "head_bytes", "tail_bytes", "total_bytes")
        assert all(isinstance(line["ram"][field], int) for field in ram)
        flash = ("model_bytes", "code_bytes", "total_bytes")
        assert all(isinstance(line["flash"][field], int) for field in flash)
        times = ("milliseconds", "low", "high", "cycles", "instructions")
        assert all(line["latency"][field] > 0 for field in times)
        assert line["operators"]
        assert line["fits"] is True


def test_a_file_that_is_no_model_does_not_end_the_rest(models: list[str], tmp_path: Path) -> None:
    """A damaged file gives an error line in its place, the others their figures, and code 1."""
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"no model")
    code, out = run("profile", models[0], str(bad), models[1], "--target", "esp32", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert lines[1]["file"] == str(bad)
    assert lines[1]["error"]["reason"] == "MODEL_INVALID"
    assert "ram" in lines[0]
    assert "ram" in lines[2]


def test_a_bare_core_runs_at_one_megahertz(models: list[str]) -> None:
    """--core and --kernels stand for a board; the clock is 1 MHz unless given."""
    bare = ("profile", models[0], "--core", "cortex-m0plus", "--kernels", "reference", "--json")
    slow = json.loads(run(*bare)[1])
    fast = json.loads(run(*bare, "--clock-hz", "2000000")[1])
    assert slow["clock_hz"] == 1_000_000
    assert fast["latency"]["milliseconds"] == pytest.approx(slow["latency"]["milliseconds"] / 2)
    assert slow["latency"]["cycles"] == pytest.approx(slow["latency"]["milliseconds"] * 1000, abs=1)


def test_without_a_target_every_board_is_judged(models: list[str]) -> None:
    """No target means all of them, and the smallest that fits."""
    found = json.loads(run("profile", models[0], "--json")[1])
    assert len(found["targets"]) >= 40
    assert found["smallest"] in {one["target"] for one in found["targets"]}


@pytest.mark.parametrize(
    "wrong",
    [
        ("--target", "nucleo-l4r5z"),
        ("--core", "cortex-m9"),
        ("--target", "esp32", "--core", "cortex-m4f"),
        ("--target", "esp32", "--kernels", "cmsis-nn"),
    ],
)
def test_wrong_targets_are_refused(models: list[str], wrong: tuple[str, ...]) -> None:
    """What doesn't exist is refused with code 2 before any file is read."""
    code, out = run("profile", models[0], *wrong)
    assert code == 2
    assert out == ""


def test_piped_output_is_plain(models: list[str]) -> None:
    """Where nobody watches there are no colours or boxes, and all figures."""
    code, out = run("profile", models[0], "--target", "nucleo-l4r5zi")
    assert code == 0
    assert "\x1b" not in out
    assert "│" not in out
    assert "CONV_2D" in out


def test_piped_suggestions_say_what_they_save(models: list[str]) -> None:
    """A piped suggestion names time, RAM and flash saved, as one in a terminal does."""
    lines = run("profile", models[1], "--target", "nucleo-l4r5zi")[1].splitlines()
    said = [line for line in lines if line.startswith("suggestion")]
    assert any("Saves about" in line and "ms" in line for line in said)
    quantize = next(line for line in said if "Quantize to int8" in line)
    assert " of RAM" in quantize
    assert " of flash." in quantize


def test_many_targets_are_one_line_with_what_else_is_known(models: list[str]) -> None:
    """The line of all boards holds each board's own line, the smallest, and the check."""
    line = json.loads(run("profile", models[0], "--check", "--json")[1])
    alone = json.loads(
        run("profile", models[0], "--target", line["targets"][0]["target"], "--json")[1]
    )
    assert line["targets"][0] == alone
    assert line["interpreter"]["agrees"] is True
    assert list(line) == ["file", "targets", "smallest", "interpreter"]


def test_targets_lists_every_board() -> None:
    """Each board is one line of JSON."""
    code, out = run("targets", "--json")
    ids = [json.loads(line)["id"] for line in out.splitlines()]
    assert code == 0
    assert "nucleo-l4r5zi" in ids
    assert len(ids) >= 40


def test_standard_input_is_a_file(models: list[str]) -> None:
    """A dash stands for what is piped in."""
    data = Path(models[0]).read_bytes()
    result = RUNNER.invoke(APP, ["profile", "-", "--target", "esp32", "--json"], input=data)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["file"] == "-"


def test_all_targets_may_be_asked_for_by_name(models: list[str]) -> None:
    """--all-targets is what holds without a target, and can't be given beside one."""
    assert run("profile", models[0], "--all-targets", "--json") == run(
        "profile", models[0], "--json"
    )
    assert run("profile", models[0], "--all-targets", "--target", "esp32")[0] == 2


def test_kernels_that_no_board_has_are_refused(models: list[str]) -> None:
    """An unknown kernel library is an error, not an empty list of boards."""
    assert run("profile", models[0], "--kernels", "none-such", "--json")[0] == 2


@pytest.mark.parametrize("kernels", ["cmsis-nn", "reference"])
@pytest.mark.parametrize(
    "core",
    [f"cortex-m{one}" for one in ("0plus", "3", "4f", "7", "33", "55", "85")],
)
def test_a_bare_core_is_profiled_with_either_kernels(
    models: list[str], core: str, kernels: str
) -> None:
    """Each Cortex-M core takes both libraries, at 1 MHz unless told."""
    code, out = run("profile", models[0], "--core", core, "--kernels", kernels, "--json")
    assert code == 0
    assert json.loads(out)["clock_hz"] == 1_000_000


def test_an_option_that_is_no_number_is_null(tmp_path: Path) -> None:
    """A file whose slope is NaN gives JSON that strict readers take, with null in its place."""
    data = model_bytes("first/act_leaky_f32")
    options = json.loads(_profiled(tmp_path / "whole.tflite", data))["operators"]
    alpha = struct.pack(
        "<f", next(one["options"]["alpha"] for one in options if one["operator"] == "LEAKY_RELU")
    )
    assert data.count(alpha) == 1
    out = _profiled(tmp_path / "nan.tflite", data.replace(alpha, struct.pack("<f", float("nan"))))
    assert "NaN" not in out
    leaky = next(one for one in json.loads(out)["operators"] if one["operator"] == "LEAKY_RELU")
    assert leaky["options"]["alpha"] is None


def _profiled(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return run("profile", str(path), "--target", "nucleo-l4r5zi", "--json")[1]


def test_no_more_of_a_file_is_read_than_a_model_may_have(tmp_path: Path) -> None:
    """A file beyond the limit is refused after its first byte too many, however long it is."""
    path = tmp_path / "long.tflite"
    with path.open("wb") as file:
        file.truncate(MAX_MODEL_BYTES + 1000)
    error = json.loads(run("profile", str(path), "--target", "esp32", "--json")[1])["error"]
    assert error["reason"] == "MODEL_INVALID"
    assert error["message"].endswith(f"got {MAX_MODEL_BYTES + 1}")


def test_the_real_interpreter_is_asked_on_demand(models: list[str]) -> None:
    """--check runs the model on TFLite Micro and shows whether its arena is the replay's."""
    line = json.loads(run("profile", models[0], "--target", "esp32", "--check", "--json")[1])
    assert line["interpreter"]["ran"] is True
    assert line["interpreter"]["agrees"] is True
    assert line["interpreter"]["arena_bytes"] == line["interpreter"]["replayed_bytes"]
    code, out = run("profile", models[0], "--target", "esp32", "--check")
    assert code == 0
    assert "agrees=True" in out


def _screen(width: int) -> tuple[Console, StringIO]:
    page = StringIO()
    return Console(file=page, force_terminal=True, width=width, color_system=None), page


def test_tables_fit_eighty_columns(models: list[str]) -> None:
    """At 80 columns no id and no figure of any table is cut or broken over two lines."""
    found = profile_all(Path(models[1]).read_bytes())
    console, page = _screen(80)
    render_comparison(console, found, "model.tflite")
    compared = page.getvalue()
    render_targets(console, list(known_targets().values()))
    text = page.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    starts = [line.split(" ")[0] for line in compared.splitlines()]
    assert [start for start in starts if start in known_targets()] == list(known_targets())
    assert compared.splitlines()[-1].startswith("Smallest it fits: ")


def test_a_wide_screen_names_the_boards() -> None:
    """Where there is room, the name on the board stands beside its id."""
    console, page = _screen(130)
    render_targets(console, list(known_targets().values()))
    assert "NUCLEO-L4R5ZI" in page.getvalue()


def test_the_smallest_target_is_named_in_piped_output_too(models: list[str]) -> None:
    """The last line of many targets names the smallest that fits, as the JSON does."""
    last = run("profile", models[0])[1].splitlines()[-1].split("\t")
    smallest = json.loads(run("profile", models[0], "--json")[1])["smallest"]
    assert last == [models[0], "smallest", smallest]


@pytest.mark.parametrize("budget", ["nan", "inf", "-1"])
def test_a_budget_that_is_no_number_is_refused(models: list[str], budget: str) -> None:
    """A budget without end would put what is no number into the JSON."""
    assert run("profile", models[0], "--max-latency-ms", budget, "--json")[0] == 2


def test_what_can_not_be_read_is_said_once(tmp_path: Path) -> None:
    """A missing file and a folder are named with the reason, the path once a line."""
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        result = RUNNER.invoke(APP, ["profile", str(path), "--target", "esp32"])
        assert result.exit_code == 1
        assert result.stderr.count(str(path)) == 1
        assert f"{path}: file: {reason}" in result.stderr
        line = json.loads(run("profile", str(path), "--target", "esp32", "--json")[1])
        assert line["error"]["reason"] == "FILE_UNREADABLE"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "ran it; its arena of 1,000 B agrees"),
        ({"agrees": False, "replayed_bytes": 900}, "DISAGREES with the replay's 900 B"),
        ({"ran": False, "problem": "no EXP"}, "did not run it (no EXP)"),
        ({"loaded": False, "ran": False, "arena_bytes": None}, "refused it"),
        ({"ran": False, "crashed": True, "problem": "code -6"}, "ended its process (code -6)"),
        ({"available": False, "problem": "not installed"}, "not asked, not installed"),
    ],
)
def test_the_interpreter_s_word_is_a_sentence(changes: dict[str, object], words: str) -> None:
    """Each way a check may end is said, a disagreement loudest."""
    good = InterpreterCheck(True, True, True, False, "", 1000, 500, 1000, True)
    assert words in interpreter_line(replace(good, **changes))
