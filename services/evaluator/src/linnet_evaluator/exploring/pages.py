"""Pages of the explorer's points."""

from typing import Any

import numpy as np
from linnet.v1 import evaluation_pb2
from linnet.v1 import evaluator_service_pb2 as pb
from linnet_runtime.errors import InvalidInput

from linnet_evaluator.exploring.explorer import SHOWN_ROWS, ExplorerInput, Points

_MAX_BYTES = 6_000_000
"""Bytes of a page, below the 8 MiB that a message may have."""
_POINT_BYTES = 24
_TOKEN_DIGITS = 8


def page_of(
    points: Points, wanted: ExplorerInput, key: str, page_size: int, token: str
) -> pb.ExploreResponse:
    """Make one page.

    Args:
        points: All points.
        wanted: What was asked for, resolved.
        key: Fingerprint of the points, which the token must name.
        page_size: Most points; 0 means 100,000.
        token: From the page before; empty for the first.

    Raises:
        InvalidInput: The token is none of these points.
    """
    start = _start(token, key, len(points.rows))
    stop = min(len(points.rows), start + (page_size or SHOWN_ROWS))
    ids = None if points.sample_ids is None else points.sample_ids[start:stop].tolist()
    if ids is not None:
        sizes = np.cumsum([len(text.encode()) + _POINT_BYTES for text in ids])
        stop = start + max(1, int(np.searchsorted(sizes, _MAX_BYTES)))
        stop = min(stop, start + len(ids))
    part = slice(start, stop)
    kinds: dict[str, Any] = {  # the stubs' enums take no plain integers
        "source": int(wanted.source),
        "method": int(wanted.method),
        "variant": int(wanted.variant),
    }
    explorer = evaluation_pb2.Explorer(
        points=evaluation_pb2.ExplorerPoints(
            x=points.xy[part, 0].tolist(),
            y=points.xy[part, 1].tolist(),
            row=points.rows[part].tolist(),
            label=points.labels[part].tolist(),
            prediction=points.predictions[part].tolist(),
            side=points.sides[part].tolist(),
            sample_id=() if ids is None else ids[: stop - start],
        ),
        point_count=len(points.rows),
        fitted_count=points.fitted_count,
        row_count=points.row_count,
        explained_variance=points.explained,
        **kinds,
    )
    more = stop < len(points.rows)
    return pb.ExploreResponse(
        explorer=explorer, next_page_token=f"{key[:_TOKEN_DIGITS]}-{stop}" if more else ""
    )


def _start(token: str, key: str, count: int) -> int:
    if not token:
        return 0
    digits, _, offset = token.partition("-")
    if digits != key[:_TOKEN_DIGITS] or not offset.isdecimal() or int(offset) >= count:
        raise InvalidInput.of(
            "page_token", f"expected the token of this request's page before, received {token!r}"
        )
    return int(offset)
