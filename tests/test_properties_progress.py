"""Properties 5 and 6: progress that never lies, and every query valid at every moment, one story on all channels."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Literal

from hypothesis import example, given
from hypothesis import strategies as st
from scripted import AT_ONCE, Library, Scripted, few, play, staged
from serving import Serving, serving
from witness import Told, Witness, every_tenth, one_story, plain, recorded, witnessed

from vcompose.jobs.execution import TELL_SECONDS
from vcompose.media.estimate import Report, Stage
from vcompose.media.executor import Executor
from vcompose.media.film import Tell
from vcompose.media.plan import Plan
from vcompose.media.tools import Tools

Turn = Literal["complete", "fail", "cancel", "restart"]


async def reached(service: Serving, job: str, percent: int) -> Told:
    """Wait until a job has reached a percentage, or has ended."""
    after = 0
    while True:
        status, document = await service.call("GET", f"/compositions/{job}", params={"after": after, "wait": 30})
        assert status == 200
        told: Told = document
        if told["percent"] >= percent or told["finished"] is not None:
            return told
        assert told["seq"] > after, f"nothing happened for long: {told}"
        after = told["seq"]


@example(turn="complete", at=0, slow=False, mode="auto")
@example(turn="complete", at=0, slow=True, mode="encode")
@example(turn="restart", at=35, slow=True, mode="encode")
@example(turn="fail", at=20, slow=True, mode="encode")
@example(turn="cancel", at=50, slow=True, mode="encode")
@given(
    turn=st.sampled_from(["complete", "fail", "cancel", "restart", "restart"]),
    at=st.integers(0, 90),
    slow=st.booleans(),
    mode=st.sampled_from(["auto", "encode"]),
)
@few(4)
def test_property_5_progress_is_truthful_whatever_happens(
    library: Library, script: Scripted, place: Path, turn: Turn, at: int, slow: bool, mode: str
) -> None:
    """From 0 to 100, never falling, also over a restart and on every channel; 100 exactly when completed; each tenth
    in SQLite.
    """
    script.reset()
    data = library.copy(place)

    async def scene() -> None:
        before: Told | None = None
        witness: Witness | None = None
        async with serving(data, script.tools, limits=AT_ONCE) as service:
            if slow:
                script.slow()
            job = (await service.submit(*library.clips[:2], mode=mode))["id"]
            if turn == "restart":
                before = await reached(service, job, at)
            else:
                async with witnessed(service, job) as witness:
                    await reached(service, job, at)
                    if turn == "fail":
                        script.fail()
                    elif turn == "cancel":
                        await service.call("POST", f"/compositions/{job}/cancel")
        if turn == "restart":
            assert before is not None
            async with serving(data, script.tools, limits=AT_ONCE) as service, witnessed(service, job) as witness:
                pass
        assert witness is not None
        end = one_story(witness, before=before)
        # what was asked for may have come too late
        usual = {"complete": "completed", "restart": "completed", "fail": "failed", "cancel": "cancelled"}
        assert end["state"] in {usual[turn], "completed"}
        every_tenth(recorded(data, job), end)

    play(scene())


@example(turns=["complete", "fail", "cancel"], delay=0.2)
@given(turns=st.lists(st.sampled_from(["complete", "fail", "cancel"]), min_size=2, max_size=4), delay=st.floats(0, 0.4))
@few(4)
def test_property_6_every_query_is_valid_at_every_moment(
    library: Library, script: Scripted, place: Path, turns: list[Turn], delay: float
) -> None:
    """Several jobs at once, that end in all ways; each witnessed on every channel from its acceptance on."""

    async def live(service: Serving, turn: Turn) -> Witness:
        clips = library.clips[:2] if turn != "fail" else library.clips
        job = await service.submit(*clips)
        plain(job)
        async with witnessed(service, job["id"]) as witness:
            if turn == "fail":
                await asyncio.sleep(delay)
                script.fail()
            elif turn == "cancel":
                await asyncio.sleep(delay)
                await service.call("POST", f"/compositions/{job['id']}/cancel")
        return witness

    async def scene() -> None:
        async with staged(place, library, script) as service:
            with script.held():
                lives = [asyncio.create_task(live(service, turn)) for turn in turns]
                await script.begun()
                # in the middle of the work, with a child that is held: whatever is asked is answered
                status, page = await service.call("GET", "/compositions", params={"state": "processing"})
                assert status == 200
                assert page["items"]
                for document in page["items"]:
                    plain(document)
                    assert (await service.call("GET", f"/compositions/{document['id']}/output"))[0] == 409
            witnesses = await asyncio.gather(*lives)
            for witness in witnesses:
                one_story(witness)

    play(scene())


async def slow_to_end(
    plan: Plan, folder: Path, executor: Executor, tools: Tools, tell: Tell, *, floor: int = 0
) -> tuple[Plan, Path]:
    """A film that goes on and on, and whose children take their time to be gone."""
    del plan, folder, executor, tools
    try:
        for speed in itertools.count(1):
            tell(Report(percent=max(floor, 30), stage=Stage.ENCODING, speed=float(speed), seconds_left=1.0))
            await asyncio.sleep(TELL_SECONDS / 5)
    finally:
        await asyncio.sleep(TELL_SECONDS * 3)
    raise AssertionError("unreachable")


@given(number=st.integers(1, 3))
@few(1)
def test_property_6_numbers_rise_while_a_cancel_takes_its_time(
    library: Library, script: Scripted, place: Path, number: int
) -> None:
    """Signs of life of an attempt that is being ended come under no number before the wish."""

    async def scene() -> None:
        data = library.copy(place)
        async with serving(data, script.tools, limits=AT_ONCE, filmmaker=slow_to_end) as service:
            job = (await service.submit(*library.clips[:2]))["id"]
            async with witnessed(service, job) as witness:
                await reached(service, job, 30)
                await asyncio.sleep(TELL_SECONDS * 2.5)  # between two ticks, so that there is news to tell
                cancels = (service.call("POST", f"/compositions/{job}/cancel") for _ in range(number))
                assert [status for status, _ in await asyncio.gather(*cancels)] == [200] * number
            assert one_story(witness)["state"] == "cancelled"

    play(scene())
