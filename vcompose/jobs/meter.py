"""What happened, counted: plain numbers that whoever watches the server may read at any moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from vcompose.jobs.job import Job
from vcompose.jobs.lifecycle import State


@dataclass(slots=True, kw_only=True)
class Meter:
    """Counted since the start: ended jobs by state, bytes of clips received and of films made, encoded seconds of film,
    the wall seconds that took and those that were expected. ``live`` is each running job's speed (seconds of film a
    second) and seconds left.
    """

    ended: Counter[State] = field(default_factory=Counter)
    bytes_received: int = 0
    bytes_made: int = 0
    encoded_seconds: float = 0.0
    encoding_seconds: float = 0.0
    expected_seconds: float = 0.0
    live: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)

    @property
    def slowness(self) -> float:
        """How much longer than expected encoding takes here, as far as it was seen."""
        return self.encoding_seconds / self.expected_seconds if self.expected_seconds > 1.0 else 1.0

    def lively(self, job: Job) -> Job:
        """The job with its speed and the time left, while it is made."""
        speed, left = self.live.get(job.id, (None, None))
        return replace(job, speed=speed, seconds_left=left) if job.state is State.PROCESSING else job

    def tell(self, job: Job) -> None:
        """A job changed."""
        if job.ended:
            self.ended[job.state] += 1
            if job.output is not None:
                self.bytes_made += job.output.bytes
