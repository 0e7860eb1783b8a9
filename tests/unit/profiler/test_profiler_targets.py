"""The boards: enough of them, each figure with its source, and a person's own."""

import json
from functools import partial
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml
from linnet_profiler import bare_core, custom_target, find_target, profile, profile_all, targets
from linnet_profiler.basis import Basis
from linnet_profiler.errors import UnknownTargetError
from truth_rows import model_bytes

DATA = files("linnet_profiler").joinpath("data")
ASKED = frozenset(
    """
    nucleo-l4r5zi nucleo-l432kc nucleo-f401re nucleo-f413zh nucleo-f746zg nucleo-h743zi2
    nucleo-u575zi-q nucleo-g0b1re ek-ra6m4 ek-ra8d1 arduino-nano-33-ble arduino-nano-esp32
    arduino-giga-r1 arduino-portenta-h7 teensy-40 raspberry-pi-pico raspberry-pi-pico-2
    seeeduino-xiao feather-m4 nrf5340-dk xg24-dk2601b frdm-mcxn947 esp32 esp32-s3 esp32-c3 esp32-p4
    """.split()  # noqa: SIM905 - as the issue lists them
)
CORES = {f"cortex-{core}" for core in ("m0plus", "m3", "m4f", "m7", "m33", "m55", "m85")}
MEBIBYTE = 1 << 20


def loaded() -> Any:
    """The data file."""
    return yaml.safe_load(DATA.joinpath("targets.yaml").read_text())


def test_the_data_file_follows_its_schema() -> None:
    """Every board has its figures and, for each, a source; nothing else is in the file."""
    schema = json.loads(DATA.joinpath("targets.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(loaded(), schema)
    broken = loaded()
    del broken["targets"][0]["sources"]["ram"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_there_are_enough_boards() -> None:
    """At least 40 boards, no id twice, all those that were asked for, on all cores."""
    ids = [entry["id"] for entry in loaded()["targets"]]
    assert len(ids) == len(set(ids)) >= 40
    assert set(ids) >= ASKED
    assert {target.core.id for target in targets().values()} >= CORES


def test_an_unknown_board_names_the_closest() -> None:
    """A typing error is answered with what was likely meant."""
    with pytest.raises(UnknownTargetError, match="nucleo-l4r5zi"):
        find_target("nucleo-l4r5z")


def test_an_unknown_core_or_library_is_refused() -> None:
    """Cores and libraries that don't exist, or not together, are refused by name."""
    with pytest.raises(UnknownTargetError, match="cortex-m9"):
        bare_core("cortex-m9")
    with pytest.raises(UnknownTargetError, match="esp-nn"):
        bare_core("cortex-m4f", "esp-nn")


def test_a_custom_target_is_judged_like_a_board() -> None:
    """A few numbers make a target, against whose memory a model is held."""
    data = model_bytes("first/conv2d11_i8")
    own = partial(custom_target, core_id="cortex-m4f", clock_hz=64_000_000)
    small = own(ram_bytes=1024, flash_bytes=MEBIBYTE)
    large = own(ram_bytes=MEBIBYTE, flash_bytes=MEBIBYTE)
    assert not profile(data, small).verdict.ram
    assert profile(data, large).verdict.fits
    with pytest.raises(ValueError, match="ram_bytes"):
        own(ram_bytes=0, flash_bytes=1)


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4f", "cortex-m23", "cortex-m7"])
def test_a_custom_target_is_estimated_with_a_wide_band(core: str) -> None:
    """Nobody timed a board that a user makes up: estimated, a factor of 2 at least to each side."""
    own = custom_target(core_id=core, clock_hz=64_000_000, ram_bytes=MEBIBYTE, flash_bytes=MEBIBYTE)
    latency = profile(model_bytes("first/conv2d11_i8"), own).latency
    assert latency.basis is Basis.ESTIMATED
    assert latency.high >= 2 * latency.milliseconds
    assert latency.low <= latency.milliseconds / 2


@pytest.mark.parametrize("name", ["first/conv2d11_i8", "published/kws_ref_model"])
def test_a_much_faster_clock_is_never_slower(name: str) -> None:
    """Of two boards with one core, the one with a clock half as high again takes less time."""
    found = profile_all(model_bytes(name))
    for slow in found:
        for fast in found:
            if fast.target.core is not slow.target.core:
                continue
            if fast.target.clock_hz >= 1.5 * slow.target.clock_hz:
                pair = (slow.target.id, fast.target.id)
                assert fast.latency.milliseconds < slow.latency.milliseconds, pair


def test_every_board_without_timings_says_so() -> None:
    """Each board's figure is calibrated, or estimated with a band of at least a factor of 2."""
    for name in ("first/conv2d11_i8", "first/conv2d11_f32"):
        for found in profile_all(model_bytes(name)):
            latency = found.latency
            if latency.basis is not Basis.CALIBRATED:
                assert latency.basis is Basis.ESTIMATED, found.target.id
                assert latency.high >= 2 * latency.milliseconds, found.target.id
