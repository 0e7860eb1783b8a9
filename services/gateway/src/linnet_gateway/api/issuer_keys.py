"""The keys of an OIDC issuer, read from it in the background."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from linnet_runtime import logs
from linnet_runtime.errors import Unauthenticated, Unavailable

_LIFE_S = 600.0
_PAUSE_S = 10.0
_TIMEOUT_S = 5.0
_MAX_BYTES = 1024 * 1024
_PIECE_BYTES = 65_536


class IssuerKeys:
    """The public keys of one issuer by their ids.

    One that is known is given at once, whatever the issuer does: nobody waits for it because
    somebody else presents a key that is not.
    """

    def __init__(self, url: str, monotonic: Callable[[], float]) -> None:
        """Make one.

        Args:
            url: Where the issuer's keys are.
            monotonic: Gives seconds that never go back.
        """
        self._url = url
        self._monotonic = monotonic
        self._keys: dict[str, Any] = {}
        self._stale_at = self._next_try_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._log = logs.get("linnet.identity")

    async def key(self, key_id: str) -> Any:
        """Give a key; waits for the issuer only if it is not known.

        Raises:
            Unauthenticated: The issuer has no such key.
            Unavailable: The issuer's keys were never read, and can't be.
        """
        if self._monotonic() >= self._stale_at or key_id not in self._keys:
            self._begin_reading()
        if key_id not in self._keys and self._reading is not None:
            await asyncio.shield(self._reading)
        if key_id in self._keys:
            return self._keys[key_id]
        if not self._keys:
            raise Unavailable("the issuer's keys can't be read", reason="NO_JWKS")
        raise Unauthenticated("the token's key is not one of the issuer's", reason="UNKNOWN_KEY")

    def _begin_reading(self) -> None:
        # Whoever invents key ids must not make us ask often, whether the issuer answers or not.
        if self._reading is None and self._monotonic() >= self._next_try_at:
            self._next_try_at = self._monotonic() + _PAUSE_S
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        import jwt

        try:
            document = await asyncio.to_thread(self._fetch)
            keys = jwt.PyJWKSet.from_dict(document).keys
        except (OSError, ValueError, AttributeError, jwt.PyJWTError) as error:
            self._log.warning("issuer_keys_unread", error=type(error).__name__)
        else:
            self._keys = {str(key.key_id): key for key in keys if key.key_id}
            self._stale_at = self._monotonic() + _LIFE_S
        finally:
            self._reading = None

    def _fetch(self) -> Any:
        ends_at = time.monotonic() + _TIMEOUT_S
        data = b""
        with urllib.request.urlopen(self._url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - the operator's own URL
            while piece := answer.read1(_PIECE_BYTES):
                data += piece
                # The timeout is that of one read: an issuer that drips would never run into it.
                if len(data) > _MAX_BYTES or time.monotonic() > ends_at:
                    raise ValueError("the issuer's keys are too long, or come too slowly")
        return json.loads(data)
