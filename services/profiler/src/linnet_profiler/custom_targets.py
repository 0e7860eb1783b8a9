"""Targets from a user's few numbers: read from a mapping, each wrong field named."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from importlib.resources import files
from typing import Any, Final

from linnet_runtime.errors import InvalidInput, Violation

from linnet_profiler.errors import UnknownTargetError
from linnet_profiler.targets import Memory, Target, custom_target, find_core, targets

NUMBERS: Final[Mapping[str, int]] = {
    "clock_hz": 10_000_000_000,
    "ram_bytes": 2**40,
    "flash_bytes": 2**40,
}
"""What must be given, and the most it may be."""
_TEXTS: Final = ("name", "core", "kernels")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def read_custom_target(given: Mapping[str, Any], path: str = "") -> Target:
    """Make a target of a mapping such as the content of a board file.

    Args:
        given: `core`, `clock_hz`, `ram_bytes`, `flash_bytes`, and where wanted `name`, `kernels`
            and `memory` with `code`, `cache` and `data`.
        path: Where the mapping lies in a request, such as "custom_targets[0]".

    Raises:
        InvalidInput: A field is missing, unknown or out of range; every one is named.
    """
    wrong = _Wrong(path)
    wrong.unknown("", given, (*_TEXTS, *NUMBERS, "memory"))
    texts = {field: wrong.text(field, given.get(field)) for field in _TEXTS}
    numbers = {field: wrong.number(field, given.get(field)) for field in NUMBERS}
    name = texts["name"] or "custom"
    if not _NAME.fullmatch(name):
        wrong.add("name", f"expected kebab case, at most 63 characters, received {name!r}")
    elif name in targets():
        wrong.add("name", f"expected a name that no board has, received {name!r}")
    if not texts["core"] and not wrong.about("core"):
        wrong.add("core", "expected a core such as cortex-m33, received none")
    memory = _memory(given.get("memory"), wrong)
    for field in ("core", "kernels"):
        if texts["core"] and not wrong.about("core", "kernels"):
            wrong.known(field, texts["core"], texts["kernels"])
    wrong.report()
    return custom_target(
        core_id=texts["core"],
        clock_hz=numbers["clock_hz"],
        ram_bytes=numbers["ram_bytes"],
        flash_bytes=numbers["flash_bytes"],
        name=name,
        library=texts["kernels"] or None,
        memory=memory,
    )


def _memory(given: object, wrong: _Wrong) -> Memory | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        wrong.add("memory", f"expected an object with code, cache and data, received {given!r}")
        return None
    names = tuple(field.name for field in fields(Memory))
    wrong.unknown("memory.", given, names)
    for name, choices in _placements().items():
        if given.get(name) not in choices:
            said = f"expected one of {', '.join(choices)}, received {given.get(name)!r}"
            wrong.add(f"memory.{name}", said)
    return None if wrong.found else Memory(**given)


def _placements() -> Mapping[str, list[str]]:
    """What each word of a placement may be, as for the boards."""
    text = files("linnet_profiler").joinpath("data", "targets.schema.json").read_text()
    words = json.loads(text)["$defs"]["target"]["properties"]["memory"]["properties"]
    return {name: rule["enum"] for name, rule in words.items()}


class _Wrong:
    """What is wrong with a mapping so far."""

    def __init__(self, path: str) -> None:
        self._prefix = f"{path}." if path else ""
        self.found: dict[str, str] = {}

    def add(self, field: str, description: str) -> None:
        self.found.setdefault(field, description)

    def about(self, *names: str) -> bool:
        return any(name in self.found for name in names)

    def unknown(self, inner: str, given: Mapping[str, Any], names: tuple[str, ...]) -> None:
        for field in given:
            if field not in names:
                self.add(f"{inner}{field}", f"expected one of {', '.join(names)}")

    def text(self, field: str, value: object) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        self.add(field, f"expected a text, received {value!r}")
        return ""

    def number(self, field: str, value: object) -> int:
        most = NUMBERS[field]
        whole = isinstance(value, int) and not isinstance(value, bool)
        if whole and isinstance(value, int) and 1 <= value <= most:
            return value
        came = "none" if value is None else repr(value)
        self.add(field, f"expected a whole number from 1 to {most}, received {came}")
        return 0

    def known(self, field: str, core: str, kernels: str) -> None:
        try:
            if field == "core":
                find_core(core)
            else:
                custom_target(
                    core_id=core, clock_hz=1, ram_bytes=1, flash_bytes=1, library=kernels or None
                )
        except UnknownTargetError as error:
            self.add(error.violations[0].field, error.violations[0].description)

    def report(self) -> None:
        if self.found:
            raise InvalidInput(
                [Violation(f"{self._prefix}{field}", said) for field, said in self.found.items()],
                reason="CUSTOM_TARGET_INVALID",
            )
