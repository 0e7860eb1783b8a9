"""Boards of a user's own: from options, from a file, each wrong number named."""

import json
from pathlib import Path

import pytest
import typer
from linnet_profiler import find_target, profile
from linnet_profiler.basis import Basis
from linnet_profiler.custom_targets import read_custom_target
from linnet_profiler.showing import cli
from linnet_profiler.targets import cores, custom_target
from linnet_runtime.errors import InvalidInput
from truth_rows import model_bytes
from typer.testing import CliRunner

APP = typer.Typer()
APP.command("profile")(cli.profile)
APP.command("targets")(cli.targets)
RUNNER = CliRunner()
MODEL = model_bytes("first/conv2d11_i8")
MINE = {"core": "cortex-m33", "clock_hz": 100_000_000, "ram_bytes": 65_536, "flash_bytes": 524_288}


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A file to profile."""
    path = tmp_path / "model.tflite"
    path.write_bytes(MODEL)
    return str(path)


@pytest.mark.parametrize("core", sorted(cores()))
def test_times_on_a_custom_target_are_estimated(core: str) -> None:
    """Whatever the core, the band is at least a factor of 2 both ways."""
    latency = profile(MODEL, read_custom_target({**MINE, "core": core})).latency
    assert latency.basis is Basis.ESTIMATED
    assert latency.high >= 2 * latency.milliseconds
    assert latency.low <= latency.milliseconds / 2


def test_a_custom_target_takes_no_board_s_timings_by_its_name() -> None:
    """A board made in Python under a timed board's name stays estimated."""
    numbers = {"clock_hz": 120_000_000, "ram_bytes": 640_000, "flash_bytes": 2_000_000}
    mine = custom_target(core_id="cortex-m4f", name="nucleo-l4r5zi", **numbers)
    assert profile(MODEL, find_target("nucleo-l4r5zi")).latency.basis is Basis.CALIBRATED
    assert profile(MODEL, mine).latency.basis is Basis.ESTIMATED


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"core": "cortex-m9"}, "core"),
        ({"core": None}, "core"),
        ({"core": 4}, "core"),
        ({"clock_hz": 0}, "clock_hz"),
        ({"clock_hz": None}, "clock_hz"),
        ({"clock_hz": 1e8}, "clock_hz"),
        ({"ram_bytes": -1}, "ram_bytes"),
        ({"ram_bytes": True}, "ram_bytes"),
        ({"flash_bytes": 2**41}, "flash_bytes"),
        ({"flash_bytes": "1M"}, "flash_bytes"),
        ({"kernels": "esp-nn"}, "kernels"),
        ({"name": "My Board"}, "name"),
        ({"name": "esp32"}, "name"),
        ({"memory": "flash"}, "memory"),
        ({"memory": {"code": "disk", "cache": "none", "data": "sram"}}, "memory.code"),
        ({"memory": {"code": "flash", "cache": "none"}}, "memory.data"),
        ({"memory": {"code": "flash", "cache": "none", "data": "sram", "x": 1}}, "memory.x"),
        ({"sram_bytes": 1}, "sram_bytes"),
    ],
)
def test_a_wrong_number_is_named(change: dict[str, object], field: str) -> None:
    """The error names the field within the path that was given, and nothing else."""
    with pytest.raises(InvalidInput) as caught:
        read_custom_target({**MINE, **change}, "custom_targets[3]")
    assert [one.field for one in caught.value.violations] == [f"custom_targets[3].{field}"]
    assert caught.value.reason == "CUSTOM_TARGET_INVALID"


def test_every_wrong_number_is_named_at_once() -> None:
    """Nobody has to mend one field to learn of the next."""
    with pytest.raises(InvalidInput) as caught:
        read_custom_target({"clock_hz": 0, "what": 1})
    fields = {one.field for one in caught.value.violations}
    assert fields == {"what", "clock_hz", "ram_bytes", "flash_bytes", "core"}


def test_options_make_a_board(model: str) -> None:
    """--core with sizes and clock is a board with limits; its figures are those of Python."""
    options = ["--core", "cortex-m33", "--clock-hz", "100000000"]
    sizes = ["--ram-bytes", "65536", "--flash-bytes", "524288"]
    result = RUNNER.invoke(APP, ["profile", model, *options, *sizes, "--json"])
    line = json.loads(result.stdout)
    same = profile(MODEL, read_custom_target(MINE))
    assert result.exit_code == 0
    assert line["latency"]["milliseconds"] == same.latency.milliseconds
    assert line["latency"]["basis"] == "estimated"
    assert line["verdict"]["ram_headroom_bytes"] == 65_536 - same.ram.total_bytes
    small = ["--ram-bytes", "1000", "--flash-bytes", "1000"]
    assert not json.loads(
        RUNNER.invoke(APP, ["profile", model, *options, *small, "--json"]).stdout
    )["fits"]


def test_a_file_describes_a_board(model: str, tmp_path: Path) -> None:
    """--target-file reads the same numbers, a name and a placement; options still override."""
    board = tmp_path / "board.json"
    memory = {"code": "flash", "cache": "none", "data": "sram"}
    board.write_text(json.dumps({**MINE, "name": "mine", "memory": memory}))
    asked = ["profile", model, "--target-file", str(board), "--json"]
    line = json.loads(RUNNER.invoke(APP, asked).stdout)
    slower = json.loads(
        RUNNER.invoke(APP, [*asked, "--clock-hz", "1000000", "--kernels", "reference"]).stdout
    )
    assert line["target"] == "mine"
    assert (slower["clock_hz"], slower["kernels"]) == (1_000_000, "reference")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--core", "cortex-m33", "--ram-bytes", "1"), "clock_hz"),
        (("--core", "cortex-m33", "--flash-bytes", "1", "--clock-hz", "1"), "ram_bytes"),
        (("--core", "cortex-m33", "--ram-bytes", "-4", "--clock-hz", "1"), "ram_bytes"),
        (("--ram-bytes", "1"), "ram_bytes"),
        (("--target", "esp32", "--flash-bytes", "1"), "flash_bytes"),
        (("--target-file", "/nowhere/board.json"), "target_file"),
        (("--target-file", "{folder}"), "target_file"),
        (("--target-file", "{list}"), "target_file"),
        (("--target-file", "{deep}"), "target_file"),
        (("--target-file", "{list}", "--target", "esp32"), "target"),
        (("--ethos-u", "ethos-u1"), "ethos_u"),
    ],
)
def test_wrong_options_are_named(
    model: str, tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    """The message begins with the field at fault, before any file is read; code 2."""
    (tmp_path / "list").write_text("[1]")
    (tmp_path / "deep").write_text("[" * 60_000)
    places = {"folder": tmp_path, "list": tmp_path / "list", "deep": tmp_path / "deep"}
    asked = ["profile", model, *(option.format(**places) for option in options)]
    result = RUNNER.invoke(APP, asked)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"linnet profile: {named}: "), result.stderr
