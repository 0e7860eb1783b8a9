"""What is written down of calls that change something."""

from collections.abc import Coroutine
from typing import Any, Protocol

BEGUN = "BEGUN"
"""Decision of the entry that is written before anything is done, followed by the id of its call.

The entry of how the call ended has the same id. Without one the call is under way, or the gateway
was killed meanwhile."""


class Audit(Protocol):
    """Where mutating calls are written to, in order, for ever."""

    def write(
        self, actor: str, method: str, resource: str, decision: str
    ) -> Coroutine[Any, Any, None]:
        """Append one entry."""
        ...
