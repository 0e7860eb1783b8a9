"""The contract's own rules, as errors."""

import protovalidate
from google.protobuf.message import Message

from linnet_runtime.errors import InvalidInput, Violation


def _path(violation: protovalidate.Violation) -> str:
    path = ""
    elements = violation.proto.field.elements if violation.proto.field else ()
    for element in elements:
        path += ("." if path else "") + element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    return path or "request"


def check(message: Message) -> None:
    """Check a message against the rules of the contract.

    Raises:
        InvalidInput: Names every field that breaks a rule, and the value that came.
    """
    found = protovalidate.collect_violations(message)
    if found:
        raise InvalidInput(
            (
                Violation(_path(v), f"{v.proto.message}, received {_short(v.field_value)}")
                for v in found
            ),
            reason="INVALID_ARGUMENT",
        )


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."
