"""The filter of ListRuns: `state = "FAILED" AND labels.line = "a3"`."""

import re

from linnet_runtime.errors import InvalidInput
from linnet_runtime.ids import parse_name

from linnet_gateway.queries import RunFilter
from linnet_gateway.states import RunState

_TERM = re.compile(
    r'\s*(?P<field>state|batch|dataset|labels\.(?P<key>[^\s="]{1,63}))\s*=\s*'
    r'"(?P<value>(?:[^"\\]|\\["\\])*)"\s*'
)
_EXPECTED = 'expected terms joined by AND, each state, batch, dataset or labels.KEY = "value"'


_COLLECTIONS = {"batch": "batches", "dataset": "datasets"}


def parse(project: str, text: str) -> RunFilter:
    """Read a filter of a project's runs; an empty one means all.

    Raises:
        InvalidInput: It is no such filter; says where it stops being one.
    """
    states: set[RunState] = set()
    found: dict[str, str] = {}
    labels: dict[str, str] = {}
    position = 0
    while text.strip():
        match = _TERM.match(text, position)
        if match is None:
            raise InvalidInput.of("filter", f"{_EXPECTED}, received {text[position:][:80]!r}")
        value = re.sub(r'\\(["\\])', r"\1", match["value"])
        field = match["field"]
        if field in found or (field == "state" and states) or match["key"] in labels:
            raise InvalidInput.of("filter", f"expected {field} once, received it again")
        if match["key"] is not None:
            labels[match["key"]] = value
        elif field == "state":
            states.add(_state(value))
        else:
            found[field] = _id(project, field, value)
        position = match.end()
        if position == len(text):
            break
        if not text.startswith("AND", position):
            raise InvalidInput.of("filter", f"{_EXPECTED}, received {text[position:][:80]!r}")
        position += len("AND")
    return RunFilter(
        states=frozenset(states),
        batch=found.get("batch", ""),
        dataset=found.get("dataset", ""),
        labels=labels,
    )


def _id(project: str, field: str, value: str) -> str:
    if "/" not in value:
        return value
    name = parse_name(value, _COLLECTIONS[field], field="filter")
    if name.project != project:
        raise InvalidInput.of(
            "filter", f"expected a {field} of project {project!r}, received {value!r}"
        )
    return name.id


def _state(value: str) -> RunState:
    try:
        return RunState[value.removeprefix("RUN_STATE_")]
    except KeyError:
        known = ", ".join(state.name for state in RunState)
        raise InvalidInput.of(
            "filter", f"expected one of {known} as state, received {value!r}"
        ) from None
