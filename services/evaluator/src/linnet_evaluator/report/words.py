"""Names of enums and numbers, as people read them."""

from linnet.v1 import evaluation_pb2, profile_pb2, run_pb2

VARIANTS: dict[int, str] = {
    run_pb2.VARIANT_FLOAT32: "float32",
    run_pb2.VARIANT_INT8: "int8",
    run_pb2.VARIANT_UNSPECIFIED: "model",
}
SIDES: dict[int, str] = {
    evaluation_pb2.SPLIT_SIDE_TEST: "test",
    evaluation_pb2.SPLIT_SIDE_VALIDATION: "validation",
    evaluation_pb2.SPLIT_SIDE_TRAINING: "training",
    evaluation_pb2.SPLIT_SIDE_OUT_OF_FOLD: "out of fold",
}
SIDE_ORDER = tuple(SIDES)
BASES: dict[int, str] = {
    profile_pb2.BASIS_UNSPECIFIED: "basis not stated",
    profile_pb2.BASIS_MEASURED: "measured",
    profile_pb2.BASIS_SIMULATED: "simulated",
    profile_pb2.BASIS_CALIBRATED: "calibrated",
    profile_pb2.BASIS_ESTIMATED: "estimated",
}
_KIB = 1024


def size(count: float) -> str:
    """Write bytes."""
    if abs(count) < 10 * _KIB:
        return f"{count:,.0f} B"
    if abs(count) < _KIB * _KIB:
        return f"{count / _KIB:.1f} KiB"
    return f"{count / _KIB / _KIB:.2f} MiB"


def duration_ms(milliseconds: float) -> str:
    """Write a time of inference."""
    if milliseconds < 1:
        return f"{milliseconds * 1000:.0f} µs"
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds:,.0f} ms"  # noqa: PLR2004 (a second)
