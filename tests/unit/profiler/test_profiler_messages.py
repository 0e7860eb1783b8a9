"""The message of a profile and its JSON line carry the same figures, leaf by leaf."""

from collections.abc import Iterator
from typing import Any

import pytest
from linnet.v1 import profile_pb2
from linnet_profiler.analysis import Analysis
from linnet_profiler.basis import Basis
from linnet_profiler.profile import Budgets, Profile
from linnet_profiler.serving.messages import profile_message
from linnet_profiler.showing.report import profile_report
from linnet_profiler.targets import find_target
from truth_rows import model_bytes

from tests.support.changed_models import with_gelu

MODELS = (
    "first/conv2d11_i8",
    "first/conv2d11_f32",
    "first/act_leaky_f32",
    "published/vww_96_int8",
)
BOARDS = ("nucleo-l4r5zi", "ek-ra8d1", "esp32-s3", "raspberry-pi-pico")
# Name in the JSON -> name in the message, where they differ; by the part that it belongs to.
NAMES = {
    "": {"parameters": "parameter_count", "macs": "mac_count"},
    "latency": {"low": "low_milliseconds", "high": "high_milliseconds"},
    "operators": {
        "operator": "kind",
        "macs": "mac_count",
        "valid_macs": "valid_mac_count",
        "parameters": "parameter_count",
        "microseconds": "latency_us",
    },
    "unsupported": {"name": "kind"},
    "suggestions": {"operator": "operator_index", "saved_microseconds": "saved_latency_us"},
    "verdict": {"ram": "ram_fits", "flash": "flash_fits", "latency": "latency_fits"},
    "buffers": {"first_used": "first_operator", "last_used": "last_operator"},
}
# Only the client knows the file's name; a run's variant and digest are the service's.
ONLY_JSON = {"file"}
ONLY_MESSAGE = {"variant", "model_sha256", "scratch"}


def pairs(said: Any, message: Any, part: str, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Each leaf of the JSON with the message's value in its place."""
    names = NAMES.get(part, {})
    for key, value in said.items():
        here = f"{path}.{key}"
        if key in ONLY_JSON:
            continue
        if part == "operators" and key == "options":
            assert set(message.options) == set(value), here
            for name, option in value.items():
                kind = message.options[name].WhichOneof("value")
                yield here, option, getattr(message.options[name], kind) if kind else None
            continue
        owner = message.verdict if key == "fits" else message
        name = names.get(key, key)
        if isinstance(value, dict):
            yield from pairs(value, getattr(owner, name), key, here)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            inner = getattr(owner, name)
            assert len(inner) == len(value), here
            for number, (one, other) in enumerate(zip(value, inner, strict=True)):
                yield from pairs(one, other, key, f"{here}[{number}]")
        elif value is None:
            yield here, False, owner.HasField(name)
        else:
            yield here, value, getattr(owner, name)


def expected(path: str, value: Any) -> Any:
    """What the message holds where the JSON holds a value."""
    key = path.rpartition(".")[2]
    if key.endswith("basis"):
        return profile_pb2.Basis.Value(f"BASIS_{Basis(value).name}")
    if key in ("first_used", "last_used"):
        return value - 1
    return value


def compare(found: Profile) -> None:
    """Compare every leaf of the JSON with the message."""
    message = profile_message(found)
    report = profile_report(found, "model.tflite")
    for path, value, came in pairs(report, message, "", ""):
        want = expected(path, value)
        if path.startswith(".unsupported") and path.endswith("remedy"):
            assert came.endswith(f"; {want}"), path
            continue
        rounded = isinstance(came, float) and isinstance(want, int)
        assert (
            list(came) if isinstance(want, list) else round(came) if rounded else came
        ) == want, path


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("board", BOARDS)
def test_message_and_json_agree_leaf_by_leaf(name: str, board: str) -> None:
    """Whatever the JSON says of a profile, the message says too."""
    for budgets in (Budgets(), Budgets(10_000, 10_000, 0.5)):
        compare(Analysis.of(model_bytes(name)).profile(find_target(board), budgets))


def test_operators_that_are_lacking_agree_too() -> None:
    """Problem and remedy of an operator that TFLite Micro lacks are in both."""
    board = find_target("nucleo-l4r5zi")
    found = Analysis.of(with_gelu(model_bytes("first/dense00_i8"))).profile(board)
    assert found.unsupported
    compare(found)
    message = profile_message(found).unsupported[0]
    assert message.problem == found.unsupported[0].problem


def test_the_message_says_nothing_that_the_json_leaves_out() -> None:
    """Every field of the message, at any depth, has its place in the JSON."""
    found = Analysis.of(model_bytes("first/conv2d11_i8")).profile(find_target("nucleo-l4r5zi"))
    report = profile_report(found, "model.tflite")
    for part, descriptor in (
        ("", profile_pb2.Profile.DESCRIPTOR),
        ("ram", profile_pb2.RamProfile.DESCRIPTOR),
        ("flash", profile_pb2.FlashProfile.DESCRIPTOR),
        ("latency", profile_pb2.LatencyProfile.DESCRIPTOR),
        ("operators", profile_pb2.OperatorProfile.DESCRIPTOR),
        ("verdict", profile_pb2.Verdict.DESCRIPTOR),
        ("suggestions", profile_pb2.Suggestion.DESCRIPTOR),
    ):
        said = report[part] if part else report
        keys = set(said[0] if isinstance(said, list) else said)
        named = {NAMES.get(part, {}).get(key, key) for key in keys} | {"fits"}
        fields = {field.name for field in descriptor.fields} - ONLY_MESSAGE
        assert fields <= named, part
