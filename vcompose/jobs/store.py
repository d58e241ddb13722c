"""The store: the only module that writes a job's state and publishes it. Commit first, then publish.

Every change takes the next number of one global sequence. Every UPDATE names the states that it may leave (from the
life cycle's table) and, where an attempt writes, the number of that attempt: zero rows touched is a refusal.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import aiosqlite
from uuid_utils.compat import uuid7

from vcompose.jobs.database import Database, Write, one
from vcompose.jobs.document import listed
from vcompose.jobs.job import (
    CancelWished,
    Change,
    ClipMissing,
    Failure,
    Fenced,
    Job,
    KeyReused,
    Output,
    WrongState,
)
from vcompose.jobs.lifecycle import ENDED, Input, State, sources, target
from vcompose.jobs.reader import KEY_SECONDS, Reader, fetch, reused
from vcompose.jobs.rows import integer, of_failure

MOST_STRIKES: Final = 3
"""Attempts in which the server may die without having finished a step; then the job fails."""

Publish = Callable[[Change], object]


class Store(Reader):
    """Jobs in SQLite. ``publish`` hears each change after its commit, in the order of the sequence."""

    def __init__(self, database: Database, publish: Publish, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(database, clock=clock)
        self._publish = publish

    # ---- what the outside asks for -------------------------------------------------------------------------------

    async def accept(
        self, composition: str, *, needs: Sequence[str] = (), treatments: str = "[]", key: str | None = None
    ) -> Job:
        """Accept a composition; it is on the disk when this returns.

        ``needs`` are the ids of its clips, kept from deletion until the job ends. The same ``key`` with the same
        composition gives the first job again. Raises KeyReused, ClipMissing.
        """
        digest = hashlib.sha256(composition.encode()).hexdigest()

        async def work(db: aiosqlite.Connection) -> tuple[Job, bool]:
            now = self._clock()
            if key is not None:
                await db.execute("DELETE FROM idempotency WHERE created < ?", (now - KEY_SECONDS,))
                known = await one(db, "SELECT digest, job FROM idempotency WHERE key = ?", key)
                if known is not None:
                    if known[0] != digest:
                        raise KeyReused(reused(key))
                    return await fetch(db, str(known[1])), False
            job = f"j_{uuid7().hex}"
            seq = await _next(db)
            await db.execute(
                "INSERT INTO job (id, state, seq, composition, treatments, created) VALUES (?, ?, ?, ?, ?, ?)",
                (job, State.PENDING, seq, composition, treatments, now),
            )
            await _note_needs(db, job, needs)
            if key is not None:
                await db.execute("INSERT INTO idempotency VALUES (?, ?, ?, ?)", (key, digest, job, now))
            return await self._noted(db, job), True

        return await self._write_if_new(work)

    async def wish_cancel(self, job: str) -> Job:
        """Note that a cancel is wanted. A pending job is cancelled by that; a processing one when it is proven gone
        (:meth:`cancelled`). A second wish changes nothing. Raises NoSuchJob, WrongState.
        """

        async def work(db: aiosqlite.Connection) -> tuple[Job, bool]:
            before = await fetch(db, job)
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
            before = await fetch(db, job)
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
            oldest = await one(db, "SELECT id FROM job WHERE state = ? ORDER BY number LIMIT 1", State.PENDING)
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
        # orderly until it is begun: a death of the server while it waits for its place is no strike
        await db.execute(
            "UPDATE job SET attempt = attempt + 1, strikes = ?, progressed = 0, orderly = 1, seq = ? WHERE id = ?",
            (strikes, await _next(db), job),
        )
        return await self._noted(db, job)

    async def begin(self, job: str, attempt: int) -> None:
        """An attempt that :meth:`resume` gave a job is really begun. Raises Fenced."""

        async def work(db: aiosqlite.Connection) -> None:
            await _fenced(db, job, attempt)
            await db.execute("UPDATE job SET orderly = 0 WHERE id = ?", (job,))

        await self._database.write(work)

    async def record_treatments(self, job: str, attempt: int, treatments: str) -> Job:
        """What is done to each clip, once it is planned. Raises Fenced."""
        return await self._attempt(job, attempt, treatments=treatments)

    async def record_progress(self, job: str, attempt: int, percent: int, stage: str) -> Job:
        """Whole percents, 0 to 99, never less than before; a new one gets its number before it is shown, and each
        tenth that was passed is an event. Raises Fenced.
        """

        async def work(db: aiosqlite.Connection) -> tuple[Job, bool]:
            before = await _fenced(db, job, attempt)
            reached = max(before.percent, min(99, percent))
            if reached == before.percent and stage == before.stage:
                return before, False
            await self._tenths(db, before, reached)
            await db.execute(
                "UPDATE job SET percent = ?, stage = ?, seq = ? WHERE id = ?", (reached, stage, await _next(db), job)
            )
            return await fetch(db, job), True

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
        """The film is verified and has its name. Raises Fenced, CancelWished."""
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
        """The film cannot be made. Raises Fenced, CancelWished."""
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

    # ---- how it is written ---------------------------------------------------------------------------------------

    async def _end(self, job: str, attempt: int, given: Input, **columns: object) -> Job:
        async def work(db: aiosqlite.Connection) -> Job:
            before = await _fenced(db, job, attempt)
            if before.wish and given is not Input.CANCEL:
                raise CancelWished(f"job {job} is to be cancelled: that was wished for before it ended")
            if given is Input.FINISH:
                await self._tenths(db, before, 100)
            return await self._leave(db, job, given, **columns)

        return await self._database.write(work, self._tell)

    async def _attempt(self, job: str, attempt: int, **columns: object) -> Job:
        async def work(db: aiosqlite.Connection) -> Job:
            await _fenced(db, job, attempt)
            await _update(db, job, {**columns, "seq": await _next(db)})
            return await fetch(db, job)

        return await self._database.write(work, self._tell)

    async def _leave(self, db: aiosqlite.Connection, job: str, given: Input, **columns: object) -> Job:
        """The guarded transition: only out of the states that take the input."""
        leaving = sources(given)
        to = target(given)
        values = {**columns, "state": to, "seq": await _next(db)}
        if to in ENDED:
            values["finished"] = self._clock()
            await db.execute("DELETE FROM need WHERE job = (SELECT number FROM job WHERE id = ?)", (job,))
        if not await _update(db, job, values, leaving):
            now = await fetch(db, job)
            raise WrongState(job, now.state, str(to))
        return await self._noted(db, job)

    async def _tenths(self, db: aiosqlite.Connection, before: Job, reached: int) -> None:
        """An event for each tenth that a job passed on its way, also where it passed several at once."""
        for tenth in range(before.percent // 10 + 1, min(9, reached // 10) + 1):
            await db.execute(
                "INSERT INTO event VALUES (?, 'job', ?, ?, ?, ?)",
                (await _next(db), before.id, before.state, tenth * 10, self._clock()),
            )

    async def _noted(self, db: aiosqlite.Connection, job: str) -> Job:
        """Write the change that was just made into the events as well."""
        now = await fetch(db, job)
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


async def _note_needs(db: aiosqlite.Connection, job: str, needs: Sequence[str]) -> None:
    """Raises ClipMissing."""
    if not needs:
        return
    cursor = await db.execute(
        "INSERT INTO need SELECT job.number, clip.number FROM job, clip "
        "WHERE job.id = ? AND clip.id IN (SELECT value FROM json_each(?))",
        (job, listed(needs)),
    )
    if cursor.rowcount != len(needs):
        for clip in needs:
            if await one(db, "SELECT 1 FROM clip WHERE id = ?", clip) is None:
                raise ClipMissing(clip)


async def _next(db: aiosqlite.Connection) -> int:
    row = await one(db, "UPDATE sequence SET last = last + 1 RETURNING last")
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


async def _fenced(db: aiosqlite.Connection, job: str, attempt: int) -> Job:
    now = await fetch(db, job)
    if now.state is not State.PROCESSING or now.attempt != attempt:
        raise Fenced(f"attempt {attempt} of job {job} may not write: it is {now.state}, in attempt {now.attempt}")
    return now
