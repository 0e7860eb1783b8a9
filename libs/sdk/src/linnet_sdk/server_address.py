"""Where the gateway is and who we are there: option, environment, or the running local mode."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from linnet_runtime.errors import InvalidInput, Unavailable

ENDPOINT_FILE = "endpoint.json"


Token = str | Callable[[], str]
"""A token, or what gives the one that is good now; it is called for each call, from any thread."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A gateway: `host:port`, and the token that it asks for.

    Attributes:
        target: `host:port`.
        token: API token, empty if the gateway asks for none. A function is asked for one at each
            call: streams go on with a new token when theirs expires.
        tls: Whether the connection is encrypted.
        ca_file: Authorities of the gateway's certificate, PEM; the usual ones if left out.
        certificate_file: Our own certificate chain, for a gateway that asks for one, PEM.
        key_file: Its key, PEM.
    """

    target: str
    token: Token = field(default="", repr=False)
    tls: bool = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def token_now(self) -> str:
        """Give the token that is good now; empty if the gateway asks for none."""
        return self.token if isinstance(self.token, str) else self.token()


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A token in a file, which somebody else renews; it is read at each call."""

    path: Path

    def __call__(self) -> str:
        """Read the token; raises `InvalidInput` if the file can't be read."""
        try:
            return self.path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise InvalidInput.of(
                "LINNET_TOKEN_FILE", f"expected a file with a token: {error}"
            ) from error


def parse(text: str, token: Token = "") -> ServerAddress:
    """Take `host:port`, `http://host:port` or `https://host[:port]` apart.

    Raises:
        InvalidInput: It is none of these.
    """
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port or (443 if parts.scheme == "https" else None)
    except ValueError:
        port = None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port is None:
        raise InvalidInput.of(
            "server", f"expected host:port, http://host:port or https://host, received {text!r}"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return ServerAddress(f"{host}:{port}", token, tls=parts.scheme == "https")


def resolve(
    server: str | None, token: Token | None, home: Path, environ: Mapping[str, str]
) -> ServerAddress:
    """Find the gateway to speak to.

    The option wins over LINNET_SERVER, and both over the local mode that runs on `home`. A token
    may come from LINNET_TOKEN or, read anew at each call, from LINNET_TOKEN_FILE; that of the local
    mode is used for its own address only. LINNET_CA_FILE, LINNET_CERTIFICATE_FILE and
    LINNET_KEY_FILE name what TLS needs where the usual authorities are not enough.

    Raises:
        InvalidInput: The address can't be read.
        Unavailable: None is named and no local mode runs on `home`.
    """
    token = token or environ.get("LINNET_TOKEN")
    if not token and environ.get("LINNET_TOKEN_FILE"):
        token = TokenFile(Path(environ["LINNET_TOKEN_FILE"]))
    named = server or environ.get("LINNET_SERVER")
    if named:
        return _with_files(parse(named, token or ""), environ)
    path = home / ENDPOINT_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return parse(str(found["address"]), token or str(found["token"]))
    except FileNotFoundError as error:
        raise Unavailable(
            f"no server: start one with `linnet up`, or name one with --server or LINNET_SERVER "
            f"(no local mode runs on {home})",
            reason="NO_SERVER",
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput.of(str(path), f"expected an address and a token: {error}") from error


def _with_files(address: ServerAddress, environ: Mapping[str, str]) -> ServerAddress:
    def path(variable: str) -> Path | None:
        return Path(environ[variable]) if environ.get(variable) else None

    return replace(
        address,
        ca_file=path("LINNET_CA_FILE"),
        certificate_file=path("LINNET_CERTIFICATE_FILE"),
        key_file=path("LINNET_KEY_FILE"),
    )
