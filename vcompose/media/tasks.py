"""Tasks side by side that end together with one error, and tasks that run to their end whoever stops waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TypeVar

_T = TypeVar("_T")


@contextlib.asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first failure ends the others, and is raised itself: one is what a person can act on."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as errors:
        raise _first(errors) from None


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


class Unstoppable(asyncio.Task[_T]):
    """A task that runs to its end even when a closing loop cancels everything it knows.

    A spawn cancelled half-way waits for ever inside asyncio, and an ending cancelled half-way leaves a child.
    """

    def cancel(self, msg: object = None) -> bool:
        """Nothing happens."""
        del msg
        return False


async def settled(task: asyncio.Task[_T]) -> tuple[_T, bool]:
    """Wait for a task to its end, through any number of cancellations; tell whether there was one.

    asyncio has no shielded scope: awaited plainly, a second cancel would abandon the reaping of a child.
    """
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    return task.result(), cancelled
