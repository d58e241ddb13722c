"""Where steps run. The port has one method; this machine is the first to implement it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final, Protocol

from vcompose.media.errors import ChildStalled
from vcompose.media.make import Emit, Made, Shop, run_step
from vcompose.media.step import Step
from vcompose.media.tools import Tools

_TRIES: Final = 2
"""A child that hung is tried once more: ffmpeg was seen to deadlock in a few of a hundred runs."""


class Executor(Protocol):
    """Runs steps, ``parallel`` of them at once; further ones wait."""

    @property
    def parallel(self) -> int:
        """How many steps it runs at once: whoever has more need not offer more."""
        ...

    async def run(self, step: Step, emit: Emit) -> Made:
        """Run one step to its end. Cancelling it ends its children before the cancellation goes on."""
        ...


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_parallel() -> int:
    """Steps at once where nobody says: two, or one for four cores."""
    return max(2, cores() // 4)


class LocalExecutor:
    """Runs steps on this machine, in one workspace; several films may share a ``gate`` of ``parallel`` places."""

    def __init__(
        self, tools: Tools, folder: Path, *, parallel: int | None = None, gate: asyncio.Semaphore | None = None
    ) -> None:
        self._parallel = parallel or usual_parallel()
        self._shop = Shop(tools=tools, folder=folder, threads=cores() // self._parallel + 1)
        self._gate = gate or asyncio.Semaphore(self._parallel)

    @property
    def parallel(self) -> int:
        """How many steps run at once: by default two, or one for four cores."""
        return self._parallel

    async def run(self, step: Step, emit: Emit) -> Made:
        """See :class:`Executor`."""
        async with self._gate:
            for left in reversed(range(_TRIES)):
                try:
                    return await run_step(step, emit, self._shop)
                except ChildStalled:
                    if not left:
                        raise
        raise AssertionError("the last try returns or raises")
