"""Python client of Linnet and the `linnet` command; knows no service and no TensorFlow.

`Client` (blocking) and `AsyncClient` (asyncio) speak to a gateway. What they return are the
messages of the contract themselves (`linnet.v1`): every field is documented there with its unit,
and nothing is lost or renamed on the way. What they raise is the tree of `linnet_runtime.errors`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linnet_sdk.aio import AsyncClient as AsyncClient
    from linnet_sdk.client import Client as Client
    from linnet_sdk.datasets import Arrays as Arrays
    from linnet_sdk.server_address import ServerAddress as ServerAddress
    from linnet_sdk.server_search import find_server as find_server

_HOMES = {
    "AsyncClient": "linnet_sdk.aio",
    "Client": "linnet_sdk.client",
    "Arrays": "linnet_sdk.datasets",
    "ServerAddress": "linnet_sdk.server_address",
    "find_server": "linnet_sdk.server_search",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `linnet --help` then needs no gRPC."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
