"""A filmmaker that makes films when it is let: for tests in which it does not matter what a film shows."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from vcompose.media.estimate import Report, Stage
from vcompose.media.executor import Executor
from vcompose.media.film import Tell
from vcompose.media.plan import Plan
from vcompose.media.tools import Tools


class Filmmaking:
    """Its films are copies of one file. ``held`` ones wait for :meth:`let`; :meth:`tell` reports progress meanwhile."""

    def __init__(self, film: Path, *, held: bool = False) -> None:
        self._film = film
        self._go = asyncio.Event()
        self._tells: list[Tell] = []
        self.begun = asyncio.Event()
        if not held:
            self._go.set()

    async def __call__(
        self, plan: Plan, folder: Path, executor: Executor, tools: Tools, tell: Tell, *, floor: int = 0
    ) -> tuple[Plan, Path]:
        """See :class:`vcompose.jobs.execution.Filmmaker`."""
        del executor, tools, floor
        self._tells.append(tell)
        self.begun.set()
        await self._go.wait()
        film = folder / "film.mp4"
        await asyncio.to_thread(shutil.copyfile, self._film, film)
        return plan, film

    def tell(self, percent: int, stage: Stage = Stage.ENCODING) -> None:
        """Every film that is being made is so far."""
        for tell in self._tells:
            tell(Report(percent=percent, stage=stage, speed=2.0, seconds_left=10.0))

    def let(self) -> None:
        """Make all, those to come too."""
        self._go.set()

    def hold(self) -> None:
        """Make none any more."""
        self._go.clear()
        self.begun.clear()
