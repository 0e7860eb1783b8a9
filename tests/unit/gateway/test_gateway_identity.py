"""JWTs: keys that rotate, algorithms that are allowed, and tokens made to confuse."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from linnet_gateway.api.access import Role
from linnet_gateway.api.identity import Identity, OidcSettings, OidcTokens
from linnet_gateway.api.tokens_file import TokensFile
from linnet_runtime.errors import Unauthenticated, Unavailable

from tests.fakes.issuer import AUDIENCE, ISSUER, Issuer, serving


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def url(issuer: Issuer) -> Iterator[str]:
    with serving(issuer) as found:
        yield found


class Hands:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def identity(url: str, hands: Hands) -> Identity:
    return Identity([OidcTokens(OidcSettings(ISSUER, AUDIENCE, url), hands)])


async def refusal(identity: Identity, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await identity.of(f"Bearer {token}")
    return caught.value.reason


async def test_keys_rotate(identity: Identity, issuer: Issuer, hands: Hands) -> None:
    """A new key is found when a token names it; a key that is gone opens nothing any more."""
    old = issuer.token()
    assert (await identity.of(f"Bearer {old}")).role_in("demo") is Role.VIEWER
    issuer.rotate("two")
    new = issuer.token()
    assert await refusal(identity, new) == "UNKNOWN_KEY"
    hands.now_s += 11
    assert (await identity.of(f"Bearer {new}")).subject == "ann"
    assert await refusal(identity, old) == "UNKNOWN_KEY"


async def test_invented_key_ids_do_not_flood_the_issuer(
    identity: Identity, issuer: Issuer, hands: Hands
) -> None:
    """However many key ids are made up, the issuer is asked once in ten seconds."""
    for number in range(20):
        token = issuer.token(kid=f"invented-{number}")
        assert await refusal(identity, token) == "UNKNOWN_KEY"
    assert issuer.asked == 1
    hands.now_s += 11
    assert await refusal(identity, issuer.token(kid="once more")) == "UNKNOWN_KEY"
    assert issuer.asked == 2


async def test_known_keys_outlive_their_issuer(issuer: Issuer, hands: Hands) -> None:
    """An issuer that is away keeps nobody out whose key is known; nobody else gets in."""
    with serving(issuer) as url:
        identity = Identity([OidcTokens(OidcSettings(ISSUER, AUDIENCE, url), hands)])
        await identity.of(f"Bearer {issuer.token()}")
    hands.now_s += 3600
    await identity.of(f"Bearer {issuer.token()}")
    fresh = Identity([OidcTokens(OidcSettings(ISSUER, AUDIENCE, url), hands)])
    with pytest.raises(Unavailable) as caught:
        await fresh.of(f"Bearer {issuer.token()}")
    assert caught.value.reason == "NO_JWKS"


async def test_a_hanging_issuer_keeps_no_known_caller_waiting(
    identity: Identity, issuer: Issuer, hands: Hands
) -> None:
    """Made-up keys make one question of many; who has a known key is answered meanwhile."""
    known = f"Bearer {issuer.token()}"
    await identity.of(known)
    issuer.free.clear()
    hands.now_s += 700
    made_up = [
        asyncio.create_task(identity.of(f"Bearer {issuer.token(kid=f'made-up-{number}')}"))
        for number in range(20)
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(2):
        for _ in range(50):
            await identity.of(known)
    assert not any(task.done() for task in made_up)
    issuer.free.set()
    refused = await asyncio.gather(*made_up, return_exceptions=True)
    assert {error.reason for error in refused if isinstance(error, Unauthenticated)} == {
        "UNKNOWN_KEY"
    }
    assert issuer.asked == 2


async def test_an_issuer_that_is_away_is_not_asked_by_everybody(
    issuer: Issuer, hands: Hands
) -> None:
    """After a question that failed, too, none is asked within ten seconds, whoever calls."""
    with serving(issuer) as url:
        identity = Identity([OidcTokens(OidcSettings(ISSUER, AUDIENCE, url), hands)])
        good = issuer.jwks
        issuer.jwks = {"keys": "none"}
        for number in range(5):
            with pytest.raises(Unavailable) as caught:
                await identity.of(f"Bearer {issuer.token(kid=f'made-up-{number}')}")
            assert caught.value.reason == "NO_JWKS"
        assert issuer.asked == 1
        issuer.jwks = good
        hands.now_s += 11
        assert (await identity.of(f"Bearer {issuer.token()}")).subject == "ann"
        assert issuer.asked == 2


async def test_a_token_says_until_when_it_counts(identity: Identity, issuer: Issuer) -> None:
    """Whoever is let in with a JWT is known until it expires, and half a minute of clock skew."""
    ends = datetime.now(UTC) + timedelta(minutes=3)
    principal = await identity.of(f"Bearer {issuer.token(exp=ends)}")
    assert principal.expires_at_s == pytest.approx(ends.timestamp() + 30, abs=1)


async def test_tokens_are_withdrawn_by_writing_their_file(tmp_path: Path, hands: Hands) -> None:
    """A tokens file that changes counts within a second; one that can't be read changes nothing."""

    def write(*names: str) -> None:
        new = tmp_path / "new.json"
        entries = [
            {
                "subject": name,
                "sha256": hashlib.sha256(name.encode()).hexdigest(),
                "roles": {"demo": "viewer"},
            }
            for name in names
        ]
        new.write_text(json.dumps(entries))
        new.replace(path)

    path = tmp_path / "tokens.json"
    write("ann")
    identity = Identity([TokensFile(path, hands)])
    assert (await identity.of("Bearer ann")).subject == "ann"
    write("bob", "eve")
    hands.now_s += 2
    assert await refusal(identity, "ann") == "BAD_TOKEN"
    assert (await identity.of("Bearer bob")).subject == "bob"
    path.write_text('[{"subject": "half')
    hands.now_s += 2
    assert (await identity.of("Bearer bob")).subject == "bob"
    path.unlink()
    hands.now_s += 2
    assert (await identity.of("Bearer bob")).subject == "bob"
    write("ann")
    hands.now_s += 2
    assert (await identity.of("Bearer ann")).subject == "ann"


def by_hand(header: dict[str, Any], claims: dict[str, Any], key: bytes) -> str:
    """Make a token with an HMAC, as no library would let one."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (header, claims)
    ]
    text = ".".join(parts)
    signature = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def test_made_up_signatures_are_refused(identity: Identity, issuer: Issuer) -> None:
    """No algorithm, an HMAC keyed with the public key, an oct key, cut and swapped parts: none."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "exp": (datetime.now(UTC) + timedelta(hours=1)).timestamp(),
        "linnet_roles": {"*": "admin"},
    }
    public = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    shared = base64.urlsafe_b64encode(b"k" * 32).rstrip(b"=").decode()
    issuer.jwks["keys"].append({"kty": "oct", "kid": "shared", "k": shared, "alg": "HS256"})
    good = issuer.token()
    head, body, signature = good.split(".")
    other = by_hand({"alg": "RS256", "kid": "one"}, claims, b"x").split(".")[1]
    for token in (
        by_hand({"alg": "none", "kid": "one"}, claims, b""),
        by_hand({"alg": "HS256", "kid": "one"}, claims, public),
        by_hand({"alg": "HS256", "kid": "shared"}, claims, b"k" * 32),
        f"{head}.{body}.",
        f"{head}.{other}.{signature}",
        f"{head}.{body}.{signature[:-4]}",
        "..",
        "a.b.c",
    ):
        assert await refusal(identity, token) in {"BAD_TOKEN", "UNKNOWN_KEY"}
    assert (await identity.of(f"Bearer {good}")).role_in("other") is Role.NONE


@pytest.mark.parametrize("claim", ["exp", "iss", "aud", "sub"])
async def test_no_claim_may_be_left_out(identity: Identity, issuer: Issuer, claim: str) -> None:
    """A well-signed token without issuer, audience, subject or expiry is refused."""
    assert await refusal(identity, issuer.token(**{claim: None})) == "BAD_TOKEN"


async def test_a_token_of_the_future_waits(identity: Identity, issuer: Issuer) -> None:
    """A token is refused before its time, beyond half a minute of clock skew."""
    soon = datetime.now(UTC) + timedelta(seconds=10)
    late = datetime.now(UTC) + timedelta(minutes=5)
    await identity.of(f"Bearer {issuer.token(nbf=soon)}")
    assert await refusal(identity, issuer.token(nbf=late)) == "BAD_TOKEN"
