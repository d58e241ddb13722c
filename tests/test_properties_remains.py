"""Property 8: whatever ends, and however, nothing of it is left; and everybody reads what was committed."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from remains import Remains, children, closed, descriptors, settled, strays
from scripted import AT_ONCE, Library, Scripted, few, half_an_upload, play, staged
from serving import API, Serving, serving

from vcompose.jobs.database import open_database
from vcompose.jobs.job import Job, NoSuchJob, Output
from vcompose.jobs.lifecycle import State
from vcompose.jobs.store import Store

FILM: Final = Output(filename="film.mp4", bytes=1000, duration=2.0)

Turn = Literal["complete", "encode", "fail", "cancel", "cancel pending", "break off", "watch", "stop"]
TURNS: Final[tuple[Turn, ...]] = (
    "complete", "encode", "fail", "cancel", "cancel pending", "break off", "watch", "stop",
)  # fmt: skip


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of our own for temporary files, so that strangers' do not count."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def take(turn: Turn, service: Serving, script: Scripted, library: Library) -> None:
    """One thing that begins and ends."""
    script.reset()
    clips = library.clips[:2]
    if turn == "fail":
        script.fail()
    match turn:
        case "complete" | "encode" | "fail":
            await service.ended((await service.submit(*clips, mode="encode" if turn == "encode" else "auto"))["id"])
        case "cancel" | "cancel pending":
            with script.held():
                jobs = [(await service.submit(*clips))["id"] for _ in range(3 if turn == "cancel pending" else 1)]
                await script.begun()
                for job in reversed(jobs):
                    assert (await service.call("POST", f"/compositions/{job}/cancel"))[0] == 200
        case "break off":
            await broken_upload(service)
        case "watch":
            await watchers_that_go(service)
        case "stop":
            with script.held():
                await service.submit(*clips)
                await script.begun()
                await service.service.stop()
                assert not children()


async def broken_upload(service: Serving) -> None:
    """A clip that stops coming in the middle, and whose sender goes."""
    writer = await half_an_upload(service.url, service.folder)
    writer.transport.abort()
    while list((service.folder / "incoming").iterdir()):
        await asyncio.sleep(0.005)


async def watchers_that_go(service: Serving) -> None:
    """A socket and a long poll whose readers go without a word."""
    async with service.session.ws_connect(f"{service.url}{API}/ws") as socket:
        await socket.receive_json()
        sequence = await service.service.sequence()
        poll = asyncio.create_task(service.call("GET", "/events", params={"after": sequence, "wait": 30}))
        while service.service.watchers < 2:
            await asyncio.sleep(0.005)
        poll.cancel()
        await asyncio.wait([poll])
    while service.service.watchers:
        await asyncio.sleep(0.005)


async def at_rest(service: Serving) -> None:
    """Wait until nobody works: a completed job's folder goes after its film was told."""
    while service.service.running:
        await asyncio.sleep(0.005)


async def idle(service: Serving, tasks: int, open_files: Counter[str], films: set[str]) -> None:
    """A service at which nobody is and that has nothing to do holds what it held when it was opened, and no more."""
    await at_rest(service)
    await service.session.close()
    await settled(tasks)
    await closed(open_files)
    assert not children()
    assert (service.service.running, service.service.watchers) == (0, 0)
    assert not strays(service.folder, films)


@example(turns=list(TURNS[:-1]))
@example(turns=["fail", "stop"])
@given(turns=st.lists(st.sampled_from(TURNS), min_size=1, max_size=4, unique=True))
@few(3)
def test_property_8_nothing_is_left_whatever_ends(
    library: Library, script: Scripted, place: Path, temporary: Path, turns: list[Turn]
) -> None:
    """No task, thread, child, descriptor or file, neither while the service goes on nor when it has stopped; what it
    left for its next life that one finishes.
    """
    data = library.copy(place)
    turns = sorted(turns, key=TURNS.index)  # a stop is the last

    async def life(turns: list[Turn]) -> None:
        async with serving(data, script.tools, limits=AT_ONCE) as service:
            tasks, open_files = len(asyncio.all_tasks()), descriptors()
            for turn in turns:
                await take(turn, service, script, library)
            if "stop" not in turns:
                jobs = [await service.ended(job.id) for job in (await service.service.jobs(limit=200)).jobs]
                await idle(service, tasks, open_files, {job["id"] for job in jobs if job["state"] == "completed"})

    before = Remains.now()
    for one in (turns, []):
        play(life(one))
        assert before.soon() == before, one
    assert sorted(path.name for path in data.iterdir()) == sorted(
        ["children", "clips", "films", "incoming", "vcompose.lock", "vcompose.sqlite", "work"]
    )


@example(turns=1, grace=0.0)
@example(turns=2, grace=30.0)
@example(turns=3, grace=0.0)
@given(turns=st.integers(0, 12), grace=st.sampled_from([0.0, 30.0]))
@few(4)
def test_property_8_a_stop_ends_what_has_just_begun(
    library: Library, script: Scripted, place: Path, turns: int, grace: float
) -> None:
    """Stopped so many turns of the loop after a job was started: the stop does not wait for a film, nothing lives on,
    and the next life makes it.
    """
    data = library.copy(place)
    script.reset()

    async def begun_and_stopped() -> str:
        async with serving(data, script.tools, limits=replace(AT_ONCE, grace=grace)) as service:
            with service.service.subscribe() as heard:
                job = str((await service.submit(*library.clips[:2]))["id"])
                while not any(one.job and one.job.state is State.PROCESSING for one in await heard.next()):
                    pass
            for _ in range(turns):
                await asyncio.sleep(0)
            service.service.hurry.set()
            await service.service.stop()
            assert not children()
            assert (await service.service.job(job)).state is State.PROCESSING
            assert not list((data / "children").iterdir())
        return job

    async def finished(job: str) -> None:
        async with serving(data, script.tools, limits=AT_ONCE) as service:
            end = await service.ended(job)
            assert (end["state"], end["attempt"]) == ("completed", 2)
            await at_rest(service)
            assert not strays(data, {job})

    with script.held():
        job = play(begun_and_stopped())
    play(finished(job))


@example(turns=0)
@example(turns=1)
@given(turns=st.integers(0, 12))
@few(3)
def test_property_8_a_deleted_job_leaves_no_film_when_its_asker_goes_away(
    library: Library, script: Scripted, place: Path, turns: int
) -> None:
    async def scene() -> None:
        async with staged(place, library, script) as service:
            job = (await service.submit(*library.clips[:2]))["id"]
            await service.ended(job)
            await at_rest(service)
            with service.service.subscribe(job) as heard:
                asking = asyncio.create_task(service.service.delete(job))
                while not any(one.job is None for one in await heard.next()):
                    pass
                for _ in range(turns):
                    await asyncio.sleep(0)
                asking.cancel()
                await asyncio.wait([asking])
            assert not strays(service.folder, set())

    play(scene())


@example(readers=0, lives=6, page=3)
@example(readers=2, lives=3, page=1)
@example(readers=8, lives=2, page=2)
@given(readers=st.integers(0, 8), lives=st.integers(1, 6), page=st.integers(1, 4))
@few(4)
def test_property_8_everybody_reads_what_was_committed(
    tmp_path_factory: pytest.TempPathFactory, readers: int, lives: int, page: int
) -> None:
    """Jobs live side by side, as fast as they can, while readers ask for them without a pause: a read after a write
    shows it, no read goes back, and whoever follows the changes page by page misses none.
    """
    folder = tmp_path_factory.mktemp("rows")

    async def scene() -> None:
        async with open_database(folder) as database:
            store = Store(database, lambda change: None)
            over = asyncio.Event()
            truth: dict[str, int] = {}

            async def live(number: int) -> None:
                for turn in range(10):
                    job = await noted(await store.accept("{}"))
                    claimed = await store.claim()
                    assert claimed is not None
                    job = await noted(claimed)
                    for percent in (20, 40, 60):
                        job = await noted(await store.record_progress(job.id, 1, percent, "encoding"))
                    if (number + turn) % 2:
                        job = await noted(await store.complete(job.id, 1, FILM))
                    else:
                        await noted(await store.wish_cancel(job.id))
                        job = await noted(await store.cancelled(job.id, 1))
                    if (number // 2 + turn) % 2:
                        await store.delete(job.id)
                        truth[job.id] = -1
                        with pytest.raises(NoSuchJob):
                            await store.job(job.id)

            async def noted(job: Job) -> Job:
                truth[job.id] = job.seq
                assert await store.job(job.id) == job, "a read after a write does not show it"
                return job

            async def read() -> None:
                last: dict[str, int] = {}
                while not over.is_set():
                    for job in (await store.jobs(limit=5)).jobs:
                        with contextlib.suppress(NoSuchJob):
                            now = await store.job(job.id)
                            assert now.seq >= job.seq >= last.get(job.id, 0), "a read went back"
                            assert (now.percent == 100) is (now.state is State.COMPLETED) is (now.output is not None)
                            last[job.id] = now.seq

            async def follow() -> dict[str, int]:
                seen: dict[str, int] = {}
                after = 0
                while (changes := await store.changes(after, limit=page)) or not over.is_set():
                    for change in changes:
                        assert change.seq > after, "out of order"
                        after = change.seq
                        seen[change.id] = -1 if change.job is None else change.seq
                return seen

            async with asyncio.TaskGroup() as group:
                for _ in range(readers):
                    group.create_task(read())
                followers = [group.create_task(follow()) for _ in range(2)]
                async with asyncio.TaskGroup() as writing:
                    for number in range(lives):
                        writing.create_task(live(number))
                over.set()
            for follower in followers:
                seen = follower.result()
                # of a job that was deleted before it was seen there is only its deletion to tell
                assert seen == truth, "a change was missed"

    play(scene())
