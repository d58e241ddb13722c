"""A plan becomes a film: its steps through an executor, then joined, then verified. The film's name comes later."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from vcompose.media.command import tool_key
from vcompose.media.composition import Mode
from vcompose.media.errors import MediaError, StepError, VerifyError
from vcompose.media.estimate import VERIFY, FilmProgress, Report
from vcompose.media.executor import Executor
from vcompose.media.plan import Plan, Reason, source
from vcompose.media.plan import plan as plan_composition
from vcompose.media.step import JoinStep, Step
from vcompose.media.tasks import together
from vcompose.media.tools import Tools
from vcompose.media.verify import verify
from vcompose.media.workspace import link_clips, unchanged

Tell = Callable[[Report], None]
"""Hears reports, at most every tenth of a second while a step runs; it must return at once."""

_REPORT_SECONDS: Final = 0.1


async def make(plan: Plan, folder: Path, executor: Executor, tools: Tools, tell: Tell, *, floor: int = 0) -> Path:
    """Make the film in the workspace ``folder`` and give its path; steps whose output is there are not run.

    ``floor`` is the percentage that was told already. Raises StepError naming the clip to blame, VerifyError,
    ToolError, ClipError (``clip_changed``).
    """
    clips = plan.composition.clips
    progress = FilmProgress(plan, now=time.monotonic(), floor=floor)
    told = -_REPORT_SECONDS

    def report(*, always: bool = True) -> None:
        nonlocal told
        now = time.monotonic()
        if always or now - told >= _REPORT_SECONDS:
            told = now
            tell(progress.report(now=now))

    async def run(step: Step) -> None:
        def emit(done: float) -> None:
            progress.tell(step.id, done)
            report(always=False)

        try:
            made = await executor.run(step, emit)
        except StepError as error:
            raise _blamed(plan, error) from error
        progress.finish(step.id, made.seconds)
        report()

    report()
    # here, not in a thread: one that outlived a cancel would write into a folder that is being removed
    link_clips(folder, [(source(clip, 0).link, Path(clip.path)) for clip in clips])
    await _all(run, iter(plan.steps[:-1]), executor.parallel)
    join = plan.steps[-1]
    assert isinstance(join, JoinStep)
    await run(join)
    for clip in clips:
        unchanged(clip.name, Path(clip.path), clip.identity)

    def checked(done: float) -> None:
        progress.tell(VERIFY, done)
        report()

    film = folder / join.output
    await verify(plan, film, tools, checked)
    progress.finish(VERIFY, 0.0)
    report()
    return film


async def produce(
    plan: Plan, folder: Path, executor: Executor, tools: Tools, tell: Tell, *, floor: int = 0
) -> tuple[Plan, Path]:
    """:func:`make`, and a copied film that fails its check is made once more, encoded; gives the plan that held."""
    reached = floor

    def heard(report: Report) -> None:
        nonlocal reached
        reached = report.percent
        tell(report)

    try:
        return plan, await make(plan, folder, executor, tools, heard, floor=floor)
    except (VerifyError, StepError) as error:
        if not plan.copies or plan.composition.output.mode is Mode.COPY:
            raise
        reason = Reason(code="check_failed", parameters={"why": _brief(error)})
    plan = plan_composition(plan.composition, tool=tool_key(tools.ffmpeg.version), encode=reason)
    return plan, await make(plan, folder, executor, tools, heard, floor=reached)


def flush(path: Path) -> None:
    """Bring a file's bytes to the disk, so that its name never stands for less."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _brief(error: MediaError) -> str:
    """Why a copy failed, for a person: not the words of ffmpeg."""
    return error.detail if isinstance(error, VerifyError) else "its packets cannot be joined"


async def _all(run: Callable[[Step], Awaitable[None]], steps: Iterator[Step], parallel: int) -> None:
    """Run steps, only as many as the executor takes at once, whatever their number; the first failure ends all."""

    async def worker() -> None:
        for step in steps:
            await run(step)

    async with together() as group:
        for _ in range(parallel):
            group.create_task(worker())


def _blamed(plan: Plan, error: StepError) -> StepError:
    """The same failure with the name of the clip, so that a person knows which one."""
    if error.place is None:
        return error
    name = plan.composition.clips[error.place].name
    blamed = type(error)(
        f"{name} could not be used: {error.detail}. Convert it first, or leave it out",
        code=error.code, clip=name, status=error.status, stderr=error.stderr, place=error.place,
    )  # fmt: skip
    blamed.__traceback__ = error.__traceback__
    return blamed
