"""The store against a real SQLite file: a machine that does everything in any order, and single promises."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Final, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from vcompose.jobs.database import FILE, Database, StoreError, open_database
from vcompose.jobs.job import Change, Failure, Fenced, Job, KeyReused, NoSuchJob, Output, WrongState
from vcompose.jobs.lifecycle import ENDED, State
from vcompose.jobs.store import MOST_STRIKES, Store

_T = TypeVar("_T")

FILM: Final = Output(filename="film.mp4", bytes=1000, duration=2.0)
BROKEN: Final = Failure(code="ffmpeg_failed", detail="beach.mp4 could not be used", clip="c_1")

LEGAL: Final = {
    (None, State.PENDING),
    (State.PENDING, State.PROCESSING),
    (State.PENDING, State.CANCELLED),
    (State.PROCESSING, State.COMPLETED),
    (State.PROCESSING, State.FAILED),
    (State.PROCESSING, State.CANCELLED),
}


class Life(RuleBasedStateMachine):
    """Submit, start, progress, finish, fail, cancel, delete, stop and crash, in any order, also by attempts that are
    over; the model is what was told, and the file must say the same.
    """

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.told: list[Change] = []
        self.states: dict[str, list[State]] = {}
        self.percents: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        self.deaths: dict[str, int] = {}
        self.progressed: set[str] = set()
        self.gone: set[str] = set()
        self.order: list[str] = []
        self.run(self._open())

    def run(self, work: Awaitable[_T]) -> _T:
        async def bounded() -> _T:
            return await asyncio.wait_for(work, 20)

        return self.loop.run_until_complete(bounded())

    async def _open(self) -> None:
        self.stack = contextlib.AsyncExitStack()
        self.database: Database = await self.stack.enter_async_context(open_database(Path(self.folder.name)))
        self.store = Store(self.database, self._hear)

    def _hear(self, change: Change) -> None:
        assert not self.told or change.seq > self.told[-1].seq, "told out of order"
        self.told.append(change)
        if change.job is None:
            self.gone.add(change.id)
            return
        job = change.job
        states = self.states.setdefault(job.id, [])
        if not states or states[-1] is not job.state:
            assert (states[-1] if states else None, job.state) in LEGAL, (states, job.state)
            states.append(job.state)
        assert job.percent >= self.percents.get(job.id, 0), "progress went back"
        assert (job.percent == 100) is (job.state is State.COMPLETED)
        self.percents[job.id] = job.percent
        self.attempts[job.id] = job.attempt

    def state(self, job: str) -> State:
        return self.states[job][-1]

    def works(self, job: str, attempt: int) -> bool:
        """Whether an attempt may write."""
        return job not in self.gone and self.state(job) is State.PROCESSING and self.attempts[job] == attempt

    @rule(target=jobs, key=st.sampled_from([None, "a", "b"]), size=st.integers(2, 4))
    def submit(self, key: str | None, size: int) -> object:
        before = set(self.states)
        try:
            job = self.run(self.store.accept(f"{{{size}}}", key=key))
        except KeyReused:
            assert key is not None
            return multiple()
        if job.id in before:
            assert key is not None
            return multiple()
        assert job.state is State.PENDING
        self.order.append(job.id)
        return job.id

    @rule()
    def start(self) -> None:
        waiting = [job for job in self.order if job not in self.gone and self.state(job) is State.PENDING]
        job = self.run(self.store.claim())
        assert (job.id if job else None) == (waiting[0] if waiting else None), "not the oldest"
        if job is not None:
            self.deaths[job.id] = 0
            self.progressed.discard(job.id)

    def attempt(self, job: str, write: Awaitable[object], attempt: int) -> bool:
        """A write by an attempt: made when it may write, else refused without a trace."""
        if self.works(job, attempt):
            self.run(write)
            return True
        told = len(self.told)
        with pytest.raises((Fenced, NoSuchJob)):
            self.run(write)
        assert len(self.told) == told
        return False

    @rule(job=jobs, percents=st.lists(st.integers(-5, 120), min_size=1, max_size=3), late=st.booleans())
    def progress(self, job: str, percents: list[int], late: bool) -> None:
        attempt = self.attempts[job] - late
        for percent in percents:
            self.attempt(job, self.store.record_progress(job, attempt, percent, "encoding"), attempt)

    @rule(job=jobs, step=st.sampled_from(["s1", "s2"]), late=st.booleans())
    def step(self, job: str, step: str, late: bool) -> None:
        attempt = self.attempts[job] - late
        if self.attempt(job, self.store.record_step(job, attempt, step, 1.0, 10), attempt):
            self.progressed.add(job)
            assert step in self.run(self.store.steps(job))

    @rule(job=jobs, late=st.booleans())
    def finish(self, job: str, late: bool) -> None:
        attempt = self.attempts[job] - late
        self.attempt(job, self.store.complete(job, attempt, FILM), attempt)

    @rule(job=jobs, late=st.booleans())
    def fail(self, job: str, late: bool) -> None:
        attempt = self.attempts[job] - late
        self.attempt(job, self.store.fail(job, attempt, BROKEN), attempt)

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        if job in self.gone:
            with pytest.raises(NoSuchJob):
                self.run(self.store.wish_cancel(job))
        elif self.state(job) in ENDED:
            with pytest.raises(WrongState) as caught:
                self.run(self.store.wish_cancel(job))
            assert caught.value.state is self.state(job)
        else:
            before = self.state(job)
            after = self.run(self.store.wish_cancel(job))
            told = len(self.told)
            if after.state is State.PROCESSING:
                assert self.run(self.store.wish_cancel(job)) == after, "a second wish changed something"
                assert len(self.told) == told
            assert after.state is (State.CANCELLED if before is State.PENDING else State.PROCESSING)
            assert after.wish or after.state is State.CANCELLED

    @rule(job=jobs, late=st.booleans())
    def proven_gone(self, job: str, late: bool) -> None:
        attempt = self.attempts[job] - late
        self.attempt(job, self.store.cancelled(job, attempt), attempt)

    @rule(job=jobs)
    def delete(self, job: str) -> None:
        if job in self.gone:
            with pytest.raises(NoSuchJob):
                self.run(self.store.delete(job))
        elif self.state(job) in ENDED:
            self.run(self.store.delete(job))
            assert job in self.gone
        else:
            with pytest.raises(WrongState):
                self.run(self.store.delete(job))

    @rule(graceful=st.booleans())
    def restart(self, graceful: bool) -> None:
        living = [job for job in self.order if job not in self.gone and self.state(job) is State.PROCESSING]
        wished = {job for job in living if self.run(self.store.job(job)).wish}
        if graceful:
            for job in living:
                self.run(self.store.release(job, self.attempts[job]))
        before = {job: self.attempts[job] for job in living}
        self.run(self.stack.aclose())
        self.run(self._open())
        going = {job.id for job in self.run(self.store.resume())}
        for job in living:
            if job in wished:
                assert self.state(job) is State.CANCELLED
                continue
            if not graceful and job not in self.progressed:
                self.deaths[job] += 1
            if self.deaths[job] >= MOST_STRIKES:
                assert self.state(job) is State.FAILED
                continue
            assert job in going
            assert self.attempts[job] == before[job] + 1
            self.progressed.discard(job)

    @invariant()
    def the_file_says_what_was_told(self) -> None:
        for job, states in self.states.items():
            if job in self.gone:
                with pytest.raises(NoSuchJob):
                    self.run(self.store.job(job))
                continue
            now: Job = self.run(self.store.job(job))
            assert (now.state, now.percent, now.attempt) == (states[-1], self.percents[job], self.attempts[job])
            assert (now.output is not None) is (now.state is State.COMPLETED)
            assert (now.error is not None) is (now.state is State.FAILED)
            events = self.run(self.store.history(job))
            recorded = [state for _, state, _ in events]
            assert [state for i, state in enumerate(recorded) if i == 0 or recorded[i - 1] is not state] == states
            reached = {percent // 10 for _, _, percent in events}
            assert now.percent // 10 in reached, "a tenth is not in the events"
        if self.told:
            assert self.run(self.store.sequence()) >= self.told[-1].seq

    @invariant()
    def what_was_missed_can_be_replayed(self) -> None:
        middle = self.told[len(self.told) // 2].seq if self.told else 0
        changes = self.run(self.store.changes(middle))
        assert [change.seq for change in changes] == sorted({change.seq for change in changes})
        latest = {change.id: change for change in self.told if change.seq > middle}
        assert {change.id for change in changes} == set(latest)
        assert {change.id for change in changes if change.job is None} == {
            job for job, change in latest.items() if change.job is None
        }

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()
        self.folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


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
