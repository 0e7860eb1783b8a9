"""The chart, rendered with each set of values in its folder ci."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "linnet"
VALUE_SETS = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
RELEASE_NAMESPACE = "linnet"

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


@pytest.fixture(scope="session")
def chart_folder() -> Path:
    return CHART


@pytest.fixture(scope="session")
def render() -> Render:
    """Renders the chart with values given as nested keywords and gives its objects."""
    chart = helm_python.Chart.load(str(CHART))

    def rendered(**values: Any) -> list[Manifest]:
        files = chart.render(values, name="linnet", namespace=RELEASE_NAMESPACE)
        return [
            document
            for name, text in files.items()
            if not name.endswith("NOTES.txt")
            for document in yaml.safe_load_all(text)
            if document
        ]

    return rendered


@pytest.fixture(scope="session", params=VALUE_SETS)
def value_set(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each set of values in turn."""
    values: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{request.param}.yaml").read_text())
    return values


@pytest.fixture(scope="session")
def objects(render: Render, value_set: dict[str, Any]) -> list[Manifest]:
    """What each set of values renders to."""
    return render(**value_set)
