"""Files by presigned addresses: read with their digests checked, put with retries."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
from linnet.v1 import dataset_pb2
from linnet_runtime.errors import InvalidInput, Unavailable
from tenacity import (
    RetryCallState,
    retry,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

_CHUNK_BYTES = 1 << 20
_NOT_FOUND = 404
_SERVER_ERROR = 500
_TOO_MANY = 429


def _tell(state: RetryCallState) -> None:
    """Tell once of a transfer that has to wait, however often it is tried."""
    transfers: Transfers = state.args[0]
    if state.attempt_number == 1 and state.outcome is not None:
        transfers.missed(str(state.outcome.exception()))


_again = retry(
    retry=retry_if_exception_type(Unavailable),
    stop=stop_after_delay(600),
    wait=wait_random_exponential(multiplier=0.2, max=10.0),
    before_sleep=_tell,
    reraise=True,
)


class Transfers:
    """HTTP to the object store; no credentials, only addresses.

    Attributes:
        missed: Takes, once a transfer, why it waits for the store.
    """

    def __init__(self, missed: Callable[[str], object]) -> None:
        self.missed = missed
        self._client = httpx.Client(timeout=httpx.Timeout(60.0, connect=5.0), trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @_again
    def download(self, source: dataset_pb2.PresignedRequest, target: Path) -> None:
        """Read a file to `target`.

        Raises:
            InvalidInput: It is not there or is not what was announced.
            Unavailable: The store could not be reached for ten minutes.
        """
        digest = hashlib.sha256()
        try:
            with self._client.stream("GET", source.url) as response, target.open("wb") as file:
                _check(response, source.name)
                for chunk in response.iter_bytes(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
        except httpx.HTTPError as error:
            raise Unavailable(f"reading {source.name}: {type(error).__name__}") from error
        if source.sha256 and digest.hexdigest() != source.sha256:
            raise InvalidInput.of(
                source.name,
                f"expected SHA-256 {source.sha256}, received {digest.hexdigest()}",
                reason="DIGEST_MISMATCH",
            )

    @_again
    def upload(self, target: dataset_pb2.PresignedRequest, data: bytes) -> None:
        """Put a file.

        Raises:
            InvalidInput: The store refuses it.
            Unavailable: The store could not be reached for ten minutes.
        """
        try:
            response = self._client.put(target.url, content=data)
        except httpx.HTTPError as error:
            raise Unavailable(f"putting {target.name}: {type(error).__name__}") from error
        _check(response, target.name)


def _check(response: httpx.Response, name: str) -> None:
    status = response.status_code
    if status >= _SERVER_ERROR or status == _TOO_MANY:
        raise Unavailable(f"{name}: the object store answers {status}")
    if status == _NOT_FOUND:
        raise InvalidInput.of(name, "is not in the object store", reason="FILE_MISSING")
    if not response.is_success:
        raise InvalidInput.of(
            name, f"the object store refuses it with {status}", reason="FILE_REFUSED"
        )


def stored_file(name: str, data: bytes) -> dataset_pb2.StoredFile:
    """Describe a file to be put: its size and SHA-256."""
    return dataset_pb2.StoredFile(
        name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
