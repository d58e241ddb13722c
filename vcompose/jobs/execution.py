"""One attempt at a job: its plan made real, its progress written, its outcome turned into a transition.

This is the only module that decides how a job ends. Whatever happens in an attempt, it comes to its conclusion, which
runs to its end: no child is left by then, and the job's files go before its end is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from vcompose.jobs import document
from vcompose.jobs.document import CompositionDocument
from vcompose.jobs.folders import Folders
from vcompose.jobs.hub import Hub
from vcompose.jobs.job import CancelWished, ClipMissing, Failure, Fenced, Job, Output
from vcompose.jobs.meter import Meter
from vcompose.jobs.shelf import Shelf, flush_folder
from vcompose.jobs.store import Store
from vcompose.media import ledger
from vcompose.media.command import tool_key
from vcompose.media.composition import Composition
from vcompose.media.errors import MediaError, StepError
from vcompose.media.estimate import Report, cost
from vcompose.media.executor import Executor, LocalExecutor
from vcompose.media.film import Tell, flush, produce
from vcompose.media.make import Emit, Made
from vcompose.media.mp4 import read_index
from vcompose.media.plan import Plan
from vcompose.media.plan import plan as plan_composition
from vcompose.media.step import EncodeStep, Step
from vcompose.media.tasks import Unstoppable, settled, together
from vcompose.media.tools import Tools

log = structlog.get_logger("vcompose.jobs")

TELL_SECONDS: Final = 0.25
"""Progress is written and told at most this often for one job: four times a second."""
PULSE_SECONDS: Final = 2.0
"""A step that is quiet is told to live this often."""
_BOOT: Final = "boot"
_FEW_CLIPS: Final = 8
_PAUSES: Final = (0.2, 1.0, 5.0)


class Filmmaker(Protocol):
    """What makes a film: :func:`vcompose.media.film.produce`, or another that keeps its promises."""

    def __call__(
        self, plan: Plan, folder: Path, executor: Executor, tools: Tools, tell: Tell, *, floor: int = 0
    ) -> Awaitable[tuple[Plan, Path]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all attempts of a server share: steps at once, the programs, where things lie, who hears of it."""

    tools: Tools
    folders: Folders
    gate: asyncio.Semaphore
    parallel: int
    meter: Meter
    hub: Hub
    filmmaker: Filmmaker = produce


@dataclass(frozen=True, slots=True)
class _Film:
    """The outcome of an attempt that made its film."""

    path: Path


class _Stopped:
    """The outcome of an attempt that was told to stop: its job is to be cancelled, or left to the next server."""


class Execution:
    """Makes attempts at jobs."""

    def __init__(self, store: Store, shelf: Shelf, shared: Shared) -> None:
        self._store = store
        self._shelf = shelf
        self._shared = shared
        self.closing = asyncio.Event()
        """Set when the server cannot wait for a disk that would not have a job's end."""

    async def plan(self, wanted: CompositionDocument) -> Plan:
        """Plan a document, by what is known of its clips; nothing is opened. Raises WishRefused, ClipMissing."""
        output = document.check(wanted)
        clips = await self._shelf.media(wanted.needs)
        missing = next((part.clip for part in wanted.clips if part.clip not in clips), None)
        if missing is not None:
            raise ClipMissing(missing)
        composition = Composition(clips=tuple(clips[part.clip] for part in wanted.clips), output=output)
        tool = tool_key(self._shared.tools.ffmpeg.version)
        try:
            if len(wanted.clips) <= _FEW_CLIPS:  # under a millisecond: the way to a thread and back is longer
                return plan_composition(composition, tool=tool)
            return await asyncio.to_thread(plan_composition, composition, tool=tool)
        except MediaError as error:
            raise document.refused(error, wanted) from error

    async def attempt(self, job: Job) -> None:
        """Make one attempt, to its end. Cancelling it stops it: then the row tells whether for good."""
        with structlog.contextvars.bound_contextvars(job=job.id, attempt=job.attempt):
            outcome: _Film | Failure | _Stopped
            try:
                outcome = await self._make(job)
            except asyncio.CancelledError:
                outcome = _Stopped()
            except Fenced:
                log.warning("fenced", detail="another attempt has the job")
                return
            except MediaError as error:
                outcome = _failure(job, error)
            except ClipMissing as error:
                detail = f"the server has lost the bytes of clip {error.clip}: upload it again, and compose with that"
                outcome = Failure(code="clip_lost", detail=detail, clip=error.clip)
            except Exception:  # a fault of ours must end the job and be told, not stay "processing" for ever
                log.exception("attempt_broken")
                outcome = Failure(code="internal_error", detail="the server made a mistake; its log says which")
            await settled(Unstoppable(self._surely(job, outcome)))

    async def _make(self, job: Job) -> _Film:
        if (await self._store.job(job.id)).wish:
            raise asyncio.CancelledError  # wished for between the claim and now
        folder = self._shared.folders.work / job.id
        wanted = document.read(job.composition)
        plan = await self.plan(wanted)
        recorded = await self._store.steps(job.id)
        await asyncio.to_thread(_prepare, folder, recorded, plan)
        lost = [
            part.clip
            for part, one in zip(wanted.clips, plan.composition.clips, strict=True)
            if not Path(one.path).is_file()
        ]
        if lost:
            raise ClipMissing(lost[0])
        named = self._shared.folders.film(job.id)
        if named.exists():
            return _Film(named)  # the server died between the film's name and its commit: it was verified
        telling = _Telling(self._store, self._shared, job)
        async with together() as group:
            recorder = group.create_task(telling.run())
            executor = _Recording(
                LocalExecutor(
                    self._shared.tools, folder, parallel=self._shared.parallel, gate=self._shared.gate
                ),
                self._store, job, folder, recorded, self._shared.meter,
            )  # fmt: skip
            made, path = await self._shared.filmmaker(
                plan, folder, executor, self._shared.tools, telling.hear, floor=job.percent
            )
            recorder.cancel()
        await telling.write()
        if made is not plan:
            await self._store.record_treatments(job.id, job.attempt, document.treatments(made, wanted))
        return _Film(path)

    async def _surely(self, job: Job, outcome: _Film | Failure | _Stopped) -> None:
        """Conclude, again where the disk would not have it: a job must not stay "processing" with nobody at it."""
        pauses = iter(_PAUSES)
        while True:
            try:
                await self._conclude(job, outcome)
            except Fenced:
                log.warning("fenced", detail="the job has ended, or another attempt has it")
            except (sqlite3.Error, OSError):
                pause = next(pauses, _PAUSES[-1])
                log.exception("conclusion_delayed", seconds=pause)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.closing.wait(), pause)
                if not self.closing.is_set():
                    continue  # else the next server finds it
            return

    async def _conclude(self, job: Job, outcome: _Film | Failure | _Stopped) -> None:
        try:
            if isinstance(outcome, _Film):
                outcome = await self._complete(job, outcome)
            if isinstance(outcome, Failure):
                await asyncio.to_thread(self._remove, job)
                await self._store.fail(job.id, job.attempt, outcome)
                log.warning("job_failed", code=outcome.code, detail=outcome.detail)
        except CancelWished:
            outcome = _Stopped()
        finally:
            self._shared.meter.live.pop(job.id, None)
        if isinstance(outcome, _Stopped):
            if (await self._store.job(job.id)).wish:
                await self.cancelled(job)
            else:
                await self._store.release(job.id, job.attempt)

    async def cancelled(self, job: Job) -> None:
        """Nothing of the job is running (any more): its files go, then it is cancelled."""
        await asyncio.to_thread(self._remove, job)
        await self._store.cancelled(job.id, job.attempt)

    async def _complete(self, job: Job, film: _Film) -> _Film | Failure:
        named = self._shared.folders.film(job.id)
        try:
            size, duration = await asyncio.to_thread(_give_name, film.path, named)
        except OSError as error:
            return Failure(code="no_space", detail=f"the film cannot be written to the disk: {error.strerror}")
        filename = document.read(job.composition).output.filename
        await self._store.complete(
            job.id, job.attempt, Output(filename=filename, bytes=size, duration=round(duration, 6))
        )
        await asyncio.to_thread(shutil.rmtree, self._shared.folders.work / job.id, ignore_errors=True)
        return film

    def _remove(self, job: Job) -> None:
        shutil.rmtree(self._shared.folders.work / job.id, ignore_errors=True)
        self._shared.folders.film(job.id).unlink(missing_ok=True)


class _Recording:
    """An executor that writes each finished step down, its output on the disk before."""

    def __init__(
        self, executor: Executor, store: Store, job: Job, folder: Path, recorded: frozenset[str], meter: Meter
    ) -> None:
        self._executor = executor
        self._store = store
        self._job = job
        self._folder = folder
        self._recorded = recorded
        self._meter = meter

    @property
    def parallel(self) -> int:
        """See :class:`~vcompose.media.executor.Executor`."""
        return self._executor.parallel

    async def run(self, step: Step, emit: Emit) -> Made:
        """See :class:`~vcompose.media.executor.Executor`."""
        made = await self._executor.run(step, emit)
        if made.seconds or step.id not in self._recorded:  # the server may have died between its name and its row
            await asyncio.to_thread(flush, self._folder / step.output)
            await self._store.record_step(self._job.id, self._job.attempt, step.id, made.seconds, made.size)
        if made.seconds:
            log.info("step_done", step=step.id, kind=step.kind, seconds=round(made.seconds, 3), bytes=made.size)
            if isinstance(step, EncodeStep):
                self._meter.encoded_seconds += float(step.frames / step.target.rate)
                self._meter.encoding_seconds += made.seconds
                self._meter.expected_seconds += cost(step)
        return made


class _Telling:
    """Writes an attempt's progress down, then has it told: at most every :data:`TELL_SECONDS`."""

    def __init__(self, store: Store, shared: Shared, job: Job) -> None:
        self._store = store
        self._shared = shared
        self._job = job
        self._latest: Report | None = None
        self._written: Report | None = None
        self._told = time.monotonic()

    def hear(self, report: Report) -> None:
        """A report of the film's making. Returns at once."""
        self._latest = report

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what was heard last, if it is news."""
        report = self._latest
        if report is None:
            return
        self._shared.meter.live[self._job.id] = (_rounded(report.speed), _rounded(report.seconds_left))
        before = self._written
        if before is None or (before.percent, before.stage) != (report.percent, report.stage):
            self._job = await self._store.record_progress(self._job.id, self._job.attempt, report.percent, report.stage)
        elif report is before and time.monotonic() - self._told < PULSE_SECONDS:
            return
        else:
            self._shared.hub.pulse(self._shared.meter.lively(self._job))
        self._written = report
        self._told = time.monotonic()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _prepare(folder: Path, recorded: frozenset[str], plan: Plan) -> None:
    """The job's folder. After a power cut only what was written down is trusted: the rest may be half on the disk."""
    folder.mkdir(mode=0o700, exist_ok=True)
    boot = folder / _BOOT
    with contextlib.suppress(FileNotFoundError):
        if boot.read_text(encoding="ascii") != ledger.boot():
            for step in plan.steps:
                if step.id not in recorded:
                    (folder / step.output).unlink(missing_ok=True)
    boot.write_text(ledger.boot(), encoding="ascii")


def _give_name(made: Path, named: Path) -> tuple[int, float]:
    """The film gets its name, its bytes on the disk before; gives its size, and its duration in seconds."""
    if made != named and (made.exists() or not named.exists()):  # else a conclusion that is made again
        flush(made)
        made.replace(named)
    flush_folder(named.parent)
    with named.open("rb") as file:
        index = read_index(file)
    return named.stat().st_size, float(max(index.length(track) for track in index.of("vide")))


def _failure(job: Job, error: MediaError) -> Failure:
    clip = None
    if isinstance(error, StepError) and error.place is not None:
        clip = document.read(job.composition).clips[error.place].clip
    return Failure(code=error.code, detail=error.detail, clip=clip)
