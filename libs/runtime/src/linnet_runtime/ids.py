"""Ids and names of resources."""

import hashlib
import re
import secrets
from dataclasses import dataclass

from linnet_runtime.errors import InvalidInput

ID_PATTERN = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_NAME_PATTERN = re.compile(r"projects/([^/]+)(?:/(runs|batches|datasets)/([^/]+))?")


@dataclass(frozen=True, slots=True)
class ResourceName:
    """`projects/{project}` or `projects/{project}/{collection}/{id}`, taken apart."""

    project: str
    collection: str = ""
    id: str = ""

    def __str__(self) -> str:
        parent = f"projects/{self.project}"
        return f"{parent}/{self.collection}/{self.id}" if self.collection else parent

    @property
    def parent(self) -> str:
        """The project's name."""
        return f"projects/{self.project}"


def parse_name(text: str, collection: str = "", *, field: str = "name") -> ResourceName:
    """Take a resource name apart.

    Raises:
        InvalidInput: It is no name of that collection; names `field`.
    """
    match = _NAME_PATTERN.fullmatch(text)
    shape = f"projects/{{project}}/{collection}/{{id}}" if collection else "projects/{project}"
    if match is None or (match[2] or "") != collection:
        raise InvalidInput.of(field, f"expected {shape}, received {text!r}")
    for part in (match[1], match[3]):
        if part is not None and not ID_PATTERN.fullmatch(part):
            raise InvalidInput.of(
                field, f"expected ids of a-z, 0-9 and -, at most 40 long, received {part!r}"
            )
    return ResourceName(match[1], match[2] or "", match[3] or "")


def new_id(prefix: str) -> str:
    """Make an id that nobody has, such as `run-3f9a0c21b7d4`."""
    return f"{prefix}-{secrets.token_hex(6)}"


def label_safe(text: str, *, limit: int = 63) -> str:
    """Make a valid DNS label of any text, distinct for distinct texts.

    A text that is valid already stays as it is; any other gets a hash at its end.
    """
    if len(text) <= limit and re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[: limit - 9].rstrip("-")
    return f"{stem}-{digest}" if stem else digest
