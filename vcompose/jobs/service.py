"""The service: all that the outside may ask of clips and jobs, behind one door. Made by :func:`open_service`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import structlog

from vcompose.jobs import document
from vcompose.jobs.database import open_database
from vcompose.jobs.document import CompositionDocument
from vcompose.jobs.execution import Execution, Filmmaker, Shared
from vcompose.jobs.folders import Folders
from vcompose.jobs.hub import Closed, Hub, Subscription
from vcompose.jobs.intake import Incoming, TooLarge, receive
from vcompose.jobs.job import Change, ClipRefused, Job, NoOutput, NoSuchJob, Stopping
from vcompose.jobs.lifecycle import State
from vcompose.jobs.meter import Meter
from vcompose.jobs.reader import Page
from vcompose.jobs.scheduler import Scheduler
from vcompose.jobs.shelf import ClipPage, Shelf, StoredClip
from vcompose.jobs.store import Store
from vcompose.media.child import end_orphans
from vcompose.media.errors import ClipError, MediaError
from vcompose.media.estimate import expected_size
from vcompose.media.executor import usual_parallel
from vcompose.media.film import produce
from vcompose.media.probe import probe
from vcompose.media.tools import Tools

log = structlog.get_logger("vcompose.jobs")

_PROBES_AT_ONCE: Final = 2
_NICE: Final = 10
"""How far encodes stand back behind answers."""
_FORM: Final = 1 << 16
"""Bytes that a form may have around its file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an operator may choose: jobs at once, steps at once over all jobs (None: by the cores), bytes of one
    upload, bytes of the disk that are never filled, seconds that running jobs get at the end.
    """

    jobs: int | None = None
    parallel: int | None = None
    upload: int = 20 << 30
    keep_free: int = 512 << 20
    grace: float = 30.0


class Service:
    """Clips, jobs, and what happens to them."""

    def __init__(
        self,
        store: Store,
        shelf: Shelf,
        scheduler: Scheduler,
        execution: Execution,
        shared: Shared,
        limits: Limits,
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._scheduler = scheduler
        self._execution = execution
        self._shared = shared
        self._limits = limits
        self._probes = asyncio.Semaphore(_PROBES_AT_ONCE)
        self.hurry = asyncio.Event()
        """Set when running jobs shall not be waited for any longer."""

    def admit(self, size: int, name: str = "the clip") -> None:
        """Whether an upload of about ``size`` bytes may come. Raises NoSpace, TooLarge, Stopping."""
        if self._scheduler.stopping:
            raise Stopping
        if size > self._limits.upload + _FORM:
            raise TooLarge(name, self._limits.upload)
        self._shared.folders.need(size)

    # ---- clips ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def receive(self, name: str, *, expected: int | None = None) -> AsyncIterator[Incoming]:
        """Receive a file named ``name``; ``expected`` are its bytes where they are known. Raises as :meth:`admit`."""
        self.admit(expected or 0, name)
        async with receive(self._shared.folders, name, limit=self._limits.upload) as incoming:
            yield incoming

    async def add(self, incoming: Incoming) -> StoredClip:
        """Look into what was received, and put it on the shelf. Raises ClipRefused, NoSpace."""
        sha256 = await incoming.finish()
        self._shared.meter.bytes_received += incoming.size
        clip = await self._shelf.known(sha256)
        if clip is None:
            async with self._probes:
                try:
                    clip = await probe(incoming.path, self._shared.tools, name=incoming.name)
                except ClipError as error:
                    raise ClipRefused(error.code, error.detail, incoming.name) from error
        stored = await self._shelf.add(incoming.path, name=incoming.name, size=incoming.size, sha256=sha256, clip=clip)
        log.info("clip_added", clip=stored.id, bytes=stored.size)
        return stored

    async def clip(self, clip: str) -> StoredClip:
        """Raises NoSuchClip."""
        return await self._shelf.clip(clip)

    async def clips(self, *, before: int | None = None, limit: int = 50) -> ClipPage:
        """Clips, newest first."""
        return await self._shelf.clips(before=before, limit=limit)

    def content(self, clip: StoredClip) -> Path:
        """Where a clip's bytes lie."""
        return self._shelf.path(clip)

    async def delete_clip(self, clip: str) -> None:
        """Raises NoSuchClip, ClipInUse."""
        await self._shelf.delete(clip)
        log.info("clip_deleted", clip=clip)

    # ---- jobs ----------------------------------------------------------------------------------------------------

    async def plan(self, wanted: CompositionDocument) -> dict[str, Any]:
        """What would be done, with the reasons; nothing is made. Raises WishRefused, ClipMissing."""
        return document.planned(
            await self._execution.plan(wanted), wanted, self._shared.parallel / self._shared.meter.slowness
        )

    async def submit(self, wanted: CompositionDocument, *, key: str | None = None) -> Job:
        """Accept a composition: it is on the disk when this returns, and will be made.

        The same ``key`` with the same document gives the first job again. Raises WishRefused, ClipMissing, KeyReused,
        NoSpace, Stopping.
        """
        text = document.written(wanted)
        if key is not None and (known := await self._store.accepted(key, text)) is not None:
            return self._shared.meter.lively(known)
        if self._scheduler.stopping:
            raise Stopping
        plan = await self._execution.plan(wanted)
        self._shared.folders.need(2 * expected_size(plan))
        return await self._store.accept(text, needs=wanted.needs, treatments=document.treatments(plan, wanted), key=key)

    async def job(self, job: str) -> Job:
        """Raises NoSuchJob."""
        return self._shared.meter.lively(await self._store.job(job))

    async def jobs(self, *, states: Sequence[State] = (), before: int | None = None, limit: int = 50) -> Page:
        """Jobs, newest first."""
        page = await self._store.jobs(states=states, before=before, limit=limit)
        return replace(page, jobs=tuple(map(self._shared.meter.lively, page.jobs)))

    async def cancel(self, job: str) -> Job:
        """Cancel a job; returns with the receipt: no child of it lives, no file of it is left.

        Raises NoSuchJob, WrongState.
        """
        return await self._scheduler.cancel(job)

    async def delete(self, job: str) -> None:
        """Remove a job that has ended, and its film. Raises NoSuchJob, WrongState."""
        await self._store.delete(job)

    async def film(self, job: str) -> tuple[Job, Path]:
        """A completed job, and where its film lies. Raises NoSuchJob, NoOutput."""
        found = await self._store.job(job)
        path = self._shared.folders.film(job)
        if found.output is None or not path.is_file():
            raise NoOutput(job, found.state)
        return found, path

    # ---- what happens --------------------------------------------------------------------------------------------

    def subscribe(self, job: str | None = None) -> contextlib.AbstractContextManager[Subscription]:
        """Hear every change from now on, or those of one job."""
        return self._shared.hub.subscribe(job)

    async def changes(self, after: int, *, limit: int = 1000) -> list[Change]:
        """What happened since a number of the sequence."""
        changes = await self._store.changes(after, limit=limit)
        return [replace(one, job=None if one.job is None else self._shared.meter.lively(one.job)) for one in changes]

    async def sequence(self) -> int:
        """The number of the last change."""
        return await self._store.sequence()

    async def wait_for_job(self, job: str, after: int, seconds: float) -> Job:
        """The job as soon as its number is above ``after``, or as it is after ``seconds``. Raises NoSuchJob."""
        with self.subscribe(job) as subscription, contextlib.suppress(TimeoutError, Closed):
            async with asyncio.timeout(seconds):
                while (now := await self.job(job)).seq <= after:
                    if any(change.job is None for change in await subscription.next()):
                        raise NoSuchJob(job)
                return now
        return await self.job(job)

    async def wait_for_changes(self, after: int, seconds: float, *, limit: int = 1000) -> list[Change]:
        """What happened since ``after``; where that is nothing, what happens within ``seconds``."""
        with self.subscribe() as subscription, contextlib.suppress(TimeoutError, Closed):
            async with asyncio.timeout(seconds):
                while not (changes := await self.changes(after, limit=limit)):
                    await subscription.next()
                return changes
        return []

    # ---- how it is -----------------------------------------------------------------------------------------------

    @property
    def meter(self) -> Meter:
        """What was counted since the start."""
        return self._shared.meter

    @property
    def stopping(self) -> bool:
        """Whether nothing new is taken."""
        return self._scheduler.stopping

    @property
    def running(self) -> int:
        """Jobs that are being made."""
        return self._scheduler.running

    @property
    def watchers(self) -> int:
        """Whoever hears changes at present."""
        return len(self._shared.hub)

    def free(self) -> int:
        """Bytes that may still be written to the disk."""
        return self._shared.folders.free()

    async def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        return await self._store.counts()

    async def history(self, job: str) -> list[tuple[int, State, int]]:
        """The recorded events of a job: its changes of state and each tenth."""
        return await self._store.history(job)

    async def stop(self) -> None:
        """Take nothing new; running jobs get their grace, then they are left to the next server."""
        await self._scheduler.stop(self._limits.grace, self.hurry)

    def let_go(self) -> None:
        """Whoever waits for a change is told now what there is: the web stops."""
        self._shared.hub.close()


@contextlib.asynccontextmanager
async def open_service(
    folder: Path, tools: Tools, limits: Limits, *, filmmaker: Filmmaker = produce
) -> AsyncIterator[Service]:
    """Open a data folder and serve it: end the orphans of the last life, sweep its strays, go on with its jobs.

    On the way out running jobs get their grace (see :meth:`Service.stop`), and everything is closed.
    Raises StoreError with a sentence.
    """
    hub = Hub()
    meter = Meter()

    folders = Folders(root=folder, keep_free=limits.keep_free)
    scheduler: Scheduler | None = None

    def publish(change: Change) -> None:
        """What follows from a commit follows here, whether or not its caller is still there."""
        job = change.job
        if job is None:
            with contextlib.suppress(OSError):  # the next start sweeps it
                folders.film(change.id).unlink(missing_ok=True)
            hub.publish(change)
            log.info("job_deleted", job=change.id)
            return
        if hub.publish(replace(change, job=meter.lively(job))):
            meter.tell(job)
            log.info("job_is", job=job.id, state=job.state, percent=job.percent, attempt=job.attempt, seq=job.seq)
        if scheduler is not None:
            scheduler.committed(job)

    async with open_database(folder) as database:
        folders.make()
        orphans = await end_orphans(folders.children)
        tools = replace(tools, guard=replace(tools.guard, ledger=folders.children, nice=_NICE))
        parallel = limits.parallel or usual_parallel()
        shared = Shared(
            tools=tools,
            folders=folders,
            gate=asyncio.Semaphore(parallel),
            parallel=parallel,
            meter=meter,
            hub=hub,
            filmmaker=filmmaker,
        )
        store = Store(database, publish)
        shelf = Shelf(database, folders.clips, clock=time.time)
        execution = Execution(store, shelf, shared)
        resumed = await store.resume()
        living = frozenset(job.id for job in resumed)
        strays = await asyncio.to_thread(folders.sweep_work, living)
        completed = await store.ids([State.COMPLETED])
        strays += await asyncio.to_thread(folders.sweep_films, completed | living)
        strays += await shelf.sweep()
        for clip in await shelf.unreadable():
            try:
                await shelf.look_again(clip, await probe(shelf.path(clip), tools, name=clip.name))
            except MediaError as error:
                shelf.put_aside(clip)
                log.warning("clip_unreadable", clip=clip.id, code=error.code, detail=error.detail)
        log.info("opened", folder=str(folder), resumed=len(resumed), orphans=orphans, strays=strays)
        scheduler = Scheduler(store, execution, hub, at_once=limits.jobs or usual_parallel())
        scheduler.start(resumed)
        service = Service(store, shelf, scheduler, execution, shared, limits)
        try:
            yield service
        finally:
            await service.stop()
            log.info("closed", folder=str(folder))
