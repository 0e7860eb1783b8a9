"""From queued runs to launches and shards."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from linnet_gateway.launches.sharding import MAX_SHARDS, plan, shard_size
from linnet_gateway.records import RunRecord

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def a_run(index: int, **changes: object) -> RunRecord:
    base = RunRecord(
        uid=f"u{index}",
        project="demo",
        id=f"r{index}",
        create_time=NOW,
        update_time=NOW,
        spec=b"",
        spec_digest="",
        dataset="watch",
        target="t",
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # fields of RunRecord


def members(count: int, **changes: object) -> list[RunRecord]:
    return [a_run(i, batch_uid="b", batch_id="b", batch_index=i, **changes) for i in range(count)]


def test_ten_thousand_runs_are_two_hundred_shards() -> None:
    """With fifty shards at once a batch of 10,000 is one launch of 200 shards of 50."""
    ((launch, runs),) = plan(members(10_000), {}, 50, NOW)
    assert (launch.shard_count, launch.parallelism) == (200, 50)
    assert [sum(shard == s for _, shard in runs) for s in (0, 199)] == [50, 50]


def test_single_runs_have_launches_of_their_own() -> None:
    """Runs without a batch share no pod."""
    planned = plan([a_run(i) for i in range(3)], {}, 50, NOW)
    assert [launch.shard_count for launch, _ in planned] == [1, 1, 1]


def test_an_expert_launch_holds_exactly_one_run() -> None:
    """Scripts of a batch never meet in one launch."""
    planned = plan(members(3, expert=True), {"b": (100, 10)}, 50, NOW)
    assert [len(runs) for _, runs in planned] == [1, 1, 1]
    assert all(launch.expert and launch.shard_count == 1 for launch, _ in planned)


def test_runs_that_need_other_pods_get_other_launches() -> None:
    """One pod template serves one launch: other memory, other launch."""
    small, large = members(2), members(4, memory_limit_bytes=1 << 33)[2:]
    planned = plan([*small, *large], {}, 50, NOW)
    assert sorted(launch.memory_bytes for launch, _ in planned) == [0, 1 << 33]


def test_planning_again_makes_the_same_launch() -> None:
    """The uid follows from the runs, and from how often they were launched."""
    (one, _), (again, _) = plan(members(3), {}, 5, NOW)[0], plan(members(3), {}, 5, NOW)[0]
    (later, _) = plan(members(3, launch_count=1), {}, 5, NOW)[0]
    assert one.uid == again.uid
    assert one.uid != later.uid


@given(st.integers(1, 20_000), st.integers(0, 10_000), st.integers(1, 1000))
def test_shards_hold_every_run_once(count: int, asked: int, parallelism: int) -> None:
    """However large shards are asked for, there are at most a thousand and none is empty."""
    size = shard_size(count, asked, parallelism)
    shards = -(-count // size)
    assert 1 <= shards <= MAX_SHARDS
    assert size * (shards - 1) < count <= size * shards
