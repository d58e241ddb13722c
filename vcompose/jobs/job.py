"""Jobs and what is told of them: values. Times are seconds since 1970, UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vcompose.jobs.lifecycle import ENDED, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job failed: a stable code, a sentence, and the clip to blame by its id (None: no clip is)."""

    code: str
    detail: str
    clip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A finished film: its file's name as the person asked for it, bytes, seconds."""

    filename: str
    bytes: int
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An accepted composition and what became of it.

    ``composition`` is the document as it was accepted; ``treatments`` what is done to each clip, as documents;
    ``seq`` the number of the last change in the one global sequence; ``attempt`` fences: only who knows the present
    number may write. ``wish`` tells that somebody asked for its cancel.
    """

    id: str
    state: State
    percent: int
    stage: str
    seq: int
    attempt: int
    strikes: int
    wish: bool
    composition: str
    treatments: str
    created: float
    started: float | None
    finished: float | None
    error: Failure | None
    output: Output | None

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One committed change: the job as it was just after it, or (``job`` None) that it was deleted."""

    kind: Literal["job", "deleted"]
    seq: int
    id: str
    job: Job | None


class JobError(Exception):
    """A request to the jobs' room that cannot be met; ``code`` is stable, ``str`` a sentence."""

    code = "job_error"


class NoSuchJob(JobError):
    """There is no job of that id (any more)."""

    code = "not_found"

    def __init__(self, job: str) -> None:
        super().__init__(f"there is no job {job}: it never was, or it was deleted")


class WrongState(JobError):
    """The job's state does not allow it; ``state`` tells which it is."""

    code = "wrong_state"

    def __init__(self, job: str, state: State, wanted: str) -> None:
        super().__init__(f"job {job} is {state}, so it cannot be {wanted}")
        self.state = state


class Fenced(JobError):
    """A write by an attempt that is not the present one, or on a job that has ended: it was not made."""

    code = "fenced"


class KeyReused(JobError):
    """An idempotency key came again with another request."""

    code = "idempotency_key_reused"
