"""What is counted of an operator: the path it takes and how often each loop body of it runs."""

from __future__ import annotations

from dataclasses import dataclass

Terms = dict[str, float]


@dataclass(frozen=True, slots=True)
class Counted:
    """Loop counts of one operator.

    Attributes:
        path: Which of the kernel's ways it takes.
        terms: Loop body -> times it runs.
        family: Operators whose loops are the same code share a family and its coefficients; ""
            is the operator alone.
        any_type: The loops are the same for every element type.
    """

    path: str
    terms: Terms
    family: str = ""
    any_type: bool = False


def add_terms(total: Terms, more: Terms) -> None:
    """Add the counts of `more` to `total`."""
    for name, count in more.items():
        total[name] = total.get(name, 0.0) + count
