"""A model as a C header: bytes, classes, and the multiply-add that scales and quantizes inputs."""

from collections.abc import Sequence

import numpy as np
from linnet_ml.scaling import Scaler

_BYTES_A_LINE = 16
_FLOATS_A_LINE = 6


def c_header(
    model: bytes,
    *,
    classes: Sequence[str],
    scaler: Scaler,
    quantization: tuple[float, int] | None,
    title: str,
) -> str:
    """Write a header that compiles as C11 and C++11.

    Args:
        model: The .tflite file.
        classes: Class names in order of the output.
        scaler: Input scaling.
        quantization: Scale and zero point of an int8 input; None for a float32 one.
        title: What the file is of, for the comment on top.

    Returns:
        The text. An int8 input is round(x * multiplier + addend), clipped to [-128, 127]; a
        float32 one is x * multiplier + addend. Both arrays run over the last axis of a row.
    """
    scale, zero_point = quantization or (1.0, 0)
    multiplier, addend = scaler.merged(scale, zero_point)
    kind = "int8" if quantization else "float32"
    names = ",\n".join(f"  {_text(name)}" for name in classes)
    lines = [
        f"// {title}: {kind} input. Written by Linnet.",
        "// input = x * linnet_input_multiplier[i] + linnet_input_addend[i]"
        + (", rounded and clipped to [-128, 127]." if quantization else "."),
        "#ifndef LINNET_MODEL_H_",
        "#define LINNET_MODEL_H_",
        "#ifdef __cplusplus",
        "#define LINNET_ALIGNED alignas(16)",
        "#else",
        "#define LINNET_ALIGNED _Alignas(16)",
        "#endif",
        f"#define LINNET_MODEL_BYTES {len(model)}",
        f"#define LINNET_CLASS_COUNT {len(classes)}",
        f"#define LINNET_INPUT_FACTORS {multiplier.size}",
        f"static const char* const linnet_classes[LINNET_CLASS_COUNT] = {{\n{names}}};",
        _floats("linnet_input_multiplier", multiplier),
        _floats("linnet_input_addend", addend),
        "// An address that is a multiple of 16, as TFLite Micro needs.",
        "LINNET_ALIGNED static const unsigned char linnet_model[LINNET_MODEL_BYTES] = {",
        _rows([f"0x{byte:02x}" for byte in model], _BYTES_A_LINE),
        "};",
        "#endif  // LINNET_MODEL_H_",
        "",
    ]
    return "\n".join(lines)


def _rows(items: Sequence[str], width: int) -> str:
    starts = range(0, len(items), width)
    return ",\n".join("  " + ", ".join(items[start : start + width]) for start in starts)


def _floats(name: str, values: np.ndarray) -> str:
    items = [f"{float(value):.9e}f" for value in values]
    return (
        f"static const float {name}[LINNET_INPUT_FACTORS] = {{\n{_rows(items, _FLOATS_A_LINE)}}};"
    )


def _text(name: str) -> str:
    """Quote a name; every byte that is not plain goes as an octal escape of three digits."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}"  # noqa: PLR2004 - ASCII
        for byte in name.encode()
    )
    return f'"{plain}"'
