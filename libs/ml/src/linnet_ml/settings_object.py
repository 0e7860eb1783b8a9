"""A JSON object that another program wrote, read field by field with its types and limits."""

import math
from collections.abc import Mapping
from typing import Any

from linnet_runtime.errors import InvalidInput

_MOST_WHOLE = 2**31 - 1
"""The contract's integers have 32 bits."""


class SettingsObject:
    """Fields of an object; null stands for a field that is not there."""

    def __init__(self, fields: Mapping[str, Any], path: str = "") -> None:
        self._fields = fields
        self._path = path

    def path(self, name: str) -> str:
        """Give the path of a field, for errors."""
        return f"{self._path}.{name}" if self._path else name

    def given(self) -> list[str]:
        """Name the fields that say something."""
        return [name for name, value in self._fields.items() if value]

    def raw(self, name: str) -> Any:
        """Give a value of any type; None where there is none."""
        return self._fields.get(name)

    def number(self, name: str) -> float | None:
        """Give a finite number from zero.

        Raises:
            InvalidInput: The value is none.
        """
        value = self.raw(name)
        if value is None:
            return None
        number = not isinstance(value, bool) and isinstance(value, int | float)
        if not (number and 0 <= value <= _MOST_WHOLE and math.isfinite(value)):
            raise self._wrong(name, f"a number from 0 to {_MOST_WHOLE}", value)
        return float(value)

    def whole(self, name: str) -> int:
        """Give an integer from zero; 0 where there is none.

        Raises:
            InvalidInput: The value is none.
        """
        value = self.number(name) or 0.0
        if not value.is_integer():
            raise self._wrong(name, "a whole number", value)
        return int(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Give a truth value.

        Raises:
            InvalidInput: The value is none.
        """
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Give one of some words; the first where there is none.

        Raises:
            InvalidInput: The value is none of them.
        """
        value = self.raw(name)
        if value is None:
            return choices[0]
        if not isinstance(value, str) or value not in choices:
            raise self._wrong(name, f"one of {', '.join(choices)}", value)
        return value

    def inner(self, name: str) -> "SettingsObject | None":
        """Give an object within.

        Raises:
            InvalidInput: The value is none.
        """
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self._wrong(name, "an object", value)
        return SettingsObject(value, self.path(name))

    def listed(self, name: str) -> "list[SettingsObject] | None":
        """Give a list of objects.

        Raises:
            InvalidInput: The value is none.
        """
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self._wrong(name, "a list", value)
        found = []
        for index, entry in enumerate(value):
            if not isinstance(entry, Mapping):
                raise self._wrong(f"{name}[{index}]", "an object", entry)
            found.append(SettingsObject(entry, self.path(f"{name}[{index}]")))
        return found

    def _wrong(self, name: str, expected: str, received: object) -> InvalidInput:
        return InvalidInput.of(self.path(name), f"expected {expected}, received {received!r:.80}")
