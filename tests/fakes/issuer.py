"""An OIDC issuer: RSA keys that rotate, tokens signed by them, and an address of its keys."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER, AUDIENCE = "https://issuer.test", "linnet"


class Issuer:
    """Signs with its newest key; `asked` counts how often its keys were asked for.

    It answers while `free` is set.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.free = threading.Event()
        self.free.set()
        self.jwks: dict[str, Any] = {"keys": []}
        self.rotate("one")

    def rotate(self, kid: str) -> None:
        """Replace the key by a new one."""
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = kid
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        self.jwks = {"keys": [public | {"kid": kid, "use": "sig", "alg": "RS256"}]}

    def token(self, *, key: Any = None, algorithm: str = "RS256", **changes: Any) -> str:
        """Sign a token of a viewer of project demo; a claim that is changed to None is left out."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ann",
            "exp": datetime.now(UTC) + timedelta(minutes=5),
            "linnet_roles": {"demo": "viewer"},
        }
        headers = {"kid": changes.pop("kid", self.kid)}
        told = {name: value for name, value in (claims | changes).items() if value is not None}
        return jwt.encode(told, key or self.key, algorithm, headers=headers)


@contextmanager
def serving(issuer: Issuer) -> Iterator[str]:
    """Serve the issuer's keys."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            issuer.free.wait(30)
            body = json.dumps(issuer.jwks).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    issuer.free.set()
    server.shutdown()
    server.server_close()
    thread.join()
