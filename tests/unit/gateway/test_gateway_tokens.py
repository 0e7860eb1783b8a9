"""Tokens of trainers are bound to what they are for, and nothing else passes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linnet_gateway.trainers.tokens import LaunchClaim, RunClaim, Tokens
from linnet_runtime.errors import Unauthenticated

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LIFE = timedelta(hours=1)
TOKENS = Tokens(b"k" * 32)
RUN = RunClaim("u1", 2, "l1")


def reason(token: str, now: datetime = NOW, tokens: Tokens = TOKENS) -> str:
    with pytest.raises(Unauthenticated) as caught:
        tokens.read_run(token, now)
    return caught.value.reason


def test_a_token_says_what_was_put_in() -> None:
    """Both kinds of claims come back as they were."""
    assert TOKENS.read_run(TOKENS.for_run(RUN, NOW, LIFE), NOW) == RUN
    claim = LaunchClaim("l1")
    assert TOKENS.read_launch(TOKENS.for_launch(claim, NOW, LIFE), NOW) == claim


def test_an_expired_token_is_refused() -> None:
    """It works until its last second and not after."""
    token = TOKENS.for_run(RUN, NOW, LIFE)
    assert TOKENS.read_run(token, NOW + LIFE - timedelta(seconds=1)) == RUN
    assert reason(token, NOW + LIFE) == "EXPIRED_TOKEN"


def test_a_token_of_another_kind_or_key_is_refused() -> None:
    """A launch token is no run token, and another key signs nothing here."""
    assert reason(TOKENS.for_launch(LaunchClaim("l1"), NOW, LIFE)) == "WRONG_TOKEN"
    assert reason(Tokens(b"x" * 32).for_run(RUN, NOW, LIFE)) == "FORGED_TOKEN"
    assert reason("") == "WRONG_TOKEN"
    assert reason("lnr." + "a" * 5000 + ".b") == "WRONG_TOKEN"


@given(place=st.integers(0, 1000), character=st.characters(codec="ascii"))
def test_a_changed_token_is_refused(place: int, character: str) -> None:
    """Whatever single character is changed, the token is worth nothing."""
    token = TOKENS.for_run(RUN, NOW, LIFE)
    place %= len(token)
    # The last character of each part holds bits that base64 does not use.
    changed = token[:place] + character + token[place + 1 :]
    try:
        found = TOKENS.read_run(changed, NOW)
    except Unauthenticated:
        return
    assert found == RUN
    assert changed == token or place == len(token) - 1


@given(st.text(max_size=200))
def test_no_text_is_a_token(text: str) -> None:
    """Arbitrary text is refused as unauthenticated and raises nothing else."""
    assert reason("lnr." + text) in {"FORGED_TOKEN", "WRONG_TOKEN"}
