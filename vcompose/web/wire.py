"""What the interface says, as documents: the only module of the room that knows field names.

Shapes are those of ``/openapi.json``; times are RFC 3339 in UTC, durations and times left in seconds, sizes in bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from vcompose.jobs.job import Change, Job
from vcompose.jobs.lifecycle import State
from vcompose.jobs.shelf import StoredClip
from vcompose.web.problems import Language, kind, sentence

API = "/api/v1"


class Document(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reason(Document):
    """Why a clip is not treated more gently: a stable code, and the parameters that its sentence needs."""

    code: str
    parameters: dict[str, str]


class TreatedClip(Document):
    """What is done to a clip's picture, and why it is not less."""

    clip: str
    treatment: Literal["copy", "partial", "encode"]
    reasons: list[Reason]


class JobError(Document):
    """Why a job failed: a stable code, a sentence, and the clip to blame where one is."""

    code: str
    detail: str
    clip: str | None


class JobOutput(Document):
    """The film of a completed job."""

    url: str
    filename: str
    bytes: int = Field(ge=0)
    duration: float = Field(ge=0)


class JobDocument(Document):
    """An accepted composition and what became of it.

    ``percent`` never falls, and is 100 exactly when the job is completed; ``seq`` is the number of its last change;
    ``speed`` (seconds of film a second) and ``seconds_left`` are known only while it is made.
    """

    id: str
    state: State
    percent: int = Field(ge=0, le=100)
    stage: str
    seq: int = Field(ge=1)
    attempt: int = Field(ge=0)
    speed: float | None
    seconds_left: float | None
    created: str
    started: str | None
    finished: str | None
    error: JobError | None
    output: JobOutput | None
    clips: list[TreatedClip]


class JobList(Document):
    """A page of jobs, newest first; ``next`` is the ``cursor`` of the page after it."""

    items: list[JobDocument]
    next: str | None


class ColorDocument(Document):
    """How colours are coded, by ffmpeg's names; null where the file does not say."""

    range: str | None
    matrix: str | None
    primaries: str | None
    transfer: str | None
    hdr: str | None


class VideoDocument(Document):
    """The picture of a clip: sizes as WIDTHxHEIGHT, rate as a fraction, rotation in degrees clockwise."""

    stream: int
    codec: str
    profile: str
    pixel_format: str
    stored_size: str
    shown_size: str
    sample_aspect: str
    rotation: int
    fields: str
    fps: str
    variable_fps: bool
    frames: int
    start: float
    duration: float
    color: ColorDocument
    open_gop: bool


class AudioDocument(Document):
    """The sound of a clip."""

    stream: int
    codec: str
    profile: str
    sample_rate: int
    channels: int
    layout: str
    start: float
    duration: float


class ClipDocument(Document):
    """A clip that a person gave, and what was found in it."""

    id: str
    name: str
    size: int
    sha256: str
    created: str
    container: str
    duration: float
    video: VideoDocument
    audio: AudioDocument | None
    warnings: list[str]


class ClipList(Document):
    """A page of clips, newest first; ``next`` is the ``cursor`` of the page after it."""

    items: list[ClipDocument]
    next: str | None


class PlannedClip(TreatedClip):
    """One clip in the film that would be made: where it begins there, and how long it is (seconds)."""

    warnings: list[str]
    start: float
    duration: float


class PlannedSound(Document):
    """The film's sound."""

    sample_rate: int
    channels: int


class PlanDocument(Document):
    """What would be done; nothing is made. ``bytes`` and ``seconds`` (how long the making takes) are estimates."""

    duration: float
    size: str
    fps: str
    sound: PlannedSound | None
    bytes: int
    seconds: float
    clips: list[PlannedClip]


class JobMessage(Document):
    """A job changed: this is how it is now."""

    type: Literal["job"]
    seq: int
    job: JobDocument


class DeletedMessage(Document):
    """A job was deleted."""

    type: Literal["deleted"]
    seq: int
    id: str


class SnapshotMessage(Document):
    """How things were when the socket was opened; what comes after has a higher ``seq``."""

    type: Literal["snapshot"]
    seq: int
    jobs: list[JobDocument]


class HeartbeatMessage(Document):
    """Nothing happened for a while, and the connection lives."""

    type: Literal["heartbeat"]


class EventList(Document):
    """What happened, in order; ``next`` is the ``after`` of the next question."""

    items: list[JobMessage | DeletedMessage]
    next: int


class Issue(Document):
    """One fault of a request: where it is in the document, and what is wrong."""

    where: str
    what: str


class Problem(Document):
    """A request that could not be met (RFC 9457); ``code`` is stable, ``detail`` a sentence that says what to do."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    clip: str | None = None
    clips: list[str] | None = None
    state: State | None = None
    errors: list[Issue] | None = None


class Health(Document):
    """Whether the server lives, or is ready; ``checks`` tells each thing that was looked at."""

    status: Literal["ok", "not_ready"]
    checks: dict[str, str] = {}


MESSAGES = (SnapshotMessage, JobMessage, DeletedMessage, HeartbeatMessage)


def job(value: Job, language: Language, prefix: str) -> str:
    """A job as a document (:class:`JobDocument`), as text; ``prefix`` stands before every path (a proxy's).

    What is said of its clips is stored as it is told, and goes through as it is: there may be a thousand.
    """
    error, output = value.error, value.output
    fields = {
        "id": value.id,
        "state": value.state.value,
        "percent": value.percent,
        "stage": value.stage,
        "seq": value.seq,
        "attempt": value.attempt,
        "speed": value.speed,
        "seconds_left": value.seconds_left,
        "created": _time(value.created),
        "started": None if value.started is None else _time(value.started),
        "finished": None if value.finished is None else _time(value.finished),
        "error": None
        if error is None
        else {"code": error.code, "detail": sentence(error.code, error.detail, language), "clip": error.clip},
        "output": None
        if output is None
        else {
            "url": f"{prefix}{API}/compositions/{quote(value.id)}/output",
            "filename": output.filename,
            "bytes": output.bytes,
            "duration": output.duration,
        },
    }
    return f'{_compact(fields)[:-1]},"clips":{value.treatments}}}'


def jobs(values: Iterable[Job], following: int | None, language: Language, prefix: str) -> str:
    """A page of jobs (:class:`JobList`), as text."""
    items = ",".join(job(one, language, prefix) for one in values)
    return f'{{"items":[{items}],"next":{_compact(None if following is None else str(following))}}}'


def clip(value: StoredClip) -> ClipDocument:
    """A clip as a document."""
    return ClipDocument(
        id=value.id,
        name=value.name,
        size=value.size,
        sha256=value.sha256,
        created=_time(value.created),
        **value.found,
    )


def plan(value: Mapping[str, Any]) -> PlanDocument:
    """A plan as a document."""
    return PlanDocument.model_validate(value)


def events(changes: Sequence[Change], after: int, language: Language, prefix: str) -> str:
    """Changes (:class:`EventList`), as text."""
    items = ",".join(message(change, language, prefix) for change in changes)
    return f'{{"items":[{items}],"next":{changes[-1].seq if changes else after}}}'


def snapshot(seq: int, values: Iterable[Job], language: Language, prefix: str) -> str:
    """The first message of a socket (:class:`SnapshotMessage`), as text."""
    told = ",".join(job(one, language, prefix) for one in values)
    return f'{{"type":"snapshot","seq":{seq},"jobs":[{told}]}}'


@lru_cache(maxsize=64)
def message(change: Change, language: Language, prefix: str) -> str:
    """A change as a message, as text; a thousand listeners hear one text."""
    if change.job is None:
        return _compact({"type": "deleted", "seq": change.seq, "id": change.id})
    return f'{{"type":"job","seq":{change.seq},"job":{job(change.job, language, prefix)}}}'


def heartbeat() -> str:
    """The message of a quiet connection."""
    return HeartbeatMessage(type="heartbeat").model_dump_json()


def problem(
    code: str,
    detail: str,
    language: Language,
    *,
    clip: str | None = None,
    clips: Sequence[str] = (),
    state: State | None = None,
    errors: Sequence[Issue] = (),
    parameters: Mapping[str, object] | None = None,
) -> Problem:
    """A problem as a document, in the reader's language."""
    known = kind(code)
    filled = dict(parameters or {}) | ({"state": state} if state is not None else {})
    return Problem(
        type=f"urn:vcompose:problem:{code}",
        title=known.title_zh if language is Language.ZH else known.title,
        status=known.status,
        code=code,
        detail=sentence(code, detail, language, filled),
        clip=clip,
        clips=list(clips) or None,
        state=state,
        errors=list(errors) or None,
    )


def text(document: BaseModel) -> str:
    """A document as JSON."""
    return document.model_dump_json(exclude_none=isinstance(document, Problem))


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
