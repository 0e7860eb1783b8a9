"""`linnet runs compare`, `thresholds` and `profile`: questions about runs that have ended."""

from typing import Annotated, TypeVar

import typer
from linnet.v1 import evaluation_pb2, run_pb2
from linnet_runtime.errors import InvalidInput

from linnet_sdk.cli import insight_tables
from linnet_sdk.cli.session import Session, connected

_VARIANTS = {"float32": run_pb2.VARIANT_FLOAT32, "int8": run_pb2.VARIANT_INT8}
_SIDES = {
    "training": evaluation_pb2.SPLIT_SIDE_TRAINING,
    "validation": evaluation_pb2.SPLIT_SIDE_VALIDATION,
    "test": evaluation_pb2.SPLIT_SIDE_TEST,
}

T = TypeVar("T")

RunName = Annotated[str, typer.Argument(help="The run's id or full name.")]
VariantWord = Annotated[str, typer.Option("--variant", help="Whose scores: float32 or int8.")]
SideWord = Annotated[str, typer.Option("--side", help="Which rows: training, validation or test.")]


@connected
def compare(
    session: Session,
    run: RunName,
    other: Annotated[str, typer.Argument(help="The run that is compared with it.")],
    *,
    variant: VariantWord = "float32",
    side: SideWord = "validation",
) -> None:
    """Compare two runs on the rows that both scored, with an exact test of the difference."""
    found = session.client.compare(run, other, variant=_variant(variant), side=_side(side))
    session.show(found, lambda: "\n".join(insight_tables.comparison(run, other, found)))


@connected
def thresholds(
    session: Session,
    run: RunName,
    values: Annotated[
        list[float],
        typer.Argument(
            help="One threshold for all classes, or one a class in their order, 0 to 1."
        ),
    ],
    *,
    variant: VariantWord = "int8",
    side: SideWord = "validation",
) -> None:
    """Show what a run's scores become when the model may say that it is uncertain."""
    client = session.client
    found = client.thresholds(run, values, variant=_variant(variant), side=_side(side))
    if session.json:
        session.show(found, str)
        return
    classes = list(client.evaluation(run).classes)
    boxed = session.console.is_terminal
    session.console.print("\n".join(insight_tables.threshold_lines(found)), soft_wrap=True)
    session.console.print(insight_tables.uncertain_confusion(found, classes, boxed=boxed))


@connected
def profile(
    session: Session,
    run: RunName,
    *,
    target: Annotated[
        list[str] | None,
        typer.Option(help="A board, as `linnet targets` names it; repeatable. Else all boards."),
    ] = None,
    kernels: Annotated[str, typer.Option(help="Kernels other than the boards' own.")] = "",
    clock_hz: Annotated[
        int, typer.Option("--clock-hz", help="Clock other than the boards' own, in Hz.", min=0)
    ] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="Also run the models on the real interpreter.")
    ] = False,
) -> None:
    """Show RAM, flash and time of a run's models on any boards."""
    found = session.client.profiles(
        run, target or (), kernels=kernels, clock_hz=clock_hz, check_interpreter=check
    )
    if session.json:
        session.show(found, str)
        return
    console = session.console
    console.print(insight_tables.profiles(found, boxed=console.is_terminal))
    lines = insight_tables.profile_lines(found, every_board=not target)
    if lines:
        console.print("\n".join(lines), soft_wrap=True)


def _variant(word: str) -> run_pb2.Variant.ValueType:
    return _chosen("variant", word, _VARIANTS)


def _side(word: str) -> evaluation_pb2.SplitSide.ValueType:
    return _chosen("side", word, _SIDES)


def _chosen(field: str, word: str, offered: dict[str, T]) -> T:
    if word not in offered:
        raise InvalidInput.of(field, f"expected one of {', '.join(offered)}, received {word!r}")
    return offered[word]
