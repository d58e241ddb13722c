"""The store: the only module that writes a job's state and publishes it. Commit first, then publish.

Every change takes the next number of one global sequence. Every UPDATE names the states that it may leave (from the
life cycle's table) and, where an attempt writes, the number of that attempt: zero rows touched is a refusal.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import aiosqlite
from uuid_utils.compat import uuid7

from vcompose.jobs.database import Database, Write
from vcompose.jobs.job import Change, Failure, Fenced, Job, KeyReused, NoSuchJob, Output, WrongState
from vcompose.jobs.lifecycle import ENDED, Input, State, sources, target
from vcompose.jobs.rows import COLUMNS, integer, of_failure, read

MOST_STRIKES: Final = 3
"""Attempts in which the server may die without having finished a step; then the job fails."""
KEY_SECONDS: Final = 24 * 3600
"""For how long an idempotency key is remembered."""

Publish = Callable[[Change], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of jobs, newest first; ``next`` is the cursor of the page after it (None: there is none)."""

    jobs: tuple[Job, ...]
    next: int | None


class Store:
    """Jobs in SQLite. ``publish`` hears each change after its commit, in the order of the sequence."""

    def __init__(self, database: Database, publish: Publish, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._publish = publish
        self._clock = clock

    # ---- what the outside asks for -------------------------------------------------------------------------------

    async def accept(self, composition: str, *, key: str | None = None) -> Job:
        """Accept a composition; it is on the disk when this returns.

        The same ``key`` with the same composition gives the first job again. Raises KeyReused.
        """
        digest = hashlib.sha256(composition.encode()).hexdigest()

        async def work(db: aiosqlite.Connection) -> tuple[Job, bool]:
            now = self._clock()
            if key is not None:
                await db.execute("DELETE FROM idempotency WHERE created < ?", (now - KEY_SECONDS,))
                known = await _one(db, "SELECT digest, job FROM idempotency WHERE key = ?", key)
                if known is not None:
                    if known[0] != digest:
                        raise KeyReused(f"the idempotency key {key!r} was used for another request: take a new one")
                    return await _job(db, str(known[1])), False
            job = f"j_{uuid7().hex}"
            seq = await _next(db)
            await db.execute(
                "INSERT INTO job (id, state, seq, composition, created) VALUES (?, ?, ?, ?, ?)",
                (job, State.PENDING, seq, composition, now),
            )
            if key is not None:
                await db.execute("INSERT INTO idempotency VALUES (?, ?, ?, ?)", (key, digest, job, now))
            return await self._noted(db, job), True

        def tell(result: tuple[Job, bool]) -> None:
            if result[1]:
                self._tell(result[0])

        return (await self._database.write(work, tell))[0]

    async def wish_cancel(self, job: str) -> Job:
        """Note that a cancel is wanted. A pending job is cancelled by that; a processing one when it is proven gone
        (:meth:`cancelled`). A second wish changes nothing. Raises NoSuchJob, WrongState.
        """

        async def work(db: aiosqlite.Connection) -> tuple[Job, bool]:
            before = await _job(db, job)
            if before.state is State.PENDING:
                return await self._leave(db, job, Input.CANCEL, stage="cancelled"), True
            if before.state is not State.PROCESSING:
                raise WrongState(job, before.state, "cancelled")
            if before.wish:
                return before, False
            await db.execute("UPDATE job SET wish = 1, seq = ? WHERE id = ?", (await _next(db), job))
            return await self._noted(db, job), True

        return await self._write_if_new(work)

    async def delete(self, job: str) -> None:
        """Forget a job that has ended. Raises NoSuchJob, WrongState."""

        async def work(db: aiosqlite.Connection) -> Change:
            before = await _job(db, job)
            if before.state not in ENDED:
                raise WrongState(job, before.state, "deleted")
            seq = await _next(db)
            await db.execute("DELETE FROM job WHERE id = ?", (job,))
            await db.execute("DELETE FROM event WHERE id = ?", (job,))
            await db.execute("DELETE FROM idempotency WHERE job = ?", (job,))
            await db.execute("INSERT INTO event VALUES (?, 'deleted', ?, NULL, NULL, ?)", (seq, job, self._clock()))
            return Change(kind="deleted", seq=seq, id=job, job=None)

        await self._database.write(work, self._publish)

    # ---- what the scheduler and an attempt write -----------------------------------------------------------------

    async def claim(self) -> Job | None:
        """Start the oldest pending job; None when there is none."""

        async def work(db: aiosqlite.Connection) -> Job | None:
            oldest = await _one(db, "SELECT id FROM job WHERE state = ? ORDER BY number LIMIT 1", State.PENDING)
            if oldest is None:
                return None
            return await self._leave(db, str(oldest[0]), Input.START, stage="looking", attempt=1, started=self._clock())

        return await self._database.write(work, self._tell_some)

    async def resume(self) -> list[Job]:
        """After a start: every job that was being processed when the last server ended gets its next attempt.

        One whose cancel was wished for is cancelled (its children are dead by now). An attempt in which the server
        died and no step was finished is a strike; with the last strike the job fails. Gives those that go on.
        """

        async def work(db: aiosqlite.Connection) -> list[Job]:
            rows = await db.execute_fetchall(
                "SELECT id, wish, strikes, progressed, orderly FROM job WHERE state = ? ORDER BY number",
                (State.PROCESSING,),
            )
            return [await self._resumed(db, *row) for row in rows]

        def tell(jobs: list[Job]) -> None:
            for job in jobs:
                self._tell(job)

        return [job for job in await self._database.write(work, tell) if not job.ended]

    async def _resumed(
        self, db: aiosqlite.Connection, job: str, wish: int, strikes: int, progressed: int, orderly: int
    ) -> Job:
        if wish:
            return await self._leave(db, job, Input.CANCEL, stage="cancelled")
        strikes += not (progressed or orderly)
        if strikes >= MOST_STRIKES:
            failure = Failure(
                code="server_died",
                detail=f"the server died {strikes} times while it worked on this, and no step was finished",
            )
            return await self._leave(db, job, Input.FAIL, stage="failed", strikes=strikes, **of_failure(failure))
        await db.execute(
            "UPDATE job SET attempt = attempt + 1, strikes = ?, progressed = 0, orderly = 0, seq = ? WHERE id = ?",
            (strikes, await _next(db), job),
        )
        return await self._noted(db, job)

    async def record_treatments(self, job: str, attempt: int, treatments: str) -> Job:
        """What is done to each clip, once it is planned. Raises Fenced."""
        return await self._attempt(job, attempt, treatments=treatments)

    async def record_progress(self, job: str, attempt: int, percent: int, stage: str) -> Job:
        """Whole percents, 0 to 99, never less than before; a new one gets its number before it is shown.

        Raises Fenced.
        """

        async def work(db: aiosqlite.Connection) -> tuple[Job, bool]:
            before = await _fenced(db, job, attempt)
            reached = max(before.percent, min(99, percent))
            if reached == before.percent and stage == before.stage:
                return before, False
            await db.execute(
                "UPDATE job SET percent = ?, stage = ?, seq = ? WHERE id = ?", (reached, stage, await _next(db), job)
            )
            if reached // 10 > before.percent // 10:
                return await self._noted(db, job), True
            return await _job(db, job), True

        return await self._write_if_new(work)

    async def record_step(self, job: str, attempt: int, step: str, seconds: float, size: int) -> None:
        """A step's output is finished: a later attempt does not make it again. Raises Fenced."""

        async def work(db: aiosqlite.Connection) -> None:
            await _fenced(db, job, attempt)
            await db.execute(
                "INSERT OR REPLACE INTO step SELECT number, ?, ?, ? FROM job WHERE id = ?", (step, seconds, size, job)
            )
            await db.execute("UPDATE job SET progressed = 1 WHERE id = ?", (job,))

        await self._database.write(work)

    async def complete(self, job: str, attempt: int, output: Output) -> Job:
        """The film is verified and has its name. Raises Fenced."""
        return await self._end(
            job,
            attempt,
            Input.FINISH,
            percent=100,
            stage="done",
            output_filename=output.filename,
            output_bytes=output.bytes,
            output_duration=output.duration,
        )

    async def fail(self, job: str, attempt: int, failure: Failure) -> Job:
        """The film cannot be made. Raises Fenced."""
        return await self._end(job, attempt, Input.FAIL, stage="failed", **of_failure(failure))

    async def cancelled(self, job: str, attempt: int) -> Job:
        """The attempt's children are proven gone and its files removed. Raises Fenced."""
        return await self._end(job, attempt, Input.CANCEL, stage="cancelled")

    async def release(self, job: str, attempt: int) -> None:
        """A graceful stop leaves the job to the next server: this attempt is no strike. Raises Fenced."""

        async def work(db: aiosqlite.Connection) -> None:
            await _fenced(db, job, attempt)
            await db.execute("UPDATE job SET orderly = 1 WHERE id = ?", (job,))

        await self._database.write(work)

    # ---- what anybody may read -----------------------------------------------------------------------------------

    async def job(self, job: str) -> Job:
        """Raises NoSuchJob."""
        return await _job(self._database.reader, job)

    async def jobs(self, *, states: Sequence[State] = (), before: int | None = None, limit: int = 50) -> Page:
        """Jobs, newest first, of the wanted states (none: of all); ``before`` is a page's cursor."""
        where, values = ["1"], list[object]()
        if states:
            where.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        if before is not None:
            where.append("number < ?")
            values.append(before)
        rows = list(
            await self._database.reader.execute_fetchall(
                f"SELECT {COLUMNS}, number FROM job WHERE {' AND '.join(where)} "  # noqa: S608 - our own words
                "ORDER BY number DESC LIMIT ?",
                (*values, limit + 1),
            )
        )
        jobs = tuple(read(row[:-1]) for row in rows[:limit])
        return Page(jobs=jobs, next=int(rows[limit - 1][-1]) if len(rows) > limit else None)

    async def changes(self, after: int, *, limit: int = 1000) -> list[Change]:
        """What happened since a number of the sequence: every job that changed, as it is now, and every deletion."""
        rows = await self._database.reader.execute_fetchall(
            f"SELECT seq, {COLUMNS} FROM job WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608 - our own words
            (after, limit),
        )
        changed = [Change(kind="job", seq=row[0], id=row[1], job=read(row[1:])) for row in rows]
        gone = await self._database.reader.execute_fetchall(
            "SELECT seq, id FROM event WHERE kind = 'deleted' AND seq > ? ORDER BY seq LIMIT ?", (after, limit)
        )
        deleted = [Change(kind="deleted", seq=row[0], id=row[1], job=None) for row in gone]
        return sorted([*changed, *deleted], key=lambda change: change.seq)[:limit]

    async def history(self, job: str) -> list[tuple[int, State, int]]:
        """The recorded events of a job: number, state, percent; its changes of state and each tenth."""
        rows = await self._database.reader.execute_fetchall(
            "SELECT seq, state, percent FROM event WHERE kind = 'job' AND id = ? ORDER BY seq", (job,)
        )
        return [(row[0], State(row[1]), row[2]) for row in rows]

    async def steps(self, job: str) -> frozenset[str]:
        """The ids of a job's finished steps."""
        rows = await self._database.reader.execute_fetchall(
            "SELECT step.id FROM step JOIN job ON job.number = step.job WHERE job.id = ?", (job,)
        )
        return frozenset(str(row[0]) for row in rows)

    async def sequence(self) -> int:
        """The number of the last change."""
        row = await _one(self._database.reader, "SELECT last FROM sequence")
        assert row is not None
        return integer(row[0])

    # ---- how it is written ---------------------------------------------------------------------------------------

    async def _end(self, job: str, attempt: int, given: Input, **columns: object) -> Job:
        async def work(db: aiosqlite.Connection) -> Job:
            await _fenced(db, job, attempt)
            return await self._leave(db, job, given, **columns)

        return await self._database.write(work, self._tell)

    async def _attempt(self, job: str, attempt: int, **columns: object) -> Job:
        async def work(db: aiosqlite.Connection) -> Job:
            await _fenced(db, job, attempt)
            await _update(db, job, {**columns, "seq": await _next(db)})
            return await _job(db, job)

        return await self._database.write(work, self._tell)

    async def _leave(self, db: aiosqlite.Connection, job: str, given: Input, **columns: object) -> Job:
        """The guarded transition: only out of the states that take the input."""
        leaving = sources(given)
        to = target(given)
        values = {**columns, "state": to, "seq": await _next(db)}
        if to in ENDED:
            values["finished"] = self._clock()
        if not await _update(db, job, values, leaving):
            now = await _job(db, job)
            raise WrongState(job, now.state, str(to))
        return await self._noted(db, job)

    async def _noted(self, db: aiosqlite.Connection, job: str) -> Job:
        """Write the change that was just made into the events as well."""
        now = await _job(db, job)
        await db.execute(
            "INSERT INTO event VALUES (?, 'job', ?, ?, ?, ?)", (now.seq, job, now.state, now.percent, self._clock())
        )
        return now

    async def _write_if_new(self, work: Write[tuple[Job, bool]]) -> Job:
        def tell(result: tuple[Job, bool]) -> None:
            if result[1]:
                self._tell(result[0])

        return (await self._database.write(work, tell))[0]

    def _tell(self, job: Job) -> None:
        self._publish(Change(kind="job", seq=job.seq, id=job.id, job=job))

    def _tell_some(self, job: Job | None) -> None:
        if job is not None:
            self._tell(job)


async def _one(db: aiosqlite.Connection, sql: str, *values: object) -> tuple[object, ...] | None:
    async with db.execute(sql, values) as cursor:
        row = await cursor.fetchone()
    return None if row is None else tuple(row)


async def _next(db: aiosqlite.Connection) -> int:
    row = await _one(db, "UPDATE sequence SET last = last + 1 RETURNING last")
    assert row is not None
    return integer(row[0])


async def _update(
    db: aiosqlite.Connection, job: str, columns: dict[str, object], leaving: Iterable[State] = tuple(State)
) -> bool:
    states = tuple(leaving)
    marks = ", ".join(f"{name} = ?" for name in columns)
    cursor = await db.execute(
        f"UPDATE job SET {marks} WHERE id = ? AND state IN ({', '.join('?' * len(states))})",  # noqa: S608 - our own words
        (*columns.values(), job, *states),
    )
    return cursor.rowcount == 1


async def _job(db: aiosqlite.Connection, job: str) -> Job:
    row = await _one(db, f"SELECT {COLUMNS} FROM job WHERE id = ?", job)  # noqa: S608 - our own words
    if row is None:
        raise NoSuchJob(job)
    return read(row)


async def _fenced(db: aiosqlite.Connection, job: str, attempt: int) -> Job:
    now = await _job(db, job)
    if now.state is not State.PROCESSING or now.attempt != attempt:
        raise Fenced(f"attempt {attempt} of job {job} may not write: it is {now.state}, in attempt {now.attempt}")
    return now
