"""The hub: whoever watches hears each committed change, and nobody waits for a slow one.

Publishing never blocks. A subscriber who does not read keeps every change of state (never dropped), and of progress
only the latest of each job: a thousand steps cost a slow reader one delivery. Who falls behind by more than
:data:`MOST_PENDING` changes is cut off, and comes back with the number of the last change that it heard.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from vcompose.jobs.job import Change, Job
from vcompose.jobs.lifecycle import State

MOST_PENDING: Final = 10_000
"""Changes that wait for one subscriber, at most."""


class Overrun(Exception):
    """The subscriber fell too far behind; ``heard`` is the number of the last change that it got."""

    def __init__(self, heard: int) -> None:
        super().__init__(f"too far behind: ask for what came after {heard}")
        self.heard = heard


class Closed(Exception):
    """The hub was closed: the server stops, and there is nothing more to hear."""


class Subscription:
    """What waits for one subscriber. Made by :meth:`Hub.subscribe`."""

    def __init__(self, job: str | None) -> None:
        self._job = job
        # in the order of the sequence: a newer progress takes the place of an older one at the end, not in the middle
        self._pending: dict[tuple[str, int], Change] = {}
        self._came = asyncio.Event()
        self._heard = 0
        self._overrun = False
        self._closed = False

    def offer(self, change: Change, *, progress: bool) -> None:
        """A change was committed. Never blocks."""
        if self._overrun or (self._job is not None and change.id != self._job):
            return
        # what the job's progress was before does not matter any more, whatever came
        self._pending.pop((change.id, 0), None)
        self._pending[change.id, 0 if progress else change.seq] = change
        if len(self._pending) > MOST_PENDING:
            self._overrun = True
            self._pending.clear()
        self._came.set()

    def close(self) -> None:
        """There is nothing more to hear."""
        self._closed = True
        self._came.set()

    async def next(self) -> list[Change]:
        """The changes that are waiting, at least one, in the order of the sequence. Raises Overrun, Closed."""
        await self._came.wait()
        if self._closed:
            raise Closed
        self._came.clear()
        if self._overrun:
            self._came.set()
            raise Overrun(self._heard)
        changes = list(self._pending.values())
        self._pending.clear()
        self._heard = changes[-1].seq
        return changes


class Hub:
    """Hands committed changes to subscribers; :meth:`publish` is what the store calls."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._states: dict[str, tuple[State, int]] = {}
        self._closed = False

    def publish(self, change: Change) -> bool:
        """A change was committed; tells whether it is more than progress."""
        known, _ = self._states.pop(change.id, (None, 0))
        progress = change.job is not None and change.job.state is known
        if change.job is not None and not change.job.ended:
            self._states[change.id] = change.job.state, change.seq
        for subscription in self._subscriptions:
            subscription.offer(change, progress=progress)
        return not progress

    def pulse(self, job: Job) -> None:
        """Nothing was committed, but the job lives: its speed and the time left, under its last number.

        Under no older one: a cancel may have been wished for since.
        """
        if self._states.get(job.id) != (job.state, job.seq):
            return
        change = Change(kind="job", seq=job.seq, id=job.id, job=job, pulse=True)
        for subscription in self._subscriptions:
            subscription.offer(change, progress=True)

    @contextlib.contextmanager
    def subscribe(self, job: str | None = None) -> Iterator[Subscription]:
        """Hear every change from now on, or those of one job."""
        subscription = Subscription(job)
        if self._closed:
            subscription.close()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """Let everybody go who waits."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()

    def __len__(self) -> int:
        return len(self._subscriptions)
