"""The contract's own rules, as errors, at a cost that no message can drive up.

What is right is looked at once. What is wrong is looked at until the first rule that it breaks,
lists before their elements; more is searched for only until there is enough to tell.
"""

from collections.abc import Iterator

import protovalidate
from google.protobuf.message import Message

from linnet_runtime.errors import InvalidInput, Violation

MAX_VIOLATIONS = 20
"""Wrong fields that are searched for in one message."""
_SMALL_MESSAGES = 500
"""Messages within a message up to which it is looked at as a whole: some 50 ms if all are wrong."""


def _path(violation: protovalidate.Violation) -> str:
    path = ""
    elements = violation.proto.field.elements if violation.proto.field else ()
    for element in elements:
        path += ("." if path else "") + element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    return path


def check(message: Message) -> None:
    """Check a message against the rules of the contract.

    Raises:
        InvalidInput: Names the fields that break a rule, each with the value that came; of many
            the first, and how many more were found.
    """
    first = protovalidate.collect_violations(message, fail_fast=True)
    if not first:
        return
    if _is_small(message):
        found = protovalidate.collect_violations(message)
        violations = [_violation(v) for v in found[:MAX_VIOLATIONS]]
        if len(found) > MAX_VIOLATIONS:
            violations.append(Violation("request", f"... and {len(found) - MAX_VIOLATIONS} more"))
    else:
        violations = _of_large(message, _violation(first[0]))
    raise InvalidInput(violations, reason="INVALID_ARGUMENT")


def _is_small(message: Message) -> bool:
    waiting, seen = [message], 0
    while waiting:
        for _, _, part in _parts(waiting.pop()):
            waiting.append(part)
            seen += 1
            if seen > _SMALL_MESSAGES:
                return False
    return True


def _of_large(message: Message, first: Violation) -> list[Violation]:
    """Find wrong fields part by part, the first of each part, until there are enough."""
    found = {first.field: first}
    waiting: list[tuple[str, Message]] = [("", message)]
    while waiting:
        prefix, whole = waiting.pop(0)
        for name, index, part in _parts(whole):
            wrong = protovalidate.collect_violations(part, fail_fast=True)
            if not wrong:
                continue
            path = f"{prefix}{name}" if index is None else f"{prefix}{name}[{index}]"
            violation = _violation(wrong[0], f"{path}.")
            if violation.field not in found and len(found) >= MAX_VIOLATIONS:
                return [*found.values(), Violation("request", "... and more")]
            found.setdefault(violation.field, violation)
            waiting.append((f"{path}.", part))
    return list(found.values())


def _parts(message: Message) -> Iterator[tuple[str, int | None, Message]]:
    """Give the messages in a message; those in maps and in JSON values have no rules."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.file.package == "google.protobuf":
            continue
        if not field.is_repeated:
            yield field.name, None, value
        elif not field.message_type.GetOptions().map_entry:
            for index, part in enumerate(value):
                yield field.name, index, part


def _violation(found: protovalidate.Violation, prefix: str = "") -> Violation:
    path = prefix + _path(found) if _path(found) else prefix.removesuffix(".") or "request"
    return Violation(path, f"{found.proto.message}, received {_short(found.field_value)}")


def _short(value: object, limit: int = 80) -> str:
    # Never written out: a list of millions would be, to be cut then.
    if isinstance(value, Message):
        return f"a {value.DESCRIPTOR.name}"
    if hasattr(value, "__len__") and not isinstance(value, str | bytes):
        return f"{len(value)} of them"
    text = repr(value[: limit + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= limit else text[:limit] + "..."
