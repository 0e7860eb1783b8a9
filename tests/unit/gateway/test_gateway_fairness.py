"""Who gets how many shards."""

from hypothesis import given
from hypothesis import strategies as st
from linnet_gateway.launches.fairness import Demand, ShardLimits, allot


def demand(
    uid: str, project: str, wanted: int, *, priority: int = 0, running: bool = False
) -> Demand:
    return Demand(uid, project, priority, wanted, running)


def test_projects_share_alike() -> None:
    """A project with ten launches gets no more than one with a single large launch."""
    many = [demand(f"a{i}", "a", 10) for i in range(10)]
    got = allot([*many, demand("b", "b", 100)], ShardLimits(total=20))
    assert got["b"] == 10
    assert sum(n for uid, n in got.items() if uid != "b") == 10


def test_what_one_leaves_the_other_takes() -> None:
    """A project that wants little leaves the rest to the others."""
    got = allot([demand("a", "a", 2), demand("b", "b", 100)], ShardLimits(total=20))
    assert got == {"a": 2, "b": 18}


def test_priority_goes_first_within_a_project() -> None:
    """The later launch with the higher priority is served, the earlier one waits."""
    got = allot([demand("old", "a", 5), demand("urgent", "a", 5, priority=1)], ShardLimits(total=5))
    assert got == {"old": 0, "urgent": 5}


def test_the_limit_of_a_project_holds() -> None:
    """However much is free, a project gets no more than its own limit."""
    got = allot([demand("a", "a", 50)], ShardLimits(total=100, per_project=7))
    assert got == {"a": 7}


demands = st.lists(
    st.builds(
        Demand,
        uid=st.uuids().map(str),
        project=st.sampled_from("abc"),
        priority=st.integers(-2, 2),
        wanted=st.integers(0, 30),
        running=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda d: d.uid,
)


@given(demands, st.integers(1, 40), st.integers(1, 40))
def test_nobody_gets_more_than_asked_and_nothing_lies_idle(
    asked: list[Demand], total: int, per_project: int
) -> None:
    """Limits hold beyond what runs already; and no shard is free while somebody may have it."""
    got = allot(asked, ShardLimits(total, per_project))
    kept = sum(d.running and d.wanted > 0 for d in asked)
    assert all(0 <= got[d.uid] <= d.wanted for d in asked)
    assert all(got[d.uid] >= 1 for d in asked if d.running and d.wanted)
    assert sum(got.values()) <= max(total, kept)
    for project in "abc":
        mine = [d for d in asked if d.project == project]
        used = sum(got[d.uid] for d in mine)
        kept_here = sum(d.running and d.wanted > 0 for d in mine)
        assert used <= max(per_project, kept_here)
        wants_more = any(got[d.uid] < d.wanted for d in mine)
        assert not (wants_more and used < per_project and sum(got.values()) < total)
