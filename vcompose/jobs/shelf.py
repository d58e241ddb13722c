"""The shelf: clips that people gave. Ids are random, bytes lie under their hash, equal bytes lie there once.

A clip is on the disk, file and row, when :meth:`Shelf.add` returns. One that a live job needs is not taken away.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import aiosqlite

from vcompose.jobs.database import Database, one
from vcompose.jobs.document import clip_text, found, listed, read_clip
from vcompose.jobs.job import ClipInUse, NoSuchClip
from vcompose.jobs.rows import integer, number
from vcompose.media.clip import CONTENT, Clip

_CACHED: Final = 4096
_COLUMNS: Final = "id, name, size, sha256, created, looked"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredClip:
    """A clip on the shelf: the person's name for it, bytes, hash, when it came; ``looked`` is what was found."""

    id: str
    name: str
    size: int
    sha256: str
    created: float
    looked: str

    @property
    def found(self) -> dict[str, Any]:
        """What was found in it, as a document."""
        return found(_read(self.looked))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPage:
    """A page of clips, newest first; ``next`` is the cursor of the page after it (None: there is none)."""

    clips: tuple[StoredClip, ...]
    next: int | None


@lru_cache(maxsize=4096)
def _read(looked: str) -> Clip:
    return read_clip(looked)


class Shelf:
    """Clips in SQLite and their bytes in a folder."""

    def __init__(self, database: Database, folder: Path, *, clock: Callable[[], float]) -> None:
        self._database = database
        self._folder = folder
        self._clock = clock
        # a clip's row never changes; whether it is still there is asked where it matters, in the transaction
        self._cache: OrderedDict[str, StoredClip] = OrderedDict()
        self._deletions = 0
        self._aside: set[str] = set()

    async def add(self, part: Path, *, name: str, size: int, sha256: str, clip: Clip) -> StoredClip:
        """Put a received file on the shelf; its bytes are on the disk already, and ``part`` is gone afterwards."""
        place = self._place(sha256)
        new = StoredClip(
            id=f"c_{secrets.token_urlsafe(15)}",
            name=name,
            size=size,
            sha256=sha256,
            created=self._clock(),
            looked=clip_text(replace(clip, name="", path="", identity=CONTENT + sha256)),
        )

        async def work(db: aiosqlite.Connection) -> None:
            # in the transaction: a deletion of the last clip with these bytes must not come in between
            if place.exists():
                part.unlink(missing_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                part.replace(place)
                await asyncio.to_thread(flush_folder, place.parent)
                await asyncio.to_thread(flush_folder, place.parent.parent)
            await db.execute(
                f"INSERT INTO clip ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own words
                (new.id, new.name, new.size, new.sha256, new.created, new.looked),
            )

        await self._database.write(work, alone=True)
        return new

    async def known(self, sha256: str) -> Clip | None:
        """What was found in these very bytes before."""
        row = await one(self._database.reader, "SELECT looked FROM clip WHERE sha256 = ? LIMIT 1", sha256)
        return None if row is None else _read(str(row[0]))

    async def clip(self, clip: str) -> StoredClip:
        """Raises NoSuchClip."""
        if (known := self._cache.get(clip)) is not None:
            return known
        before = self._deletions
        row = await one(self._database.reader, f"SELECT {_COLUMNS} FROM clip WHERE id = ?", clip)  # noqa: S608
        if row is None or clip in self._aside:
            raise NoSuchClip(clip)
        return self._remembered(_stored(row), before)

    async def clips(self, *, before: int | None, limit: int) -> ClipPage:
        """Clips, newest first; ``before`` is a page's cursor."""
        rows = list(
            await self._database.reader.execute_fetchall(
                f"SELECT {_COLUMNS}, number FROM clip WHERE number < ? ORDER BY number DESC LIMIT ?",  # noqa: S608
                (1 << 62 if before is None else before, limit + 1),
            )
        )
        return ClipPage(
            clips=tuple(_stored(tuple(row)[:-1]) for row in rows[:limit] if str(row[0]) not in self._aside),
            next=int(rows[limit - 1][-1]) if len(rows) > limit else None,
        )

    async def media(self, ids: Sequence[str]) -> dict[str, Clip]:
        """Probed clips by id, with the paths of their files; those that are not there are left out."""
        known = {clip: self._cache[clip] for clip in ids if clip in self._cache}
        asked = listed([clip for clip in ids if clip not in known])
        before = self._deletions
        rows = await self._database.reader.execute_fetchall(
            f"SELECT {_COLUMNS} FROM clip WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
            (asked,),
        )
        for row in rows:
            if str(row[0]) not in self._aside:
                known[str(row[0])] = self._remembered(_stored(tuple(row)), before)
        return {
            clip: replace(_read(stored.looked), name=stored.name, path=str(self._place(stored.sha256)))
            for clip, stored in known.items()
        }

    def _remembered(self, clip: StoredClip, deletions: int) -> StoredClip:
        """The clip, kept for the next time unless one was deleted since it was asked for: it might be this one."""
        if deletions == self._deletions:
            self._cache[clip.id] = clip
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return clip

    def path(self, clip: StoredClip) -> Path:
        """Where its bytes lie."""
        return self._place(clip.sha256)

    async def delete(self, clip: str) -> None:
        """Take a clip away, and its bytes with the last clip that has them. Raises NoSuchClip, ClipInUse."""

        async def work(db: aiosqlite.Connection) -> Path | None:
            row = await one(db, "SELECT sha256 FROM clip WHERE id = ?", clip)
            if row is None:
                raise NoSuchClip(clip)
            user = await one(
                db,
                "SELECT job.id FROM need JOIN job ON job.number = need.job JOIN clip ON clip.number = need.clip "
                "WHERE clip.id = ? LIMIT 1",
                clip,
            )
            if user is not None:
                raise ClipInUse(clip, str(user[0]))
            await db.execute("DELETE FROM clip WHERE id = ?", (clip,))
            others = await one(db, "SELECT 1 FROM clip WHERE sha256 = ? LIMIT 1", row[0])
            return self._place(str(row[0])) if others is None else None

        def committed(place: Path | None) -> None:
            self._cache.pop(clip, None)
            self._deletions += 1
            if place is not None:
                place.unlink(missing_ok=True)

        await self._database.write(work, committed, alone=True)

    async def unreadable(self) -> list[StoredClip]:
        """Clips of which another version of vcompose wrote what was found, in a form that this one cannot read."""
        found: list[StoredClip] = []
        async with self._database.reader.execute(f"SELECT {_COLUMNS} FROM clip") as rows:  # noqa: S608
            async for row in rows:
                try:
                    read_clip(_stored(tuple(row)).looked)
                except ValueError:
                    found.append(_stored(tuple(row)))
        return found

    async def look_again(self, clip: StoredClip, found: Clip) -> None:
        """Write down what was found in a clip now."""
        looked = clip_text(replace(found, name="", path="", identity=CONTENT + clip.sha256))

        async def work(db: aiosqlite.Connection) -> None:
            await db.execute("UPDATE clip SET looked = ? WHERE sha256 = ?", (looked, clip.sha256))

        await self._database.write(work)

    def put_aside(self, clip: StoredClip) -> None:
        """A clip that cannot be read by this version: it is as if it were not there, but can be deleted."""
        self._aside.add(clip.id)

    async def sweep(self) -> int:
        """Remove files that no clip stands for (a server died between file and row); gives how many."""
        rows = await self._database.reader.execute_fetchall("SELECT DISTINCT sha256 FROM clip")
        wanted = {str(row[0]) for row in rows}
        strays = [path for path in self._folder.glob("??/*") if path.name not in wanted]
        for path in strays:
            path.unlink(missing_ok=True)
        return len(strays)

    def _place(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256


def flush_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _stored(row: tuple[object, ...]) -> StoredClip:
    id_, name, size, sha256, created, looked = row
    return StoredClip(
        id=str(id_),
        name=str(name),
        size=integer(size),
        sha256=str(sha256),
        created=number(created),
        looked=str(looked),
    )
