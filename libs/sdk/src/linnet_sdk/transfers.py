"""Files to and from presigned addresses; blocking, whole or not at all."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from linnet.v1 import dataset_pb2
from linnet_runtime.errors import Internal, NotFound, PermissionDenied, Unavailable

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 60.0
_CONNECT_S = 5.0
_REFUSED = {401, 403}
_MISSING = 404
_REFUSED_FROM = 300


class Transfers:
    """HTTP for files; connects, and imports its client, at the first one.

    It takes no proxy from the environment: stores of local mode are on loopback.

    Args:
        ca_file: Authorities that are trusted beside the usual ones, PEM.
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._opened: httpx.Client | None = None

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()

    def upload(self, request: dataset_pb2.PresignedRequest, path: Path) -> None:
        """Put a file to its address.

        Raises:
            PermissionDenied: The address has expired or is for another file.
            Unavailable: The store can't be reached now.
        """
        import httpx

        try:
            with path.open("rb") as file:
                response = self._http().request(request.method or "PUT", request.url, content=file)
        except httpx.TransportError as error:
            raise _unreachable(request, error) from error
        _check(response.status_code, request)

    def download(self, request: dataset_pb2.PresignedRequest, path: Path) -> Path:
        """Read a file from its address; `path` appears only when all of it is there and right.

        Raises:
            Internal: What came is not what was announced.
            NotFound: It is gone.
            PermissionDenied: The address has expired.
            Unavailable: The store can't be reached now.
        """
        import httpx

        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        digest = hashlib.sha256()
        try:
            with self._http().stream("GET", request.url) as response, part.open("wb") as file:
                _check(response.status_code, request)
                for chunk in response.iter_bytes():
                    digest.update(chunk)
                    file.write(chunk)
            if request.sha256 and digest.hexdigest() != request.sha256:
                raise Internal(
                    f"{request.name}: expected SHA-256 {request.sha256}, "
                    f"received {digest.hexdigest()}",
                    reason="DIGEST_MISMATCH",
                )
            part.replace(path)
        except httpx.TransportError as error:
            raise _unreachable(request, error) from error
        finally:
            part.unlink(missing_ok=True)
        return path

    def _http(self) -> "httpx.Client":
        import httpx

        if self._opened is None:
            timeout = httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_S)
            trusted = httpx.create_ssl_context()
            if self._ca_file is not None:
                trusted.load_verify_locations(cafile=self._ca_file)
            self._opened = httpx.Client(timeout=timeout, trust_env=False, verify=trusted)
        return self._opened


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
