"""Tokens that trainers present: signed, bound to what they are for, and short-lived.

A launch token only gets assignments of its launch. A run token only reports for one attempt of one
run. Whether launch and attempt still count is decided by the records at each use.
"""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from linnet_runtime.errors import Unauthenticated

_LAUNCH = "lnl"
_RUN = "lnr"
_MAX_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class LaunchClaim:
    """What a launch token says."""

    launch_uid: str


@dataclass(frozen=True, slots=True)
class RunClaim:
    """What a run token says."""

    run_uid: str
    attempt: int
    launch_uid: str


class Tokens:
    """Mints and checks tokens with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def for_launch(self, claim: LaunchClaim, now: datetime, life: timedelta) -> str:
        """Mint a launch token."""
        return self._mint(_LAUNCH, [claim.launch_uid], now + life)

    def for_run(self, claim: RunClaim, now: datetime, life: timedelta) -> str:
        """Mint a run token."""
        return self._mint(_RUN, [claim.run_uid, claim.attempt, claim.launch_uid], now + life)

    def read_launch(self, token: str, now: datetime) -> LaunchClaim:
        """Check a launch token; raises `Unauthenticated`."""
        values = self._read(_LAUNCH, token, now)
        return LaunchClaim(str(values[0]))

    def read_run(self, token: str, now: datetime) -> RunClaim:
        """Check a run token; raises `Unauthenticated`."""
        values = self._read(_RUN, token, now)
        return RunClaim(str(values[0]), int(values[1]), str(values[2]))

    def _mint(self, kind: str, values: list[str | int], expires: datetime) -> str:
        body = json.dumps([*values, int(expires.timestamp())], separators=(",", ":")).encode()
        text = f"{kind}.{_encode(body)}"
        return f"{text}.{_encode(self._signature(text))}"

    def _signature(self, text: str) -> bytes:
        return hmac.new(self._key, text.encode(), hashlib.sha256).digest()

    def _read(self, kind: str, token: str, now: datetime) -> list[str | int]:
        text, _, signature = token.rpartition(".")
        if len(token) > _MAX_CHARACTERS or not text.startswith(f"{kind}."):
            raise Unauthenticated("expected another kind of token", reason="WRONG_TOKEN")
        try:
            genuine = hmac.compare_digest(_decode(signature), self._signature(text))
        except (ValueError, binascii.Error):
            genuine = False
        if not genuine:
            raise Unauthenticated("the token's signature is wrong", reason="FORGED_TOKEN")
        values: list[str | int] = json.loads(_decode(text.partition(".")[2]))
        expires = values.pop()
        if now.timestamp() >= float(expires):
            raise Unauthenticated("the token has expired", reason="EXPIRED_TOKEN")
        return values


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
