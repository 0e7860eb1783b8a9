"""Who calls: static tokens of local use, or JWTs of an OIDC issuer."""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from linnet_runtime.errors import Unauthenticated
from linnet_runtime.rpc.admission import bearer_token

from linnet_gateway.api.access import EVERY_PROJECT, Principal, Role
from linnet_gateway.api.issuer_keys import IssuerKeys

_MAX_TOKEN_CHARACTERS = 16_384


class Authenticator(Protocol):
    """Knows somebody by his token."""

    async def identify(self, token: str) -> Principal | None:
        """Say who presents a token; None if it is none of this authenticator's.

        Raises:
            Unauthenticated: It is one, and it is not valid.
        """
        ...


class StaticTokens:
    """Tokens that never change, known by their SHA-256."""

    def __init__(self, principals: Mapping[str, Principal]) -> None:
        self._principals = {bytes.fromhex(digest): p for digest, p in principals.items()}

    @staticmethod
    def admin(token: str) -> "StaticTokens":
        """Know one token, whose bearer is admin of every project."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        return StaticTokens({digest: Principal("local-admin", {EVERY_PROJECT: Role.ADMIN})})

    async def identify(self, token: str) -> Principal | None:
        """Say who presents a token."""
        given = hashlib.sha256(token.encode()).digest()
        found = None
        for digest, principal in self._principals.items():
            if hmac.compare_digest(given, digest):
                found = principal
        return found


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """How JWTs are checked.

    Attributes:
        issuer: Their `iss`.
        audience: Their `aud`.
        jwks_url: Where the issuer's keys are.
        algorithms: The only algorithms that are accepted; never `none`, never a symmetric one.
        roles_claim: The claim with roles: `{"project": "viewer"}` or `["project:viewer"]`.
        leeway_s: How far clocks may differ, in seconds.
    """

    issuer: str
    audience: str
    jwks_url: str
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    roles_claim: str = "linnet_roles"
    leeway_s: float = 30.0


class OidcTokens:
    """JWTs of one issuer; its keys are read when one is needed and read anew when one is new."""

    def __init__(
        self, settings: OidcSettings, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Make one.

        Args:
            settings: How JWTs are checked.
            monotonic: Gives seconds that never go back.
        """
        self._settings = settings
        self._keys = IssuerKeys(settings.jwks_url, monotonic)

    async def identify(self, token: str) -> Principal | None:
        """Say who presents a token."""
        if token.count(".") != 2:  # noqa: PLR2004 - header, claims, signature
            return None
        import jwt

        settings = self._settings
        try:
            key_id = str(jwt.get_unverified_header(token).get("kid", ""))
            key = await self._keys.key(key_id)
            claims = jwt.decode(
                token,
                key,
                algorithms=list(settings.algorithms),
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired", reason="EXPIRED_TOKEN") from None
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(
                f"the token is not valid: {type(error).__name__}", reason="BAD_TOKEN"
            ) from None
        return Principal(
            str(claims["sub"]),
            _roles(claims.get(settings.roles_claim)),
            expires_at_s=float(claims["exp"]) + settings.leeway_s,
        )


def _roles(claim: Any) -> dict[str, Role]:
    pairs: Sequence[tuple[str, str]] = ()
    if isinstance(claim, dict):
        pairs = [(str(project), str(role)) for project, role in claim.items()]
    elif isinstance(claim, list):
        pairs = [(p, r) for p, _, r in (str(item).partition(":") for item in claim)]
    return {p: Role[r.upper()] for p, r in pairs if r.upper() in Role.__members__}


class Identity:
    """Asks each authenticator in turn."""

    def __init__(self, authenticators: Sequence[Authenticator]) -> None:
        """Make one; with no authenticator everybody is let in, as on a developer's loopback."""
        self._authenticators = tuple(authenticators)

    async def of(self, authorization: str) -> Principal:
        """Say who sends an `authorization` header; raises `Unauthenticated`."""
        if not self._authenticators:
            return Principal("anonymous", {EVERY_PROJECT: Role.ADMIN})
        token = bearer_token(authorization)
        if len(token) <= _MAX_TOKEN_CHARACTERS:
            for authenticator in self._authenticators:
                principal = await authenticator.identify(token)
                if principal is not None:
                    return principal
        raise Unauthenticated("the token is not one that this gateway knows", reason="BAD_TOKEN")
