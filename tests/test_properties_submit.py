"""Properties 1 to 3: a composition is answered at once, under an id of its own, and is made while others are served."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from blockbuster import BlockBuster, BlockBusterFunction
from conftest import MakeClip
from hypothesis import example, given
from hypothesis import strategies as st
from scripted import AT_ONCE, Library, Scripted, few, play, staged
from serving import API, Serving, serving

from vcompose.jobs.database import open_database
from vcompose.jobs.document import CompositionDocument
from vcompose.jobs.shelf import Shelf
from vcompose.media.probe import probe
from vcompose.media.tools import Tools

MOST_CLIPS: Final = 1000
ANSWERED_SECONDS: Final = 0.5
TRIES: Final = 3
"""The machine may be elsewhere for a moment, a slow answer is slow each time."""


async def many_clips(folder: Path, clip: Path, tools: Tools) -> list[str]:
    """So many clips on the shelf that no two are equal: one, with a number behind it in a box that nobody reads."""
    looked = await probe(clip, tools)
    ids = []
    (folder / "incoming").mkdir(parents=True)
    async with open_database(folder) as database:
        shelf = Shelf(database, folder / "clips", clock=time.time)
        for number in range(MOST_CLIPS):
            data = clip.read_bytes() + (12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big")
            part = folder / "incoming" / "part"
            part.write_bytes(data)
            sha256 = hashlib.sha256(data).hexdigest()
            ids.append((await shelf.add(part, name=f"{number}.mp4", size=len(data), sha256=sha256, clip=looked)).id)
    return ids


async def two_encodes(service: Serving, clip: str) -> list[str]:
    """Two jobs whose encoders run, and will for long."""
    jobs = [(await service.submit(clip, clip, mode="encode", size="1920x1080", quality="high"))["id"] for _ in "12"]
    for job in jobs:
        while (await service.service.job(job)).stage != "encoding":
            await asyncio.sleep(0.02)
    return jobs


@pytest.mark.serial
def test_property_1_an_accepted_composition_is_answered_in_half_a_second(
    make_clip: MakeClip, tools: Tools, tmp_path: Path
) -> None:
    """Whatever its size, also where no two of its clips are equal, while two encoders take all that the machine has."""
    small = make_clip("1.mp4", seed=1, size="64x64", seconds=0.4)
    long = make_clip("long.mp4", seed=4, size="640x360", seconds=30.0)
    loop = asyncio.new_event_loop()
    stack = AsyncExitStack()

    async def opened() -> tuple[Serving, list[str], list[str]]:
        ids = await many_clips(tmp_path / "data", small, tools)
        service = await stack.enter_async_context(serving(tmp_path / "data", tools, limits=AT_ONCE))
        clip = (await service.upload(long))["id"]
        return service, ids, await two_encodes(service, clip)

    service, ids, encodes = loop.run_until_complete(opened())

    async def submitted(clips: list[str]) -> float:
        wanted = {"clips": [{"clip": clip} for clip in clips]}
        begun = time.perf_counter()
        patient = aiohttp.ClientTimeout(total=20 * ANSWERED_SECONDS)
        async with service.session.post(f"{service.url}{API}/compositions", json=wanted, timeout=patient) as answer:
            took = time.perf_counter() - begun
            job = await answer.json()
            assert answer.status == 202, job
        assert job["state"] == "pending"
        for encode in encodes:
            assert (await service.service.job(encode)).state == "processing", "an encode has ended: take a longer clip"
        assert (await service.call("POST", f"/compositions/{job['id']}/cancel"))[0] == 200
        return took

    @example(number=MOST_CLIPS, different=MOST_CLIPS)
    @example(number=MOST_CLIPS, different=1)
    @example(number=2, different=2)
    @given(number=st.integers(2, MOST_CLIPS), different=st.integers(1, MOST_CLIPS))
    @few(6)
    def answered(number: int, different: int) -> None:
        clips = [ids[place % different] for place in range(number)]
        slow: list[float] = []
        while len(slow) < TRIES and (took := loop.run_until_complete(submitted(clips))) >= ANSWERED_SECONDS:
            slow.append(took)
        assert len(slow) < TRIES, f"{number} clips, {min(number, different)} of them different: {slow} seconds"

    async def closed() -> None:
        await asyncio.gather(*(service.call("POST", f"/compositions/{job}/cancel") for job in encodes))
        await stack.aclose()

    try:
        answered()
    finally:
        loop.run_until_complete(closed())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@example(batches=[(8, 0, 2), (8, 3, 2)])
@example(batches=[(1, 1, 0), (1, 1, 0), (1, 0, 0)])
@given(
    batches=st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 4), st.integers(0, 3)).filter(lambda one: one[0] + one[2] > 0),
        min_size=1,
        max_size=4,
    )
)
@few(5)
def test_property_2_ids_are_unique_at_once_after_deletions_and_restarts(
    library: Library, script: Scripted, place: Path, batches: list[tuple[int, int, int]]
) -> None:
    """Batches of submissions at once, a restart between them; of each some are cancelled and deleted again, and some
    come with one idempotency key, which is one job for ever.
    """
    script.reset()
    data = library.copy(place)
    clips = library.clips[:2]

    async def batch(service: Serving, new: int, keyed: int) -> tuple[list[str], list[str]]:
        jobs = await asyncio.gather(
            *(service.submit(*clips) for _ in range(new)), *(service.submit(*clips, key="same") for _ in range(keyed))
        )
        ids = [job["id"] for job in jobs]
        return ids[:new], ids[new:]

    async def listed(service: Serving) -> list[str]:
        found: list[str] = []
        query: dict[str, Any] = {"limit": 7}
        while True:
            _, page = await service.call("GET", "/compositions", params=query)
            found += [job["id"] for job in page["items"]]
            if page["next"] is None:
                return found
            query["cursor"] = page["next"]

    async def scene() -> None:
        given: list[str] = []
        same: set[str] = set()
        gone: set[str] = set()
        for new, deleted, keyed in batches:
            async with serving(data, script.tools, limits=AT_ONCE) as service:
                ids, one = await batch(service, new, keyed)
                given += ids
                same |= set(one)
                for job in ids[:deleted]:
                    assert (await service.call("POST", f"/compositions/{job}/cancel"))[0] == 200
                    assert (await service.call("DELETE", f"/compositions/{job}"))[0] == 204
                    gone.add(job)
                assert len(set(given)) == len(given), "an id was given twice"
                assert len(same) <= 1, "one key is one job"
                assert not same.intersection(given)
                there = await listed(service)
                assert sorted(there) == sorted({*given, *same} - gone)

    with script.held():
        play(scene())


WAITING: Final = ("time.sleep", "sqlite3.", "socket.socket.", "builtins.input")
"""What may take long, among all that could hold up a loop; a stat or a rename takes microseconds."""


@contextmanager
def unblocked() -> Iterator[None]:
    """Whoever would hold up the loop in this block gets an error instead."""
    guard = BlockBuster()
    guard.functions = {name: one for name, one in guard.functions.items() if name.startswith(WAITING)}
    guard.functions["os.fsync"] = BlockBusterFunction(os, "fsync")
    guard.functions["os.waitpid"] = BlockBusterFunction(os, "waitpid")
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()


QUERIES: Final[tuple[tuple[str, str, int], ...]] = (
    ("GET", "/compositions/{job}", 200),
    ("GET", "/compositions/{job}?after=0&wait=30", 200),
    ("GET", "/compositions?state=processing", 200),
    ("GET", "/compositions/{job}/output", 409),
    ("GET", "/events?after=0&wait=30", 200),
    ("GET", "/clips", 200),
    ("DELETE", "/compositions/{job}", 409),
    ("DELETE", "/clips/{clip}", 409),
    ("POST", "/compositions/plan", 200),
    ("POST", "/compositions", 202),
)
"""What others may want while a job runs, and what they get."""


@example(asked=list(range(len(QUERIES))), at_once=True, mode="encode")
@given(
    asked=st.lists(st.integers(0, len(QUERIES) - 1), min_size=1, max_size=12),
    at_once=st.booleans(),
    mode=st.sampled_from(["auto", "encode"]),
)
@few(4)
def test_property_3_others_are_served_while_a_job_runs(
    library: Library, script: Scripted, place: Path, asked: list[int], at_once: bool, mode: str
) -> None:
    """The job cannot go on before everybody else was answered; then it is made. Nothing in it holds up the loop."""

    async def scene() -> None:
        async with staged(place, library, script) as service:
            with unblocked():
                with script.held():
                    job = (await service.submit(*library.clips[:2], mode=mode))["id"]
                    await script.begun()
                    wanted = {"clips": [{"clip": clip} for clip in library.clips]}

                    async def ask(number: int) -> None:
                        method, path, expected = QUERIES[number]
                        body = {"json": wanted} if method == "POST" else {}
                        status, told = await service.call(method, path.format(job=job, clip=library.clips[0]), **body)
                        assert status == expected, (method, path, told)

                    if at_once:
                        await asyncio.gather(*map(ask, asked))
                    else:
                        for number in asked:
                            await ask(number)
                    assert (await service.service.job(job)).state == "processing"
                _, page = await service.call("GET", "/compositions")
                ends = [await service.ended(one["id"]) for one in page["items"]]
            assert [end["state"] for end in ends] == ["completed"] * (1 + sum(QUERIES[n][2] == 202 for n in asked))

    play(scene())


@example(turns=0)
@example(turns=1)
@given(turns=st.integers(0, 12))
@few(3)
def test_property_3_the_job_runs_when_its_asker_goes_away(
    library: Library, script: Scripted, place: Path, turns: int
) -> None:
    """The asker is gone so many turns of the loop after the commit: the job is made all the same."""
    document = CompositionDocument.model_validate({"clips": [{"clip": clip} for clip in library.clips[:2]]})

    async def scene() -> None:
        async with staged(place, library, script) as service:
            with service.service.subscribe() as heard:
                asking = asyncio.create_task(service.service.submit(document))
                (change, *_) = await heard.next()
                for _ in range(turns):
                    await asyncio.sleep(0)
                asking.cancel()
                await asyncio.wait([asking])
            assert (await service.ended(change.id))["state"] == "completed"

    play(scene())
