"""Witnesses of a job: every channel that tells of it, heard at once; their stories must be one story."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import aiohttp
from serving import API, Serving

from vcompose.jobs.database import FILE

Told = dict[str, Any]
"""A job's document."""

ENDS: Final = {"completed", "failed", "cancelled"}
NEXT: Final = {
    None: {"pending"},
    "pending": {"processing", "cancelled"},
    "processing": ENDS,
}
"""The life cycle once more, in the words of the interface."""
LIVELY: Final = {"speed", "seconds_left"}
"""What is told of a job without a number of its own."""


class Witness:
    """What each channel told of one job, in the order of its telling. Made by :func:`witnessed`."""

    def __init__(self, service: Serving, job: str) -> None:
        self.job = job
        self.told: dict[str, list[Told]] = {}
        self.films: list[tuple[int, int]] = []
        self._service = service
        self._channels: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "rest": self._rest,
            "list": self._list,
            "poll": self._poll,
            "events": self._events,
            "socket": lambda: self._socket("/ws"),
            "own socket": lambda: self._socket(f"/compositions/{job}/ws"),
        }

    async def watch(self, listening: asyncio.Event) -> None:
        """Hear every channel until each has told the end; ``listening`` is set when each has told something."""
        self._ready = asyncio.Barrier(len(self._channels) + 1)
        async with asyncio.TaskGroup() as group:
            for channel in self._channels.values():
                group.create_task(channel())
            await self._ready.wait()
            listening.set()

    def _hear(self, channel: str, document: Told) -> bool:
        """Note what was told; whether there is more to come."""
        self.told.setdefault(channel, []).append(document)
        return document["state"] not in ENDS

    async def _film(self, document: Told) -> None:
        """A completed job has its film from the moment at which anybody is told so."""
        if document["state"] == "completed":
            status, data = await self._service.call("GET", f"/compositions/{self.job}/output")
            self.films.append((status, len(data or b"")))

    async def _asked(self, channel: str, ask: Callable[[], Awaitable[Told | None]], pause: float) -> None:
        first = True
        while True:
            document = await ask()
            if document is not None:
                more = self._hear(channel, document)
                if first:
                    first = False
                    await self._ready.wait()
                if not more:
                    return await self._film(document)
            await asyncio.sleep(pause)

    async def _document(self, **query: object) -> Told:
        status, document = await self._service.call("GET", f"/compositions/{self.job}", params=query)
        assert status == 200, document
        found: Told = document
        return found

    async def _rest(self) -> None:
        await self._asked("rest", self._document, 0.01)

    async def _list(self) -> None:
        async def ask() -> Told | None:
            status, page = await self._service.call("GET", "/compositions", params={"limit": 200})
            assert status == 200, page
            mine: Told = next(one for one in page["items"] if one["id"] == self.job)
            return mine

        await self._asked("list", ask, 0.015)

    async def _poll(self) -> None:
        after = 0

        async def ask() -> Told:
            nonlocal after
            document = await self._document(after=after, wait=30)
            after = document["seq"]
            return document

        await self._asked("poll", ask, 0)

    async def _events(self) -> None:
        after = 0

        async def ask() -> Told | None:
            nonlocal after
            status, page = await self._service.call("GET", "/events", params={"after": after, "wait": 30, "limit": 2})
            assert status == 200, page
            after = page["next"]
            mine = [one["job"] for one in page["items"] if one["type"] == "job" and one["job"]["id"] == self.job]
            assert len(mine) <= 1, "a job stands in a list of events once, as it is now"
            return mine[0] if mine else None

        await self._asked("events", ask, 0)

    async def _socket(self, path: str) -> None:
        async with self._service.session.ws_connect(f"{self._service.url}{API}{path}") as socket:
            snapshot = await socket.receive_json()
            assert snapshot["type"] == "snapshot"
            document = next(one for one in snapshot["jobs"] if one["id"] == self.job)
            more = self._hear(path, document)
            await self._ready.wait()
            while more:
                message = await socket.receive()
                assert message.type is aiohttp.WSMsgType.TEXT, message
                told = message.json()
                if told["type"] == "job" and told["job"]["id"] == self.job:
                    assert told["seq"] == told["job"]["seq"]
                    document = told["job"]
                    more = self._hear(path, document)
            await self._film(document)


@contextlib.asynccontextmanager
async def witnessed(service: Serving, job: str) -> AsyncIterator[Witness]:
    """Hear a job from now on, on every channel; the block's end waits for the job's end, on every channel."""
    witness = Witness(service, job)
    listening = asyncio.Event()
    watching = asyncio.create_task(witness.watch(listening))
    opened = asyncio.create_task(listening.wait())
    try:
        await asyncio.wait([watching, opened], return_when=asyncio.FIRST_COMPLETED)
        yield witness
        await watching
    finally:
        for task in (watching, opened):
            task.cancel()
        await asyncio.wait([watching, opened])


def one_story(witness: Witness, *, before: Told | None = None) -> Told:
    """All channels told one story: legal, with numbers and percentages that never fall, the same under the same
    number, and with the same end; gives the end. ``before`` is what was told last in the server's life before.
    """
    same: dict[int, Told] = {}
    ends: list[Told] = []
    assert len(witness.told) == 6
    for channel, story in witness.told.items():
        last = before
        for document in story:
            plain(document)
            first = same.setdefault(document["seq"], bare(document))
            assert bare(document) == first, f"{channel} says something else under number {document['seq']}"
            if last is not None:
                assert document["seq"] >= last["seq"], f"{channel}: the number fell"
                assert document["percent"] >= last["percent"], f"{channel}: progress fell"
                assert reaches(last["state"], document["state"]), f"{channel}: {last['state']} to {document['state']}"
            last = document
        ends.append(bare(story[-1]))
    assert all(end == ends[0] for end in ends), "they tell different ends"
    end = ends[0]
    if end["state"] == "completed":
        assert witness.films == [(200, end["output"]["bytes"])] * 6, "not everybody got the film"
    return end


def plain(document: Told) -> None:
    """A document is valid in itself, whenever it was told."""
    state, percent = document["state"], document["percent"]
    assert state in {*NEXT, *ENDS}
    assert isinstance(percent, int)
    assert 0 <= percent <= 100
    assert (percent == 100) is (state == "completed")
    assert (document["output"] is not None) is (state == "completed")
    assert (document["error"] is not None) is (state == "failed")
    assert (document["finished"] is not None) is (state in ENDS)
    assert (document["started"] is not None) or state in {"pending", "cancelled"}
    if state != "processing":
        assert all(document[name] is None for name in LIVELY)


def reaches(one: str, other: str) -> bool:
    """Whether a job can come from one state to another, at once or over others (a poll may miss some)."""
    return one == other or any(reaches(step, other) for step in NEXT.get(one, ()))


def bare(document: Told) -> Told:
    """What has to be the same under the same number."""
    return {name: value for name, value in document.items() if name not in LIVELY}


def recorded(folder: Path, job: str) -> list[tuple[str, int]]:
    """The events of a job as they lie in the file: state and percentage."""
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db:
        return db.execute("SELECT state, percent FROM event WHERE id = ? ORDER BY seq", (job,)).fetchall()


def every_tenth(events: list[tuple[str, int]], end: Told) -> None:
    """The recorded percentages never fall, and each tenth that the job passed is among them."""
    percents = [percent for _, percent in events]
    assert percents == sorted(percents)
    assert set(range(10, end["percent"] + 1, 10)) <= set(percents), "a tenth was passed, and is not in SQLite"
    assert [percent == 100 for percent in percents] == [state == "completed" for state, _ in events]
    assert events[-1] == (end["state"], end["percent"])
