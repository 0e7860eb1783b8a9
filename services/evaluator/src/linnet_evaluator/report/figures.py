"""The page's figures, as plotly makes them; colours of text and grid are set by the page."""

import html
import json
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from linnet.v1 import evaluation_pb2, profile_pb2, run_pb2, training_service_pb2

from linnet_evaluator.report import words

# Okabe and Ito's palette, told apart by colour-blind people, then paler steps of it.
_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#B8A800",
    "#8A63C7", "#66A61E", "#A6761D", "#1B9E77",
)  # fmt: skip
_RIGHT, _WRONG = "#0072B2", "#D55E00"
_MARGIN = {"l": 56, "r": 16, "t": 16, "b": 48}
_MANY_POINTS = 3000


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _text(name: str) -> str:
    """Escape a name: plotly reads a little HTML in texts."""
    return html.escape(name)


def _layout(figure: go.Figure, x: str, y: str, *, height: int = 340) -> dict[str, Any]:
    figure.update_layout(
        template="none",
        height=height,
        margin=_MARGIN,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="closest",
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    figure.update_xaxes(title=x, automargin=True)
    figure.update_yaxes(title=y, automargin=True)
    made: dict[str, Any] = json.loads(figure.to_json())
    return made


def _lines(
    epochs: Sequence[run_pb2.Epoch], names: tuple[tuple[str, str], ...], title: str
) -> dict[str, Any]:
    figure = go.Figure()
    folds = sorted({epoch.fold for epoch in epochs})
    for fold in folds:
        of_fold = [epoch for epoch in epochs if epoch.fold == fold]
        for place, (field, label) in enumerate(names):
            with_value = [
                e
                for e in of_fold
                if not field.startswith("val_") or e.HasField(field)  # type: ignore[arg-type]  # the field is one of two literals
            ]
            if not with_value:
                continue
            name = label if len(folds) == 1 else f"{label}, {f'fold {fold}' if fold else 'final'}"
            figure.add_scatter(
                x=[e.number for e in with_value],
                y=[getattr(e, field) for e in with_value],
                name=name,
                mode="lines",
                line={
                    "color": _colour(place if len(folds) == 1 else fold),
                    "dash": "solid" if place else "dot",
                    "width": 2,
                },
            )
    return _layout(figure, "epoch", title)


def _threshold_figure(
    found: evaluation_pb2.ThresholdAnalysis, classes: Sequence[str]
) -> dict[str, Any]:
    grid = [step / 100 for step in range(len(found.overall.f1))]
    figure = go.Figure()
    for place, (field, label) in enumerate(
        (
            ("precision", "precision"),
            ("recall", "recall"),
            ("f1", "F1"),
            ("certain_share", "share of rows that are certain"),
        )
    ):
        figure.add_scatter(
            x=grid,
            y=list(getattr(found.overall, field)),
            name=label,
            mode="lines",
            line={"color": _colour(place), "width": 3 if field == "f1" else 2},
        )
    for place, (name, curve) in enumerate(zip(classes, found.classes, strict=False)):
        figure.add_scatter(
            x=grid,
            y=list(curve.f1),
            name=f"F1 of {_text(name)}",
            mode="lines",
            visible="legendonly",
            line={"color": _colour(place + 4), "width": 1, "dash": "dot"},
        )
    figure.add_vline(x=found.suggested, line_dash="dash", line_color="#888888")
    figure.update_yaxes(range=[0, 1.02])
    height = 380 + 10 * len(classes)  # the legend grows with the classes
    return _layout(figure, "threshold on the top score", "macro mean", height=height)


def _explorer_figure(found: evaluation_pb2.Explorer, classes: Sequence[str]) -> dict[str, Any]:
    """Two sets of traces: by class (shown first) and by right or wrong; the page switches."""
    points = found.points
    kind = go.Scattergl if len(points.x) > _MANY_POINTS else go.Scatter
    figure = go.Figure()
    ids = list(points.sample_id) or [f"row {row}" for row in points.row]
    right = [a == b for a, b in zip(points.label, points.prediction, strict=True)]

    def add(chosen: list[int], name: str, colour: str, *, shown: bool, group: str) -> None:
        figure.add_trace(
            kind(
                x=[points.x[i] for i in chosen],
                y=[points.y[i] for i in chosen],
                name=f"{name} ({len(chosen):,})",
                mode="markers",
                visible=shown,
                meta=group,
                text=[
                    f"{_text(ids[i])}<br>actual {_text(classes[points.label[i]])}, "
                    f"predicted {_text(classes[points.prediction[i]])}"
                    for i in chosen
                ],
                hovertemplate="%{text}<extra></extra>",
                marker={
                    "color": colour,
                    "size": [6 if right[i] else 9 for i in chosen],
                    "opacity": 0.75,
                    "symbol": ["circle" if right[i] else "x" for i in chosen],
                },
            )
        )

    # Wrong ones last: they lie on top, and the legend shows the mark of the first.
    order = sorted(range(len(right)), key=lambda i: not right[i])
    for c, name in enumerate(classes):
        of_class = [i for i in order if points.label[i] == c]
        if of_class:
            add(of_class, _text(name), _colour(c), shown=True, group="class")
    for wanted, name, colour in ((True, "right", _RIGHT), (False, "wrong", _WRONG)):
        chosen = [i for i, ok in enumerate(right) if ok is wanted]
        if chosen:
            add(chosen, name, colour, shown=False, group="right")
    figure.update_layout(modebar={"orientation": "v", "bgcolor": "rgba(0,0,0,0)"})
    made = _layout(figure, "", "", height=520)
    for axis in ("xaxis", "yaxis"):
        made["layout"][axis] |= {"showticklabels": False, "zeroline": False}
    return made


def _operator_figure(profile: profile_pb2.Profile) -> dict[str, Any]:
    operators = list(profile.operators)[::-1]
    figure = go.Figure(
        go.Bar(
            x=[op.latency_us / 1000 for op in operators],
            y=[f"{op.index} {op.kind}" for op in operators],
            orientation="h",
            marker={"color": _colour(0)},
            hovertemplate="%{y}: %{x:.3f} ms<extra></extra>",
        )
    )
    return _layout(figure, "milliseconds", "", height=max(180, 90 + 24 * len(operators)))


def all_figures(
    report: training_service_pb2.Report,
    evaluation: evaluation_pb2.Evaluation | None,
    explorer: evaluation_pb2.Explorer | None,
) -> dict[str, dict[str, Any]]:
    """Make every figure that the report has data for, by the id of its place in the page."""
    found: dict[str, dict[str, Any]] = {}
    if report.epochs:
        loss = (("loss", "training"), ("val_loss", "validation"))
        accuracy = (("accuracy", "training"), ("val_accuracy", "validation"))
        found["loss"] = _lines(report.epochs, loss, "loss")
        found["accuracy"] = _lines(report.epochs, accuracy, "accuracy")
    if evaluation is not None:
        for analysis in evaluation.thresholds:
            name = f"thresholds-{words.VARIANTS[analysis.variant]}"
            found[name] = _threshold_figure(analysis, evaluation.classes)
        if explorer is not None and explorer.points.x:
            found["explorer"] = _explorer_figure(explorer, evaluation.classes)
    for profile in report.profiles:
        if profile.operators:
            name = f"operators-{words.VARIANTS[profile.variant]}"
            found[name] = _operator_figure(profile)
    return found
