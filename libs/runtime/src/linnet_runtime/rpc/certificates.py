"""The files of TLS, read again when they are replaced, as cert-manager does before they expire."""

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc

from linnet_runtime import logs
from linnet_runtime.errors import InvalidInput

_log = logs.get("linnet.tls")

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a port shows and whom it trusts, as it was in the files at one moment.

    Attributes:
        chain: Certificate chain, PEM.
        key: Its key, PEM.
        authorities: Those that sign callers' certificates, PEM; None asks for none.
        context: The same, for a server of the standard library.
    """

    chain: bytes
    key: bytes
    authorities: bytes | None
    context: ssl.SSLContext


class CertificateFiles:
    """Gives what the files hold now; looked at by every handshake, from any thread."""

    def __init__(
        self, chain: Path, key: Path, authorities: Path | None = None, *, setting: str
    ) -> None:
        """Read them.

        Args:
            chain: Certificate chain, PEM.
            key: Its key, PEM.
            authorities: Those that sign callers' certificates, PEM; None asks for none.
            setting: What named them, for the error.

        Raises:
            InvalidInput: They can't be used.
        """
        self._paths = [chain, key] if authorities is None else [chain, key, authorities]
        self._lock = threading.Lock()
        self._seen: _Stamp | None = self._stamp()
        try:
            self._current = self._read()
        except (OSError, ValueError) as error:
            names = ", ".join(str(path) for path in self._paths)
            raise InvalidInput.of(
                setting, f"expected a PEM certificate and its key in {names}: {error}"
            ) from error

    def current(self) -> Certificates:
        """Give what they hold, or what they held last while they can't be used."""
        with self._lock:
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp
                try:
                    self._current = self._read()
                    _log.info("certificate_renewed", file=str(self._paths[0]))
                except (OSError, ValueError) as error:
                    _log.warning("certificate_unusable", file=str(self._paths[0]), error=str(error))
            return self._current

    def _stamp(self) -> _Stamp:
        try:
            found = [path.stat() for path in self._paths]
        except OSError:
            return ()
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)

    def _read(self) -> Certificates:
        contents = self._contents()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certfile=self._paths[0], keyfile=self._paths[1])
        if contents[2:]:
            context.load_verify_locations(self._paths[2])
            context.verify_mode = ssl.CERT_REQUIRED
        if contents != self._contents():
            # The next handshake reads them again.
            self._seen = None
            raise ValueError("replaced while they were read")
        chain, key, *authorities = contents
        return Certificates(chain, key, authorities[0] if authorities else None, context)

    def _contents(self) -> list[bytes]:
        return [path.read_bytes() for path in self._paths]


def grpc_credentials(files: CertificateFiles) -> grpc.ServerCredentials:
    """Make the credentials of a gRPC port, which shows what the files hold at each handshake."""
    shown = files.current()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        now = files.current()
        if now is shown:
            return None
        shown = now
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(shown),
        renewed,  # type: ignore[arg-type]  # None, by gRPC's own words, means no change
        require_client_authentication=shown.authorities is not None,
    )


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(certificates.key, certificates.chain)], root_certificates=certificates.authorities
    )
