"""The store against a real SQLite file: its single promises; that of a whole life is ``test_properties_life``."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from vcompose.jobs.database import FILE, StoreError, open_database
from vcompose.jobs.job import Change
from vcompose.jobs.lifecycle import State
from vcompose.jobs.store import Store


def ignore(change: Change) -> None:
    """Nobody listens."""


async def test_ids_are_unique_also_at_once_and_after_a_restart(tmp_path: Path) -> None:
    ids: list[str] = []
    for _ in range(2):
        async with open_database(tmp_path) as database:
            store = Store(database, ignore)
            ids += [job.id for job in await asyncio.gather(*(store.accept("{}") for _ in range(50)))]
    assert len(set(ids)) == 100


async def test_a_cancelled_caller_does_not_split_a_write(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        told: list[Change] = []
        store = Store(database, told.append)
        for turns in range(12):
            task = asyncio.create_task(store.accept("{}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await database.settle()
        jobs = (await store.jobs(limit=100)).jobs
        assert {job.id for job in jobs} == {change.id for change in told}
        assert await store.sequence() == len(jobs)
        events = await database.reader.execute_fetchall("SELECT id FROM event")
        assert sorted(row[0] for row in events) == sorted(job.id for job in jobs)


async def test_pages(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        store = Store(database, ignore)
        ids = [(await store.accept("{}")).id for _ in range(7)]
        await store.wish_cancel(ids[3])
        seen: list[str] = []
        cursor = None
        while True:
            page = await store.jobs(before=cursor, limit=3)
            seen += [job.id for job in page.jobs]
            cursor = page.next
            if cursor is None:
                break
        assert seen == ids[::-1]
        assert [job.id for job in (await store.jobs(states=[State.CANCELLED])).jobs] == [ids[3]]


async def test_one_server_a_folder(tmp_path: Path) -> None:
    async with open_database(tmp_path):
        with pytest.raises(StoreError) as caught:
            async with open_database(tmp_path):
                raise AssertionError("unreachable")
        assert caught.value.code == "in_use"
    async with open_database(tmp_path):
        pass


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database, it only looks like a file" * 100)
    with pytest.raises(StoreError) as caught:
        async with open_database(tmp_path):
            raise AssertionError("unreachable")
    assert caught.value.code == "corrupt"
    assert FILE in str(caught.value)


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    async with open_database(tmp_path):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('vcompose', '9999', '')")
        db.commit()
    with pytest.raises(StoreError) as caught:
        async with open_database(tmp_path):
            raise AssertionError("unreachable")
    assert caught.value.code == "newer_schema"


async def test_acceptance_is_durable(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        mode = list(await database.reader.execute_fetchall("PRAGMA journal_mode"))
        assert mode[0][0] == "wal"
        job = await Store(database, ignore).accept("{}")
        # another connection sees it at once: it was committed before the call returned
        with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as db:
            assert db.execute("SELECT id FROM job").fetchall() == [(job.id,)]
