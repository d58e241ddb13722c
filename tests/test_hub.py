"""Slow readers lose progress and never a change of state; nobody waits for them."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcompose.jobs import hub as module
from vcompose.jobs.hub import Hub, Overrun
from vcompose.jobs.job import Change, Job
from vcompose.jobs.lifecycle import State


def change(seq: int, job: str, state: State, percent: int = 0) -> Change:
    value = Job(
        id=job, state=state, percent=percent, stage="", seq=seq, attempt=1, strikes=0, wish=False, composition="{}",
        treatments="[]", created=0.0, started=None, finished=None, error=None, output=None,
    )  # fmt: skip
    return Change(kind="job", seq=seq, id=job, job=value)


async def test_a_thousand_steps_cost_a_slow_reader_one() -> None:
    hub = Hub()
    with hub.subscribe() as slow:
        hub.publish(change(1, "a", State.PENDING))
        hub.publish(change(2, "a", State.PROCESSING))
        for step in range(1000):
            hub.publish(change(3 + step, "a", State.PROCESSING, step // 11))
        hub.publish(change(2000, "b", State.PENDING))
        assert [(one.seq, one.id) for one in await slow.next()] == [(1, "a"), (2, "a"), (1002, "a"), (2000, "b")]
        hub.publish(change(2001, "a", State.COMPLETED, 100))
        assert [one.seq for one in await slow.next()] == [2001]


async def test_only_the_wanted_job() -> None:
    hub = Hub()
    with hub.subscribe("a") as one:
        hub.publish(change(1, "b", State.PENDING))
        hub.publish(change(2, "a", State.PENDING))
        assert [heard.id for heard in await one.next()] == ["a"]
        hub.publish(change(3, "b", State.PROCESSING))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.next(), 0.01)
        hub.publish(change(4, "a", State.CANCELLED))
        assert [heard.seq for heard in await one.next()] == [4], "a wait that was given up loses nothing"


async def test_who_left_is_forgotten() -> None:
    hub = Hub()
    with hub.subscribe():
        assert len(hub) == 1
    assert len(hub) == 0


async def test_who_falls_too_far_behind_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PENDING", 10)
    hub = Hub()
    with hub.subscribe() as stuck, hub.subscribe() as reading:
        hub.publish(change(1, "first", State.PENDING))
        await stuck.next()
        for seq in range(2, 40):
            hub.publish(change(seq, f"j{seq}", State.PENDING))
            assert [one.seq for one in await reading.next()][-1] == seq
        for _ in range(2):
            with pytest.raises(Overrun) as caught:
                await stuck.next()
            assert caught.value.heard == 1


LIFE = (State.PENDING, State.PROCESSING, State.COMPLETED)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.booleans()), max_size=80))
def test_every_state_in_order_and_the_last_progress(moves: list[tuple[str, int, bool]]) -> None:
    """Whatever comes and whenever it is read: all states, rising numbers, and at the end the latest of each job."""

    async def play() -> None:
        hub = Hub()
        at: dict[str, int] = {}
        percent: dict[str, int] = {}
        told: list[Change] = []
        heard: list[Change] = []
        with hub.subscribe() as reader:
            for job, step, read in moves:
                if at.get(job) == len(LIFE) - 1:
                    continue
                if step == 0 or job not in at:
                    at[job] = at.get(job, -1) + 1
                else:
                    percent[job] = percent.get(job, 0) + step
                told.append(change(len(told) + 1, job, LIFE[at[job]], percent.get(job, 0)))
                hub.publish(told[-1])
                if read:
                    heard += await reader.next()
            if told and told[-1] not in heard:
                heard += await reader.next()
        assert [one.seq for one in heard] == sorted({one.seq for one in heard})
        for job in at:
            mine = [one.job.state for one in heard if one.job is not None and one.id == job]
            assert list(dict.fromkeys(mine)) == list(LIFE[: at[job] + 1])
            assert [one for one in heard if one.id == job][-1] == [one for one in told if one.id == job][-1]

    asyncio.run(play())
