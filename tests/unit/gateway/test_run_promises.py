"""The checks of what runs promise find what they are for."""

from tests.support.run_promises import Spell, foreign_keys, gaps, held_twice, lost_attempts_keys

PREFIX = "projects/p/runs/a-1"


def test_a_gap_a_repeat_and_a_swap_of_output_are_found() -> None:
    """Numbers from 1 without a gap pass; anything else names the numbers that are wrong."""
    assert gaps([]) == gaps([1, 2, 3]) == []
    assert gaps([1, 3]) == [3]
    assert gaps([1, 1, 2]) == [1, 2]
    assert gaps([2, 1]) == [2, 1]


def test_objects_without_a_run_and_of_lost_attempts_are_found() -> None:
    """Output of a lost attempt is kept, everything else of it is left over."""
    keys = [f"{PREFIX}/attempts/{n}/{file}" for n in (1, 2) for file in ("model.keras", "log/1")]
    stranger = "projects/p/runs/b-2/scores.npz"
    assert foreign_keys([*keys, f"{PREFIX}/scores.npz", stranger], [PREFIX]) == [stranger]
    assert lost_attempts_keys(keys, PREFIX, 2) == [f"{PREFIX}/attempts/1/model.keras"]


def test_two_trainers_with_one_run_at_once_are_found() -> None:
    """One attempt after the other is well, as is another run meanwhile; an overlap is not."""
    one, other = Spell("a", 1, 0.0, 2.0), Spell("b", 1, 1.0, 3.0)
    assert held_twice([one, other, Spell("a", 2, 2.0, 4.0)]) == []
    early = Spell("a", 2, 1.9, 4.0)
    assert held_twice([early, other, one]) == [(one, early)]
