"""What anybody may read of the jobs, without a wait for whoever writes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import aiosqlite

from vcompose.jobs.database import Database, one
from vcompose.jobs.job import Change, Job, KeyReused, NoSuchJob
from vcompose.jobs.lifecycle import State
from vcompose.jobs.rows import COLUMNS, integer, read

KEY_SECONDS: Final = 24 * 3600
"""For how long an idempotency key is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of jobs, newest first; ``next`` is the cursor of the page after it (None: there is none)."""

    jobs: tuple[Job, ...]
    next: int | None


class Reader:
    """Jobs in SQLite, as they were last committed."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def accepted(self, key: str, composition: str) -> Job | None:
        """The job that a key was used for, None for a new key. Raises KeyReused."""
        known = await one(
            self._database.reader,
            "SELECT digest, job FROM idempotency WHERE key = ? AND created >= ?",
            key,
            self._clock() - KEY_SECONDS,
        )
        if known is None:
            return None
        if known[0] != hashlib.sha256(composition.encode()).hexdigest():
            raise KeyReused(reused(key))
        return await fetch(self._database.reader, str(known[1]))

    async def job(self, job: str) -> Job:
        """Raises NoSuchJob."""
        return await fetch(self._database.reader, job)

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
        nothing = ", NULL" * (COLUMNS.count(",") + 1)
        # one statement sees one state: two could lose what was committed between them
        rows = await self._database.reader.execute_fetchall(
            f"SELECT seq, id, {COLUMNS} FROM job WHERE seq > ? UNION ALL "  # noqa: S608 - our own words
            f"SELECT seq, id{nothing} FROM event WHERE kind = 'deleted' AND seq > ? ORDER BY 1 LIMIT ?",
            (after, after, limit),
        )
        return [
            Change(kind="deleted", seq=seq, id=id_, job=None)
            if columns[0] is None
            else Change(kind="job", seq=seq, id=id_, job=read(columns))
            for seq, id_, *columns in rows
        ]

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

    async def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        rows = await self._database.reader.execute_fetchall("SELECT state, count(*) FROM job GROUP BY state")
        return dict.fromkeys(State, 0) | {State(row[0]): int(row[1]) for row in rows}

    async def ids(self, states: Sequence[State]) -> frozenset[str]:
        """The ids of all jobs in some states."""
        marks = ", ".join("?" * len(states))
        rows = await self._database.reader.execute_fetchall(
            f"SELECT id FROM job WHERE state IN ({marks})",  # noqa: S608 - our own words
            tuple(states),
        )
        return frozenset(str(row[0]) for row in rows)

    async def sequence(self) -> int:
        """The number of the last change."""
        row = await one(self._database.reader, "SELECT last FROM sequence")
        assert row is not None
        return integer(row[0])


async def fetch(db: aiosqlite.Connection, job: str) -> Job:
    """One job. Raises NoSuchJob."""
    row = await one(db, f"SELECT {COLUMNS} FROM job WHERE id = ?", job)  # noqa: S608 - our own words
    if row is None:
        raise NoSuchJob(job)
    return read(row)


def reused(key: str) -> str:
    """The sentence for a key that came again with another request."""
    return f"the idempotency key {key!r} was used for another request: take a new one"
