"""The scheduler: first come, first made, so many at once. Queued jobs stay in SQLite until one of them has a place.

It is told of commits, not asked by callers: a caller that goes away between a commit and what follows from it would
leave a job that nobody makes, or an encode that nobody wants.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from vcompose.jobs.execution import Execution
from vcompose.jobs.hub import Closed, Hub
from vcompose.jobs.job import Fenced, Job, Stopping
from vcompose.jobs.lifecycle import State
from vcompose.jobs.store import Store

log = structlog.get_logger("vcompose.jobs")


class Scheduler:
    """Gives jobs to an execution, ``at_once`` of them side by side."""

    def __init__(self, store: Store, execution: Execution, hub: Hub, *, at_once: int) -> None:
        self._store = store
        self._execution = execution
        self._hub = hub
        self._at_once = at_once
        self._running: dict[str, asyncio.Task[None]] = {}
        self._resumed: dict[str, Job] = {}
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._over = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._endings: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Jobs that are being made."""
        return len(self._running)

    @property
    def stopping(self) -> bool:
        """Whether no job is started any more."""
        return self._stop.is_set()

    def start(self, resumed: Sequence[Job]) -> None:
        """Begin; ``resumed`` go first."""
        self._resumed = {job.id: job for job in resumed}
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._at_once)]

    def committed(self, job: Job) -> None:
        """A change of a job was committed: a new one is to be made, a wish to cancel is to be heeded."""
        if job.state is State.PENDING:
            self._wake.set()
        elif job.state is State.PROCESSING and job.wish:
            task = self._running.get(job.id)
            if task is not None:
                task.cancel()
            elif self._resumed.pop(job.id, None) is not None or self._stop.is_set():
                # nobody is at it: it waits for its place, or was left to the next server
                ending = asyncio.create_task(self._end(job))
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)
            # else it is just being claimed: the attempt looks for a wish before anything else

    async def cancel(self, job: str) -> Job:
        """Cancel a job; returns once it has ended: its children proven gone, its files removed.

        Raises NoSuchJob, WrongState where it has ended or ends before the wish is noted, and Stopping when the server
        goes before the job has: the wish is noted, and the next start heeds it.
        """
        with self._hub.subscribe(job) as subscription:
            now = await self._store.wish_cancel(job)
            try:
                while not now.ended:
                    await subscription.next()
                    now = await self._store.job(job)
            except Closed:
                raise Stopping from None
            return now

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """Start nothing more; what runs gets ``grace`` seconds, or until ``hurry``, and is left to the next server."""
        self._stop.set()
        self._wake.set()
        if self._running:
            log.info("waiting_for_jobs", running=len(self._running), seconds=grace)
            hurried = asyncio.create_task(hurry.wait())
            all_done = asyncio.create_task(self._idle())
            await asyncio.wait([hurried, all_done], timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            for task in (hurried, all_done):
                task.cancel()
        self._over.set()
        self._execution.closing.set()
        for attempt in list(self._running.values()):
            attempt.cancel()
        if left := [*self._workers, *self._endings]:
            await asyncio.wait(left)

    async def _idle(self) -> None:
        while self._running:
            await asyncio.wait(list(self._running.values()))

    async def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            job = await self._next()
            if job is None:
                await self._wake.wait()
                continue
            self._wake.set()  # where one was, another may be: a fellow's clear() may have hidden its coming
            task = asyncio.create_task(self._execution.attempt(job))
            # a task that is cancelled before its first step would never conclude; a wish noted before that is in the
            # row, which the attempt reads first
            await asyncio.sleep(0)
            self._running[job.id] = task
            if self._over.is_set():
                task.cancel()
            try:
                await asyncio.wait([task])
                if not task.cancelled() and (error := task.exception()) is not None:
                    log.error("attempt_lost", job=job.id, exc_info=error)
            finally:
                del self._running[job.id]

    async def _next(self) -> Job | None:
        try:
            while self._resumed:
                job = self._resumed.pop(next(iter(self._resumed)))
                with contextlib.suppress(Fenced):  # it was cancelled meanwhile
                    await self._store.begin(job.id, job.attempt)
                    return job
            return await self._store.claim()
        except Exception:  # the disk may be full for a while: the queue must go on when it no longer is
            log.exception("claim_failed")
            await asyncio.sleep(1.0)
            self._wake.set()
            return None

    async def _end(self, job: Job) -> None:
        with contextlib.suppress(Fenced):
            await self._execution.cancelled(job)
