"""Head of the page, settings, and notes on curves and explorer."""

from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from linnet.v1 import evaluation_pb2, run_pb2, training_service_pb2

from linnet_evaluator.report import words

_LONG_LIST = 12


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Give the leaves of a JSON value with their paths."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value, start=1):
            leaves = [f"{k} {v}" for k, v in _flat(item)]
            yield f"{path} {number}", ", ".join(leaves)
    elif isinstance(value, list):
        shown = ", ".join(str(item) for item in value[:_LONG_LIST])
        yield path, shown + (f" and {len(value) - _LONG_LIST} more" if value[_LONG_LIST:] else "")
    else:
        yield path, str(value)


def _settings(run: run_pb2.Run) -> list[tuple[str, str]]:
    told = json_format.MessageToDict(run.spec, preserving_proto_field_name=True)
    script = told.get("architecture", {}).pop("script", None)
    rows = [(path, _plain(value)) for path, value in _flat(told)]
    if script is not None:
        rows.append(("architecture.script", f"{len(script.splitlines())} lines of Python"))
    return rows


def _plain(value: str) -> str:
    """Drop the prefixes of enum names: LAYER_KIND_DENSE is dense."""
    plain = []
    for word in value.split(" "):
        for prefix in _ENUM_PREFIXES:
            if word.startswith(prefix):
                plain.append(word.removeprefix(prefix).lower())
                break
        else:
            plain.append(word)
    return " ".join(plain)


_ENUM_PREFIXES = (
    "LAYER_KIND_",
    "CLASS_BALANCE_",
    "OPTIMIZER_",
    "SCHEDULE_KIND_",
    "INPUT_SCALING_",
    "SPLIT_METHOD_",
    "ACTIVATION_",
    "PADDING_",
    "POOLING_",
    "TENSOR_IO_",
)


def _state(run: run_pb2.Run) -> str:
    return run_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_").lower()


def _best_sets(
    evaluation: evaluation_pb2.Evaluation,
) -> dict[int, evaluation_pb2.SetEvaluation]:
    """Give each variant's set that says most: test, else validation, else what there is."""
    best: dict[int, evaluation_pb2.SetEvaluation] = {}
    for side in words.SIDE_ORDER:
        for found in evaluation.sets:
            if found.side == side:
                best.setdefault(found.variant, found)
    return best


def _cards(report: training_service_pb2.Report) -> list[dict[str, str]]:
    cards = []
    for variant, found in _best_sets(report.evaluation).items():
        interval = found.scores.intervals.get("accuracy")
        note = f"{found.sample_count:,} {words.SIDES[found.side]} rows"
        if interval is not None:
            note = f"95 %: {interval.low * 100:.1f} to {interval.high * 100:.1f}; {note}"
        cards.append(
            {
                "name": f"accuracy, {words.VARIANTS[variant]}",
                "value": f"{found.scores.accuracy * 100:.1f} %",
                "note": note,
            }
        )
    for profile in report.profiles:
        fits = "fits" if profile.verdict.fits else "does not fit"
        ram, flash = words.size(profile.ram.total_bytes), words.size(profile.flash.total_bytes)
        cards.append(
            {
                "name": f"{words.VARIANTS[profile.variant]} on {_target(report, profile.target)}",
                "value": words.duration_ms(profile.latency.milliseconds),
                "note": f"{ram} RAM, {flash} flash; {fits}",
            }
        )
    return cards


def _target(report: training_service_pb2.Report, target: str) -> str:
    same = report.target.id == target and report.target.display_name
    return report.target.display_name if same else target


def summary(report: training_service_pb2.Report) -> dict[str, Any]:
    """Make the head of the page."""
    run = report.run
    created = run.create_time.ToDatetime().strftime("%Y-%m-%d %H:%M UTC")
    return {
        "title": run.display_name or run.name.rsplit("/", 1)[-1] or "run",
        "name": run.name,
        "state": _state(run),
        "created": created if run.HasField("create_time") else "",
        "failure": run.failure.message if run.HasField("failure") else "",
        "warnings": list(run.warnings),
        "cards": _cards(report),
        "settings": _settings(run),
        "trained": (
            f"{run.summary.epochs} epochs in {run.summary.train_seconds:.1f} s, "
            f"best epoch {run.summary.best_epoch}, {run.summary.parameter_count:,} parameters"
            if run.summary.epochs
            else ""
        ),
        "digest": report.evaluation.dataset_digest,
        "fingerprint": report.evaluation.fingerprint,
        "models": sorted(
            {(words.VARIANTS[s.variant], s.model_sha256) for s in report.evaluation.sets}
            - {("float32", "")}
        ),
    }


def explorer(found: evaluation_pb2.Explorer) -> dict[str, Any]:
    """Describe the explorer's picture."""
    sources = {
        evaluation_pb2.FEATURE_SOURCE_INPUT: "input features",
        evaluation_pb2.FEATURE_SOURCE_EMBEDDING: "embeddings (last layer before the classifier)",
    }
    methods = {
        evaluation_pb2.PROJECTION_METHOD_PCA: "PCA",
        evaluation_pb2.PROJECTION_METHOD_UMAP: "UMAP",
        evaluation_pb2.PROJECTION_METHOD_TSNE: "t-SNE",
    }
    count = len(found.points.x)
    wrong = sum(a != b for a, b in zip(found.points.label, found.points.prediction, strict=True))
    return {
        "source": sources.get(found.source, "input features"),
        "method": methods.get(found.method, "UMAP"),
        "variant": words.VARIANTS[found.variant],
        "count": count,
        "wrong": wrong,
        "row_count": max(found.row_count, count),
    }
