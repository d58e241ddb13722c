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
    number may write. ``wish`` tells that somebody asked for its cancel. ``speed`` (seconds of film a second) and
    ``seconds_left`` are known while it is made, and are in no row.
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
    speed: float | None = None
    seconds_left: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One committed change: the job as it was just after it, or (``job`` None) that it was deleted.

    A ``pulse`` is no change: the job lives, and its speed and time left are news under its last number.
    """

    kind: Literal["job", "deleted"]
    seq: int
    id: str
    job: Job | None
    pulse: bool = False


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


class CancelWished(JobError):
    """An attempt would end a job otherwise whose cancel was wished for before: the wish came first."""

    code = "cancel_wished"


class KeyReused(JobError):
    """An idempotency key came again with another request."""

    code = "idempotency_key_reused"


class NoSuchClip(JobError):
    """There is no clip of that id (any more)."""

    code = "not_found"

    def __init__(self, clip: str) -> None:
        super().__init__(f"there is no clip {clip}: it never was, or it was deleted")
        self.clip = clip


class ClipMissing(NoSuchClip):
    """A composition names a clip that is not there."""

    code = "clip_not_found"


class ClipInUse(JobError):
    """A job that has not ended needs the clip."""

    code = "clip_in_use"

    def __init__(self, clip: str, job: str) -> None:
        super().__init__(f"clip {clip} is needed by job {job}: wait for its end, or cancel it")
        self.clip = clip


class NoOutput(JobError):
    """The job has no film (yet)."""

    code = "no_output"

    def __init__(self, job: str, state: State) -> None:
        super().__init__(f"job {job} is {state}, so there is no film of it" + ("" if state in ENDED else " yet"))
        self.state = state


class NoSpace(JobError):
    """The disk would be full."""

    code = "no_space"


class Stopping(JobError):
    """The server is stopping and takes nothing new."""

    code = "stopping"

    def __init__(self) -> None:
        super().__init__("the server is stopping and takes nothing new: try again in a moment")


class ClipRefused(JobError):
    """A file cannot be used as a clip; ``code`` and the sentence are the media room's, ``clip`` the person's name."""

    def __init__(self, code: str, detail: str, clip: str | None) -> None:
        super().__init__(detail)
        self.code = code
        self.clip = clip
