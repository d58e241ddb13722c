"""A watcher over all lives of the server: it hears of every change, and comes back with the number that it heard last.

What was told must never go back: no percent, no state, no number of the sequence; and what was told was committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from faults.records import Records
from faults.remains import Remains

FOLLOWS: Final = {
    "pending": {"pending", "processing", "cancelled", "completed", "failed"},
    "processing": {"processing", "completed", "failed", "cancelled"},
    "completed": {"completed"},
    "failed": {"failed"},
    "cancelled": {"cancelled"},
}
"""What may be told after a state, where not every change is told to one who was away."""
ENDED: Final = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What was told of a job last."""

    seq: int
    state: str
    percent: int


class Watch:
    """Hears, remembers, and finds fault."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._heard: dict[str, Shown] = {}
        self._gone: set[str] = set()
        self.last = 0
        self.told: dict[str, Shown] = {}
        """The newest that anybody was told of each job, by whatever way."""
        self.messages = 0

    def state(self, job: str) -> str:
        """The state that was told last."""
        return self.told[job].state if job in self.told else "pending"

    def tell(self, job: dict[str, Any]) -> None:
        """A document of a job came as an answer."""
        shown = Shown(seq=job["seq"], state=job["state"], percent=job["percent"])
        known = self.told.get(job["id"])
        if known is None or known.seq < shown.seq:
            self.told[job["id"]] = shown
        if (shown.state == "completed") != (shown.percent == 100) or (shown.state == "completed") != bool(
            job["output"]
        ):
            self._wrong(f"{job['id']} was told as {shown.state} at {shown.percent} % with output {job['output']}")

    def hear(self, message: dict[str, Any]) -> None:
        """A message of the socket."""
        self.messages += 1
        kind = message["type"]
        if kind == "heartbeat":
            return
        if kind == "snapshot":
            self._wrong(f"a snapshot came although {self.last} was heard: the sequence went back to {message['seq']}")
            return
        # not compared with the last: a sign of life comes under its job's number, and that may be older than another's
        self.last = max(self.last, message["seq"])
        if kind == "deleted":
            self._gone.add(message["id"])
            self._heard.pop(message["id"], None)
            return
        job = message["job"]
        self.tell(job)
        now = Shown(seq=job["seq"], state=job["state"], percent=job["percent"])
        before = self._heard.get(job["id"])
        self._heard[job["id"]] = now
        if job["id"] in self._gone:
            self._wrong(f"{job['id']} was told of after its deletion")
        if before is not None and (
            now.seq < before.seq or now.percent < before.percent or now.state not in FOLLOWS[before.state]
        ):
            self._wrong(f"{job['id']} went back from {before} to {now}")

    def unheard(self, remains: Remains) -> list[str]:
        """What was committed and never told, once all was quiet."""
        return [
            f"{job} is {row.state} as number {row.seq}, and the watcher heard {self._heard.get(job)}"
            for job, row in remains.jobs.items()
            if job not in self._heard or self._heard[job].seq != row.seq
        ]

    def uncommitted(self, remains: Remains) -> list[str]:
        """What was told and is not on the disk."""
        found = []
        deleted = {event.id for event in remains.events if event.kind == "deleted"}
        if self.last > remains.last:
            found.append(f"number {self.last} was told, and the last that was committed is {remains.last}")
        for job, shown in self.told.items():
            row = remains.jobs.get(job)
            if row is None:
                if job not in deleted:
                    found.append(f"{job} was told as {shown.state}, and there is no such job")
            elif row.seq < shown.seq or row.percent < shown.percent or row.state not in FOLLOWS[shown.state]:
                found.append(
                    f"{job} was told as {shown}, and committed was {row.state} at {row.percent} % as {row.seq}"
                )
        return found

    async def run(self, session: aiohttp.ClientSession, url: str) -> None:
        """Listen to one life, to its end."""
        try:
            async with session.ws_connect(f"{url}/api/v1/ws", params={"since": self.last}) as socket:
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        self.hear(message.json())
        except (TimeoutError, aiohttp.ClientError, OSError):
            return

    def _wrong(self, words: str) -> None:
        self._records.wrong.append(f"watcher: {words}")
