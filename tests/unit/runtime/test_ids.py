"""Ids and names are valid and distinct."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linnet_runtime.errors import InvalidInput
from linnet_runtime.ids import ID_PATTERN, ResourceName, label_safe, new_id, parse_name


@given(st.text(max_size=100))
def test_any_text_gives_a_valid_label(text):
    """A label of any text is a DNS label of at most 63 characters."""
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label_safe(text))


@given(st.sets(st.text(max_size=80), min_size=2, max_size=10))
def test_distinct_texts_give_distinct_labels(texts):
    """No two texts share a label."""
    assert len({label_safe(text) for text in texts}) == len(texts)


def test_new_ids_are_valid_names():
    """A made id fits the pattern of ids and parses as part of a name."""
    made = new_id("run")

    assert ID_PATTERN.fullmatch(made)
    assert parse_name(f"projects/p/runs/{made}", "runs") == ResourceName("p", "runs", made)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "projects/p",
        "projects/p/runs/",
        "projects/../runs/r",
        "projects/p/runs/r/x",
        "projects/p/batches/b",
    ],
)
def test_a_wrong_name_is_refused_with_its_field(name):
    """A name of another shape is refused, the field named."""
    with pytest.raises(InvalidInput) as caught:
        parse_name(name, "runs", field="run.predecessor")

    assert caught.value.violations[0].field == "run.predecessor"
