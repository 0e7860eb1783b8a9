"""Free ports: picked once, kept as long as nobody else takes them."""

import random
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping

FIRST = 20_000
LAST = 32_767
"""Below the range that Linux draws outgoing ports from (32768 and up), so that none is lost to a
connection."""

_PAUSE_S = 0.05


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def await_free(ports: Collection[int], *, patience_s: float) -> None:
    """Wait until all are free, or patience ends: what listened there may just be dying."""
    deadline = time.monotonic() + patience_s
    while not all(map(is_free, ports)) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)


def assign(
    names: Iterable[str],
    kept: Mapping[str, int],
    *,
    free: Callable[[int], bool] = is_free,
    draw: Callable[[int, int], int] = random.randint,
) -> dict[str, int]:
    """Give each name a port: the one it had if that is free, else a new one; no port twice.

    Raises:
        RuntimeError: No free port was found in a thousand draws.
    """
    names = list(names)
    assigned = {name: kept[name] for name in names if name in kept and free(kept[name])}
    taken = set(assigned.values()) | set(kept.values())
    for name in names:
        if name in assigned:
            continue
        for _ in range(1000):
            port = draw(FIRST, LAST)
            if port not in taken and free(port):
                break
        else:
            raise RuntimeError(f"no free port between {FIRST} and {LAST} for {name}")
        assigned[name] = port
        taken.add(port)
    return assigned
