"""What CMSIS-NN's padding counts on Armv6-M: every memcpy and memset by length and place.

The order of copies and fills is that of CMSIS-NN 4ab83cc3, Source/PadFunctions/arm_pad_s8.c.
"""

from __future__ import annotations

from typing import Final

from linnet_profiler.cost.armv6m import copy_instructions, fill_instructions
from linnet_profiler.cost.counted import Terms
from linnet_profiler.tflite.model import Operator, Subgraph

_RANK: Final = 4
_WORD: Final = 4


def armv6m_pad_terms(
    graph: Subgraph, operator: Operator, image: tuple[int, ...], output: tuple[int, ...]
) -> Terms:
    """Terms of an int8 PAD.

    Args:
        graph: The operator's subgraph.
        operator: The operator.
        image: Shape of what is padded.
        output: Shape of the result.
    """
    if len(image) > _RANK or len(image) != len(output):
        return {"calls": 1}
    batches, height, width, channels = (1,) * (_RANK - len(image)) + image
    wide, deep = ((1,) * (_RANK - len(output)) + output)[2:]
    before = _paddings(graph, operator, len(image))
    row, lines = wide * deep, batches * height
    # Offsets from the output's start, which lies on a word; padding of batches moves nothing.
    first = before[1] * row
    filled = fill_instructions(first, lead=0) + fill_instructions(
        max(0, (output[-3] if len(output) > 2 else 1) - before[1] - height) * row, lead=0
    )
    after = wide - width - before[2]
    terms: Terms = {"padded_rows": lines, "calls": 1}
    copied, margins = 0.0, 0.0
    for turn in range(min(_WORD, lines)):
        times = -(-(lines - turn) // _WORD)
        start = first + turn * row
        inner = start + before[2] * deep
        margins += times * (
            fill_instructions(before[2] * deep, lead=-start % _WORD)
            + fill_instructions(max(0, after) * deep, lead=-(inner + width * deep) % _WORD)
        )
        if deep == channels:
            source = turn * width * channels
            aligned = source % _WORD == inner % _WORD == 0
            copied += times * copy_instructions(width * channels, aligned=aligned)
            continue
        terms["padded_pixels"] = lines * width
        for step in range(min(_WORD, width)):
            pixels = times * -(-(width - step) // _WORD)
            source = (turn * width + step) * channels
            target = inner + step * deep + before[3]
            aligned = source % _WORD == target % _WORD == 0
            rest = max(0, deep - channels - before[3])
            copied += pixels * copy_instructions(channels, aligned=aligned)
            margins += pixels * (
                fill_instructions(before[3], lead=-(target - before[3]) % _WORD)
                + fill_instructions(rest, lead=-(target + channels) % _WORD)
            )
    return {**terms, "copying": copied, "filling": batches * filled + margins}


def _paddings(graph: Subgraph, operator: Operator, rank: int) -> tuple[int, ...]:
    """Elements put before each of four axes; none where the file doesn't say."""
    paddings = graph.input(operator, 1)
    values = (paddings.integers() if paddings is not None else None) or ()
    before = tuple(max(0, value) for value in values[::2])
    if len(before) != rank:
        return (0,) * _RANK
    return (0,) * (_RANK - rank) + before
