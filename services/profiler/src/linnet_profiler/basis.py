"""How a figure came about."""

from __future__ import annotations

from enum import StrEnum


class Basis(StrEnum):
    """Where a figure comes from, most certain first.

    MEASURED: read off this very firmware or file. SIMULATED: counted or replayed exactly as the
    firmware does it. CALIBRATED: a model fitted to measurements of this very target. ESTIMATED:
    carried over from a relative, with a wide band.
    """

    MEASURED = "measured"
    SIMULATED = "simulated"
    CALIBRATED = "calibrated"
    ESTIMATED = "estimated"


_ORDER = (Basis.MEASURED, Basis.SIMULATED, Basis.CALIBRATED, Basis.ESTIMATED)


def weakest(*bases: Basis) -> Basis:
    """The least certain of several."""
    return max(bases, key=_ORDER.index, default=Basis.MEASURED)
