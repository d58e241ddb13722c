"""The shelf: equal bytes lie there once, for as long as a clip has them, through crashes and races."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from builders import clip

from vcompose.jobs import shelf as module
from vcompose.jobs.database import Database, one, open_database
from vcompose.jobs.job import ClipInUse, NoSuchClip
from vcompose.jobs.shelf import Shelf, StoredClip
from vcompose.jobs.store import Store


class House:
    """A shelf, the jobs beside it, and where bytes come from."""

    def __init__(self, database: Database, root: Path) -> None:
        self.database = database
        self.folder = root / "clips"
        self.incoming = root / "incoming"
        for folder in (self.folder, self.incoming):
            folder.mkdir(exist_ok=True)
        ticks = itertools.count(1000)
        self.shelf = Shelf(database, self.folder, clock=lambda: float(next(ticks)))
        self.store = Store(database, lambda change: None)
        self._parts = itertools.count()

    def part(self, content: bytes) -> Path:
        """A received file."""
        path = self.incoming / f"{next(self._parts)}.part"
        path.write_bytes(content)
        return path

    async def add(self, content: bytes, name: str = "a.mp4") -> StoredClip:
        """Put bytes on the shelf."""
        sha256 = hashlib.sha256(content).hexdigest()
        return await self.shelf.add(self.part(content), name=name, size=len(content), sha256=sha256, clip=clip())

    def lying(self) -> list[bytes]:
        """The bytes that lie there."""
        return sorted(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """An empty shelf."""
    async with open_database(tmp_path) as database:
        yield House(database, tmp_path)


async def test_equal_bytes_lie_there_once(house: House) -> None:
    first, same, other = await house.add(b"one", "1.mp4"), await house.add(b"one", "2.mp4"), await house.add(b"other")
    assert len({first.id, same.id, other.id}) == 3
    assert house.lying() == [b"one", b"other"]
    assert house.shelf.path(first) == house.shelf.path(same) != house.shelf.path(other)
    assert house.shelf.path(first).read_bytes() == b"one"
    assert not list(house.incoming.iterdir())
    assert (await house.shelf.clip(same.id)) == same
    assert same.name == "2.mp4"
    for gone, lying in ((first, [b"one", b"other"]), (same, [b"other"]), (other, [])):
        await house.shelf.delete(gone.id)
        assert house.lying() == lying
        with pytest.raises(NoSuchClip):
            await house.shelf.delete(gone.id)
        with pytest.raises(NoSuchClip):
            await house.shelf.clip(gone.id)


async def test_what_was_found_is_known_again(house: House) -> None:
    sha256 = hashlib.sha256(b"one").hexdigest()
    assert await house.shelf.known(sha256) is None
    stored = await house.add(b"one", "secret name.mp4")
    found = await house.shelf.known(sha256)
    assert found is not None
    assert found.picture == clip().picture
    assert found.identity.endswith(sha256)
    for text in ("/home/somebody", "secret name"):
        assert text not in stored.looked
        assert text not in str(stored.found)
    media = await house.shelf.media([stored.id, "c_nobody", stored.id])
    assert set(media) == {stored.id}
    assert (media[stored.id].name, media[stored.id].path) == ("secret name.mp4", str(house.shelf.path(stored)))


async def test_pages(house: House) -> None:
    made = [(await house.add(b"%d" % number)).id for number in range(5)]
    page = await house.shelf.clips(before=None, limit=2)
    assert [one.id for one in page.clips] == made[:2:-1]
    assert page.next is not None
    await house.add(b"newer")
    await house.shelf.delete(made[3])
    page = await house.shelf.clips(before=page.next, limit=3)
    assert ([one.id for one in page.clips], page.next) == (made[2::-1], None)


async def test_a_needed_clip_stays(house: House) -> None:
    stored = await house.add(b"one")
    job = await house.store.accept("{}", needs=[stored.id])
    with pytest.raises(ClipInUse) as refused:
        await house.shelf.delete(stored.id)
    assert job.id in str(refused.value)
    assert house.lying() == [b"one"]
    await house.store.wish_cancel(job.id)
    await house.shelf.delete(stored.id)
    assert not house.lying()


async def test_come_and_go_at_once(house: House) -> None:
    async def come_and_go() -> None:
        for _ in range(10):
            stored = await house.add(b"the same")
            assert house.shelf.path(stored).read_bytes() == b"the same"
            await house.shelf.delete(stored.id)

    await asyncio.gather(*(come_and_go() for _ in range(5)))
    assert not house.lying()


async def test_a_part_that_is_gone_makes_no_clip(house: House) -> None:
    part = house.part(b"one")
    part.unlink()
    with pytest.raises(FileNotFoundError):
        await house.shelf.add(part, name="a", size=3, sha256=hashlib.sha256(b"one").hexdigest(), clip=clip())
    assert (await house.shelf.clips(before=None, limit=5)).clips == ()
    await house.add(b"another")


async def test_strays_are_swept(house: House) -> None:
    stored = await house.add(b"one")
    stray = house.folder / "ab" / ("ab" + "0" * 62)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"of a server that died between file and row")
    assert await house.shelf.sweep() == 1
    assert house.lying() == [b"one"]
    assert await house.shelf.sweep() == 0
    assert (await house.shelf.clip(stored.id)) == stored


async def test_a_deleted_clip_is_not_remembered(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = await house.add(b"one")
    fresh = Shelf(house.database, house.folder, clock=lambda: 0.0)  # that has not read it yet
    read, go = asyncio.Event(), asyncio.Event()

    async def late(db: aiosqlite.Connection, sql: str, *values: object) -> Any:
        row = await one(db, sql, *values)
        if sql.startswith("SELECT id, name"):
            read.set()
            await go.wait()
        return row

    monkeypatch.setattr(module, "one", late)
    asking = asyncio.create_task(fresh.clip(stored.id))
    await read.wait()
    await fresh.delete(stored.id)
    go.set()
    await asyncio.gather(asking, return_exceptions=True)
    with pytest.raises(NoSuchClip):
        await fresh.clip(stored.id)
    assert await fresh.media([stored.id]) == {}


async def test_what_another_version_wrote_is_looked_for(house: House) -> None:
    stored, same, other = await house.add(b"one"), await house.add(b"one"), await house.add(b"other")

    async def work(db: aiosqlite.Connection) -> None:
        await db.execute("""UPDATE clip SET looked = '{"form": 7}' WHERE sha256 = ?""", (stored.sha256,))

    await house.database.write(work)
    later = Shelf(house.database, house.folder, clock=lambda: 0.0)
    assert {clip.id for clip in await later.unreadable()} == {stored.id, same.id}
    await later.look_again(stored, clip("elsewhere.mp4"))
    assert await later.unreadable() == []
    assert (await later.clip(same.id)).found == other.found
    assert set(await later.media([stored.id, same.id])) == {stored.id, same.id}
