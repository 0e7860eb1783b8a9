"""A run's report as one self-contained page.

The page makes no request: its content policy forbids every one. Tables need no script; curves and
the explorer are drawn by plotly.js, which travels in the page, compressed.
"""

import base64
import gzip
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import json_format
from jinja2 import Environment, PackageLoader, StrictUndefined
from linnet.v1 import evaluation_pb2, training_service_pb2

from linnet_evaluator.report import (
    device_view,
    failure_view,
    figures,
    scores_view,
    summary_view,
    threshold_view,
)

_JS_LEVEL = 9


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("linnet_evaluator.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{share * 100:.1f} %"
    return environment


@cache
def _plotly_base64() -> str:
    source = files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(source, _JS_LEVEL, mtime=0)).decode()


def _resource(name: str) -> str:
    return files("linnet_evaluator.report").joinpath("templates", name).read_text("utf-8")


def _script_json(value: Any) -> str:
    """Write JSON that can't end the script element that it stands in."""
    return json.dumps(value).replace("<", "\\u003c").replace("\u2028", "\\u2028")


def render(
    report: training_service_pb2.Report | Mapping[str, Any],
    explorer: evaluation_pb2.Explorer | None = None,
) -> str:
    """Make the page of a report.

    Args:
        report: The message, or its JSON mapping.
        explorer: Points of the feature explorer; the report's own where it has them.

    Returns:
        An HTML document that stands alone.
    """
    if not isinstance(report, training_service_pb2.Report):
        report = json_format.ParseDict(
            dict(report), training_service_pb2.Report(), ignore_unknown_fields=True
        )
    if explorer is None and report.DESCRIPTOR.fields_by_name.get("explorer") is not None:
        found: Any = report
        explorer = found.explorer if found.HasField("explorer") else None
    evaluation = report.evaluation if report.HasField("evaluation") else None
    drawn = figures.all_figures(report, evaluation, explorer)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            css=_resource("page.css"),
            js=_resource("page.js"),
            plotly=_plotly_base64() if drawn else "",
            figures=_script_json(drawn),
            drawn=set(drawn),
            summary=summary_view.summary(report),
            scores=None if evaluation is None else scores_view.scores(evaluation),
            thresholds=None if evaluation is None else threshold_view.thresholds(evaluation),
            failures=None if evaluation is None else failure_view.failures(evaluation),
            explorer=None if explorer is None else summary_view.explorer(explorer),
            device=device_view.device(report),
        )
    )
