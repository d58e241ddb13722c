"""Property 7: a cancel succeeds exactly while there is something to cancel, and everybody tells of it alike.

And the part of property 4 that it rests on: a wish to cancel that was committed is no longer overtaken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripted import AT_ONCE, Library, Scripted, few, play, staged
from serving import Serving, serving
from witness import one_story, witnessed

from vcompose.jobs.database import open_database
from vcompose.jobs.job import CancelWished, Failure, Job, Output
from vcompose.jobs.lifecycle import State
from vcompose.jobs.store import Store

FILM = Output(filename="film.mp4", bytes=1000, duration=2.0)
BROKEN = Failure(code="ffmpeg_failed", detail="beach.mp4 could not be used")

ONE_AT_ONCE = replace(AT_ONCE, jobs=1)

Moment = Literal["waiting", "held", "running"]


async def cancels(service: Serving, job: str, number: int) -> list[tuple[int, Any]]:
    """So many cancels of one job at once."""
    return await asyncio.gather(*(service.call("POST", f"/compositions/{job}/cancel") for _ in range(number)))


def files(service: Serving, job: str) -> list[Path]:
    """What is there of a job."""
    return [path for path in (service.folder / "work" / job, service.folder / "films" / f"{job}.mp4") if path.exists()]


@example(moment="waiting", number=2, delay=0)
@example(moment="held", number=3, delay=0)
@example(moment="running", number=2, delay=60)
@given(
    moment=st.sampled_from(["waiting", "held", "running", "running"]),
    number=st.integers(1, 4),
    delay=st.integers(0, 300),
)
@few(9)
def test_property_7_a_cancel_has_one_winner_at_any_moment(
    library: Library, script: Scripted, place: Path, moment: Moment, number: int, delay: int
) -> None:
    """Several cancels, of a job that waits, whose child is held, or that runs and may end that very moment."""

    async def scene() -> None:
        async with staged(place, library, script, limits=ONE_AT_ONCE) as service:
            if moment != "running":
                script.hold()
            first = await service.submit(*library.clips[:2])
            job = first if moment != "waiting" else await service.submit(*library.clips[:2])
            async with witnessed(service, job["id"]) as witness:
                if moment == "running":
                    await asyncio.sleep(delay / 1000)
                else:
                    await script.begun()
                answers = await cancels(service, job["id"], number)
                if (200, "cancelled") in [(status, answer["state"]) for status, answer in answers]:
                    assert not files(service, job["id"])
                    assert moment == "waiting" or not list((service.folder / "children").iterdir())
                script.release()
            end = one_story(witness)
            for status, answer in answers:
                # whoever came too late is told what became of it, be it by a fellow's cancel
                assert (status, answer["state"]) in {(200, "cancelled"), (409, end["state"])}
                assert status == 200 or answer["code"] == "wrong_state"
                assert end["state"] == ("cancelled" if status == 200 else answer["state"])
            assert end["state"] in {"cancelled", "completed"}
            assert moment == "running" or answers[0][0] == 200, "there was something to cancel"
            assert len(files(service, job["id"])) == (end["state"] == "completed")
            if moment == "waiting":
                assert (await service.ended(first["id"]))["state"] == "completed", "another job was touched"

    play(scene())


@example(end="completed")
@example(end="failed")
@example(end="cancelled")
@given(end=st.sampled_from(["completed", "failed", "cancelled"]))
@few(1)
def test_property_7_a_cancel_after_the_end_is_refused(
    library: Library, script: Scripted, place: Path, end: str
) -> None:
    """409, with the state, and nothing is changed."""

    async def scene() -> None:
        async with staged(place, library, script) as service:
            if end == "failed":
                script.fail()
            with script.held() if end == "cancelled" else contextlib.nullcontext():
                job = (await service.submit(*library.clips[:2]))["id"]
                if end == "cancelled":
                    await cancels(service, job, 1)
            before = await service.ended(job)
            assert before["state"] == end
            history = await service.service.history(job)
            for status, answer in await cancels(service, job, 2):
                assert (status, answer["code"], answer["state"]) == (409, "wrong_state", end)
            assert (await service.call("GET", f"/compositions/{job}"))[1] == before
            assert await service.service.history(job) == history
            if end == "completed":
                assert (await service.call("GET", f"/compositions/{job}/output"))[0] == 200
            assert (await service.call("DELETE", f"/compositions/{job}"))[0] == 204
            assert (await cancels(service, job, 1))[0][0] == 404

    play(scene())


@example(turns=0, waiting=False)
@example(turns=1, waiting=False)
@example(turns=1, waiting=True)
@given(turns=st.integers(0, 12), waiting=st.booleans())
@few(5)
def test_property_7_a_cancel_holds_when_its_asker_goes_away(
    library: Library, script: Scripted, place: Path, turns: int, waiting: bool
) -> None:
    """The asker is gone so many turns of the loop after the wish was committed: it is cancelled all the same."""

    async def scene() -> None:
        async with staged(place, library, script, limits=ONE_AT_ONCE) as service:
            with script.held():
                jobs = [await service.submit(*library.clips[:2]) for _ in range(1 + waiting)]
                job = jobs[-1]["id"]
                await script.begun()
                with service.service.subscribe(job) as heard:
                    asking = asyncio.create_task(service.service.cancel(job))
                    wished = False
                    while not wished:
                        wished = any(
                            one.job is not None and (one.job.wish or one.job.ended) for one in await heard.next()
                        )
                    await after_turns(turns, asking)
                assert (await service.ended(job))["state"] == "cancelled"
                assert not files(service, job)

    play(scene())


async def after_turns(turns: int, asking: asyncio.Task[Any]) -> None:
    """Cancel a task after so many turns of the loop, and wait for its end."""
    for _ in range(turns):
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])


@given(number=st.integers(1, 2), which=st.integers(0, 1))
@few(2)
def test_property_7_a_cancel_after_a_restart(
    library: Library, script: Scripted, place: Path, number: int, which: int
) -> None:
    """Two jobs were left to a server that makes one at once: the one that goes on, and the one that waits for it."""
    script.reset()
    data = library.copy(place)

    async def left() -> list[str]:
        async with serving(data, script.tools, limits=AT_ONCE) as service:
            jobs = [(await service.submit(*library.clips[:2]))["id"] for _ in range(2)]
            for job in jobs:
                await until(service, job, lambda state: state is State.PROCESSING)
        return jobs

    async def scene() -> None:
        with script.held():
            jobs = await left()
            async with (
                serving(data, script.tools, limits=ONE_AT_ONCE) as service,
                witnessed(service, jobs[which]) as told,
            ):
                answers = await cancels(service, jobs[which], number)
                assert (answers[0][0], answers[0][1]["state"]) == (200, "cancelled")
            assert one_story(told)["state"] == "cancelled"

    play(scene())


async def until(service: Serving, job: str, wanted: Callable[[State], bool]) -> None:
    """Wait for a state."""
    while not wanted((await service.service.job(job)).state):
        await asyncio.sleep(0.005)


async def test_property_7_a_cancel_of_what_is_not_there(service: Serving) -> None:
    assert (await cancels(service, "j_nothing", 1))[0][0] == 404


@example(succeeds=True, at_once=False, percents=[])
@example(succeeds=False, at_once=False, percents=[30])
@example(succeeds=True, at_once=True, percents=[99])
@given(succeeds=st.booleans(), at_once=st.booleans(), percents=st.lists(st.integers(0, 99), max_size=3))
@few(6)
def test_property_4_a_wish_to_cancel_wins_over_every_other_end(
    tmp_path_factory: pytest.TempPathFactory, succeeds: bool, at_once: bool, percents: list[int]
) -> None:
    """Success and failure are refused once the wish is written, also in the same transaction; a restart cancels."""
    folder = tmp_path_factory.mktemp("wish")

    async def scene() -> None:
        async with open_database(folder) as database:
            store = Store(database, lambda change: None)
            job = (await store.accept("{}")).id
            assert await store.claim() is not None
            for percent in percents:
                await store.record_progress(job, 1, percent, "encoding")

            async def end() -> Job:
                return await (store.complete(job, 1, FILM) if succeeds else store.fail(job, 1, BROKEN))

            if at_once:
                wished, ended = await asyncio.gather(store.wish_cancel(job), end(), return_exceptions=True)
            else:
                wished = await store.wish_cancel(job)
                (ended,) = await asyncio.gather(end(), return_exceptions=True)
            assert isinstance(wished, Job)
            assert isinstance(ended, CancelWished)
            now = await store.job(job)
            assert (now.state, now.wish) == (State.PROCESSING, True)
        async with open_database(folder) as database:
            store = Store(database, lambda change: None)
            assert not await store.resume()
            assert (await store.job(job)).state is State.CANCELLED

    play(scene())
