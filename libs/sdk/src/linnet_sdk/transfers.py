"""Files to and from presigned addresses; blocking, whole or not at all."""

import hashlib
from pathlib import Path

import httpx
from linnet.v1 import dataset_pb2
from linnet_runtime.errors import Internal, NotFound, PermissionDenied, Unavailable

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_REFUSED = {401, 403}
_MISSING = 404
_REFUSED_FROM = 300


def open_http() -> httpx.Client:
    """Open a client for transfers; it takes no proxy from the environment."""
    return httpx.Client(timeout=_TIMEOUT, trust_env=False)


def upload(http: httpx.Client, request: dataset_pb2.PresignedRequest, path: Path) -> None:
    """Put a file to its address.

    Raises:
        PermissionDenied: The address has expired or is for another file.
        Unavailable: The store can't be reached now.
    """
    try:
        with path.open("rb") as file:
            response = http.request(request.method or "PUT", request.url, content=file)
    except httpx.TransportError as error:
        raise _unreachable(request, error) from error
    _check(response.status_code, request)


def download(http: httpx.Client, request: dataset_pb2.PresignedRequest, path: Path) -> Path:
    """Read a file from its address; `path` appears only when all of it is there and right.

    Raises:
        Internal: What came is not what was announced.
        NotFound: It is gone.
        PermissionDenied: The address has expired.
        Unavailable: The store can't be reached now.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    digest = hashlib.sha256()
    try:
        with http.stream("GET", request.url) as response, part.open("wb") as file:
            _check(response.status_code, request)
            for chunk in response.iter_bytes():
                digest.update(chunk)
                file.write(chunk)
        if request.sha256 and digest.hexdigest() != request.sha256:
            raise Internal(
                f"{request.name}: expected SHA-256 {request.sha256}, received {digest.hexdigest()}",
                reason="DIGEST_MISMATCH",
            )
        part.replace(path)
    except httpx.TransportError as error:
        raise _unreachable(request, error) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _check(status: int, request: dataset_pb2.PresignedRequest) -> None:
    if status < _REFUSED_FROM:
        return
    if status in _REFUSED:
        raise PermissionDenied(
            f"{request.name}: the object store refused the address (HTTP {status})",
            reason="PRESIGNED_REQUEST_REFUSED",
        )
    if status == _MISSING:
        raise NotFound("object", request.name)
    raise Unavailable(f"{request.name}: the object store answered HTTP {status}")


def _unreachable(request: dataset_pb2.PresignedRequest, error: Exception) -> Unavailable:
    return Unavailable(
        f"{request.name}: the object store can't be reached ({type(error).__name__})",
        reason="STORE_UNREACHABLE",
    )
