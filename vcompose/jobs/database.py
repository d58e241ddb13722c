"""The SQLite file: migrations, one writer, one reader, and a lock that keeps other servers out.

Writes are made by one task in the order of their coming, each run to its end whoever stops waiting for it: a cancelled
``await`` of aiosqlite does not stop the statement, and the next commit would publish half a transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite
import sqlite_utils
from sqlite_utils import Migrations

from vcompose.media.tasks import Unstoppable

_T = TypeVar("_T")
Write = Callable[[aiosqlite.Connection], Awaitable[_T]]

FILE: Final = "vcompose.sqlite"
LOCK: Final = "vcompose.lock"
_MOST_TOGETHER: Final = 64
"""Writes of one transaction, at most."""

migrations = Migrations("vcompose")


class StoreError(Exception):
    """The data cannot be used. Codes: ``in_use``, ``corrupt``, ``newer_schema``, ``not_writable``."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@migrations(name="0001_jobs")
def _jobs(db: sqlite_utils.Database) -> None:
    # one statement a call: executescript would commit the transaction that the migration stands in
    for statement in _SCHEMA_1.split(";\n"):
        db.execute(statement)


_SCHEMA_1: Final = """
CREATE TABLE sequence (last INTEGER NOT NULL) STRICT;
INSERT INTO sequence VALUES (0);
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
    percent INTEGER NOT NULL DEFAULT 0 CHECK (percent BETWEEN 0 AND 100),
    stage TEXT NOT NULL DEFAULT 'waiting',
    seq INTEGER NOT NULL UNIQUE,
    attempt INTEGER NOT NULL DEFAULT 0,
    strikes INTEGER NOT NULL DEFAULT 0,
    progressed INTEGER NOT NULL DEFAULT 0,
    orderly INTEGER NOT NULL DEFAULT 0,
    wish INTEGER NOT NULL DEFAULT 0,
    composition TEXT NOT NULL,
    treatments TEXT NOT NULL DEFAULT '[]',
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    error_code TEXT,
    error_detail TEXT,
    error_clip TEXT,
    output_filename TEXT,
    output_bytes INTEGER,
    output_duration REAL,
    CHECK ((percent = 100) = (state = 'completed')),
    CHECK ((output_bytes IS NOT NULL) = (state = 'completed')),
    CHECK ((error_code IS NOT NULL) = (state = 'failed')),
    CHECK ((finished IS NOT NULL) = (state IN ('completed', 'failed', 'cancelled')))
) STRICT;
CREATE INDEX job_by_state ON job (state, number);
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('job', 'deleted')),
    id TEXT NOT NULL,
    state TEXT,
    percent INTEGER,
    at REAL NOT NULL
) STRICT;
CREATE INDEX event_by_job ON event (id, seq);
CREATE TABLE step (
    job INTEGER NOT NULL REFERENCES job (number) ON DELETE CASCADE,
    id TEXT NOT NULL,
    seconds REAL NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (job, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    job TEXT NOT NULL,
    created REAL NOT NULL
) STRICT, WITHOUT ROWID"""


@migrations(name="0002_clips")
def _clips(db: sqlite_utils.Database) -> None:
    for statement in _SCHEMA_2.split(";\n"):
        db.execute(statement)


_SCHEMA_2: Final = """
CREATE TABLE clip (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created REAL NOT NULL,
    looked TEXT NOT NULL
) STRICT;
CREATE INDEX clip_by_hash ON clip (sha256);
CREATE TABLE need (
    job INTEGER NOT NULL REFERENCES job (number) ON DELETE CASCADE,
    clip INTEGER NOT NULL REFERENCES clip (number),
    PRIMARY KEY (job, clip)
) STRICT, WITHOUT ROWID;
CREATE INDEX need_by_clip ON need (clip);
CREATE INDEX idempotency_by_age ON idempotency (created);
CREATE INDEX event_deleted ON event (seq) WHERE kind = 'deleted'"""


@dataclass(slots=True)
class _Waiting:
    """A write that waits for its turn."""

    work: Write[Any]
    committed: Callable[[Any], object] | None
    alone: bool
    done: asyncio.Future[Any]


class Database:
    """An open database. Made by :func:`open_database`.

    Writes that wait at the same moment share one transaction, and so one flush of the disk: a hundred submissions cost
    little more than one. Each is whole: where one of them fails, all are made again, each in its own.
    """

    def __init__(self, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self._writer = writer
        self.reader = reader
        self._waiting: deque[_Waiting] = deque()
        self._turns: asyncio.Task[None] | None = None

    async def write(
        self, work: Write[_T], committed: Callable[[_T], object] | None = None, *, alone: bool = False
    ) -> _T:
        """Run ``work`` in a transaction: all of it, or on an exception nothing; then ``committed`` with its result.

        ``work`` may be run twice, the first time undone. One that does more than SQL, or whose ``committed`` does, is
        ``alone`` in its transaction. A caller that is cancelled stops waiting, but the transaction is made, and told.
        """
        done: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_retrieved)  # whoever stopped waiting does not want to hear of its failure
        self._waiting.append(_Waiting(work, committed, alone, done))
        if self._turns is None or self._turns.done():
            self._turns = Unstoppable(self._take_turns())
        return await asyncio.shield(done)

    async def _take_turns(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft()]
            while self._waiting and not batch[0].alone and not self._waiting[0].alone and len(batch) < _MOST_TOGETHER:
                batch.append(self._waiting.popleft())
            try:
                results = await self._transaction(batch)
            except Exception as error:  # noqa: BLE001 - told to whoever waits for it
                if len(batch) > 1:
                    for one in batch:
                        one.alone = True
                    self._waiting.extendleft(reversed(batch))
                elif not batch[0].done.done():
                    batch[0].done.set_exception(error)
                continue
            for one, result in zip(batch, results, strict=True):
                try:
                    if one.committed is not None:
                        one.committed(result)
                except Exception as error:  # noqa: BLE001 - it is committed; the others' turns go on
                    one.done.set_exception(error)
                else:
                    one.done.set_result(result)

    async def _transaction(self, batch: Sequence[_Waiting]) -> list[Any]:
        await self._writer.execute("BEGIN IMMEDIATE")
        try:
            results = [await one.work(self._writer) for one in batch]
            await self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                await self._writer.execute("ROLLBACK")
            raise
        return results

    async def settle(self) -> None:
        """Wait for the writes that are still on their way."""
        while self._turns is not None and not self._turns.done():
            await asyncio.wait([self._turns])


def _retrieved(done: asyncio.Future[Any]) -> None:
    if not done.cancelled():
        done.exception()


async def one(db: aiosqlite.Connection, sql: str, *values: object) -> tuple[object, ...] | None:
    """The first row, or None.

    In one turn of the connection's thread: a cursor that stays open over two turns would keep the reader at an old
    state of the database for as long as others' cursors overlap with it.
    """
    rows = await db.execute_fetchall(sql, values)
    return next((tuple(row) for row in rows), None)


@contextlib.asynccontextmanager
async def open_database(folder: Path) -> AsyncIterator[Database]:
    """Lock the data folder, bring the schema up to date, and open; on the way out all writes are made first.

    Raises StoreError with a sentence.
    """
    with _only_server(folder):
        path = folder / FILE
        await asyncio.to_thread(_migrate, path)
        async with contextlib.AsyncExitStack() as stack:
            writer = await stack.enter_async_context(aiosqlite.connect(path, isolation_level=None))
            reader = await stack.enter_async_context(aiosqlite.connect(path, isolation_level=None))
            # accepted means on the disk: FULL, and only the writer checkpoints
            for pragma in ("synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000", "journal_size_limit=16777216"):
                await writer.execute(f"PRAGMA {pragma}")
            for pragma in ("query_only=ON", "busy_timeout=5000", "wal_autocheckpoint=0"):
                await reader.execute(f"PRAGMA {pragma}")
            database = Database(writer, reader)
            try:
                yield database
            finally:
                await database.settle()


@contextlib.contextmanager
def _only_server(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError("not_writable", f"the data folder {folder} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            other = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise StoreError(
                "in_use", f"another vcompose (process {other}) uses the data folder {folder}: stop it, or take another"
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(lock)


def _migrate(path: Path) -> None:
    """Runs in a thread, before anybody else has the file open."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        with contextlib.closing(connection):
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise StoreError("corrupt", _corrupt(path, found))
            connection.execute("PRAGMA journal_mode=WAL")
            database = sqlite_utils.Database(connection)
            known = _names()
            unknown = [m.name for m in migrations.applied(database) if m.name not in known]
            if unknown:
                raise StoreError(
                    "newer_schema",
                    f"{path} was written by a newer vcompose (it knows {unknown[0]}): upgrade, or restore a backup",
                )
            migrations.apply(database)
    except sqlite3.DatabaseError as error:
        raise StoreError("corrupt", _corrupt(path, str(error))) from error


def _names() -> frozenset[str]:
    """The names of all migrations that this version knows."""
    with contextlib.closing(sqlite3.connect(":memory:")) as nothing:
        return frozenset(migration.name for migration in migrations.pending(sqlite_utils.Database(nothing)))


def _corrupt(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}): stop, keep a copy of it, and restore a backup"
