"""Groups of a dataset's rows that are alike, numbered once for every question on them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of rows.

    Attributes:
        names: Each group's name, in order.
        numbers: Group of each row, an index of `names`, shape (rows,).
    """

    names: NDArray[np.str_]
    numbers: NDArray[np.int64]

    @classmethod
    def of(cls, names: NDArray[np.str_]) -> Self:
        """Number the groups of rows that are given by name, shape (rows,)."""
        found, numbers = np.unique(names, return_inverse=True)
        return cls(found, numbers.astype(np.int64))

    def on(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number the groups of some rows from 0 without gaps, shape of `rows`."""
        return np.unique(self.numbers[rows], return_inverse=True)[1].astype(np.int64)

    def name(self, row: int) -> str:
        """Give the name of a row's group."""
        return str(self.names[self.numbers[row]])
