"""When the server is killed: the stages, the moments in each of them, and what proves that a kill hit its moment.

A moment is either seen from the outside (what lies in the data folder is looked at every millisecond), or it is a point
inside the server (see :mod:`~faults.server`) where it kills itself. In both cases the proof is what lies there
afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from faults.load import Load
from faults.records import Records
from faults.remains import JobRow, Remains
from faults.watch import ENDED

STAGES: Final = ("upload", "accept", "spawn", "encode", "join", "rename", "commit")
"""Each of these is hit in every run, however short."""
FURTHER: Final = ("cancel", "delete", "start")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a proof is looked for in; ``words`` are the server's last, where it killed itself."""

    remains: Remains
    records: Records
    words: dict[str, Any]

    @property
    def job(self) -> str:
        """The job that the server's last words are about."""
        return str(self.words["job"])

    @property
    def row(self) -> JobRow | None:
        """Its row."""
        return self.remains.jobs.get(self.job)


Proof = Callable[[Scene], str | None]
"""A sentence that says what proves the hit; None where nothing does."""
Sight = Callable[[Path, Records], str | None]
"""Whether the moment is there, seen from the outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment to die at. ``point`` and ``passings`` (it is one of the first so many) where it is inside the server,
    ``sight`` makes what looks for it where it is outside (or, for one inside, for when it cannot come any more);
    ``provoke`` brings it about, ``alone`` without other clients; ``pdeathsig`` False has children outlive the server.
    """

    stage: str
    name: str
    provoke: Callable[[Load], Awaitable[object]]
    proof: Proof
    point: str | None = None
    passings: int = 1
    sight: Callable[[random.Random], Sight] | None = None
    pdeathsig: bool = True
    alone: bool = False


# ---- bringing it about -----------------------------------------------------------------------------------------------


async def _upload(load: Load) -> None:
    await load.upload(fresh=True)


async def _copy(load: Load) -> None:
    if (submission := await load.copy(always=True)) is not None:
        await load.wait_for(submission, ENDED)


async def _submit(load: Load) -> None:
    await load.copy(always=True)


async def _encode(load: Load) -> None:
    if (submission := await load.encode(always=True)) is not None:
        await load.wait_for(submission, ENDED)


async def _heavy(load: Load) -> None:
    if (submission := await load.heavy()) is not None:
        await load.wait_for(submission, ENDED)


async def _cancel(load: Load) -> None:
    submission = load.any_in("processing") or await load.encode(always=True)
    if submission is not None and await load.wait_for(submission, frozenset({"processing"})):
        await load.cancel(submission)


async def _delete_job(load: Load) -> None:
    submission = load.any_in("completed") or await load.copy(always=True)
    if submission is not None and await load.wait_for(submission, ENDED):
        await load.delete_job(submission)


async def _delete_clip(load: Load) -> None:
    upload = await load.upload(fresh=True)
    if upload is not None:
        await load.delete_clip(upload)


# ---- seeing it -------------------------------------------------------------------------------------------------------


def _parts(data: Path, kind: str) -> Iterator[tuple[str, int]]:
    for job in (data / "work").iterdir():
        for path in job.glob(f"{kind}-*.part"):
            yield f"{job.name}/{path.name}", path.stat().st_size


_AT_ONCE: Final = 1 << 18
"""Bytes that ffmpeg writes at once; a long clip's pictures are several times as many."""


@dataclass(slots=True)
class _Growing:
    """A step's output grows: it was seen with fewer bytes before, and has ``least``."""

    least: int
    sizes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def early_or_late(cls, rng: random.Random) -> _Growing:
        """Sometimes its step is young, sometimes nearly done."""
        return cls(rng.randint(1, 6) * _AT_ONCE)

    def __call__(self, data: Path, records: Records) -> str | None:
        for name, size in _parts(data, "encode"):
            if size and self.sizes.setdefault(name, size) < size and size >= self.least:
                return f"{name} grew from {self.sizes[name]} to {size} bytes"
        return None


def _joining(data: Path, records: Records) -> str | None:
    return next((f"{name} has {size} bytes" for name, size in _parts(data, "join") if size), None)


def _half_sent(data: Path, records: Records) -> str | None:
    sizes = [path.stat().st_size for path in (data / "incoming").iterdir()]
    if records.sending is None or max(sizes, default=0) < 1 << 20:
        return None
    return f"{max(sizes)} bytes have come in"


# ---- proving it ------------------------------------------------------------------------------------------------------


def _cut(scene: Scene) -> str | None:
    if scene.records.sending is None:
        return None
    sent, total = scene.records.sending
    for name, file in scene.remains.under("incoming").items():
        if 1 << 20 <= file.size <= sent < total:
            return f"{sent} of {total} bytes were sent, incoming/{name[:8]}… has {file.size}"
    return None


def _shelved(scene: Scene) -> str | None:
    sha256 = str(scene.words["sha256"])
    there = f"{sha256[:2]}/{sha256}" in scene.remains.under("clips")
    return f"clips/{sha256[:8]}… is there, no row is" if there and sha256 not in scene.remains.clips.values() else None


def _unanswered_clip(scene: Scene) -> str | None:
    name = scene.words["about"]
    upload = next(one for one in scene.records.uploads if one.name == name)
    if len(scene.remains.names.get(name, ())) == 1 and upload.clip is None:
        return f"{name} has its row, and its client no answer"
    return None


def _not_accepted(scene: Scene) -> str | None:
    key = scene.words["about"]
    if scene.row is None and key not in scene.remains.keys:
        return f"{scene.job[:10]}… was written under {key[:9]}, and no trace of it is left"
    return None


def _unanswered_job(scene: Scene) -> str | None:
    key = scene.words["about"]
    submission = next(one for one in scene.records.submissions if one.key == key)
    if scene.row is not None and scene.remains.keys.get(key) == scene.job and submission.job is None:
        return f"{scene.job[:10]}… is {scene.row.state}, and its client has no answer"
    return None


def _unnoted(scene: Scene) -> str | None:
    pid = scene.words["pid"]
    return None if pid in scene.remains.noted else f"child {pid} was started, and is not in the ledger"


def _unfinished(kind: str, *, orphans: bool = False) -> Proof:
    def proof(scene: Scene) -> str | None:
        for name, file in scene.remains.under("work").items():
            job, _, output = name.partition("/")
            row = scene.remains.jobs.get(job)
            whole = f"work/{name.removesuffix('.part')}" in scene.remains.files
            if not output.startswith(f"{kind}-") or not output.endswith(".part") or whole or not file.size:
                continue
            if row is not None and row.state == "processing":
                living = sum(worker.folder.name == job for worker in scene.remains.workers)
                if orphans and not living:
                    continue
                lives = f", {living} of its processes live on" if living else ""
                return f"{output[:12]}….part has {file.size} bytes, {job[:10]}… is at {row.percent} %{lives}"
        return None

    return proof


def _unrecorded(scene: Scene) -> str | None:
    outputs = [name for name in scene.remains.under("work") if name.startswith(f"{scene.job}/") and "-" in name]
    there = any(scene.words["step"] in name and not name.endswith(".part") for name in outputs)
    if there and (scene.job, scene.words["step"]) not in scene.remains.steps:
        return f"step {scene.words['step'][:8]}… of {scene.job[:10]}… has its output, and is not written down"
    return None


def _named(scene: Scene) -> str | None:
    if f"films/{scene.job}.mp4" in scene.remains.files and scene.row is not None and scene.row.state == "processing":
        return f"films/{scene.job[:10]}….mp4 is there, its job is processing at {scene.row.percent} %"
    return None


def _committed(scene: Scene) -> str | None:
    if scene.row is not None and scene.row.state == "completed" and scene.job in scene.remains.working:
        return f"{scene.job[:10]}… is completed, its folder in work/ is still there"
    return None


def _wished(scene: Scene) -> str | None:
    if scene.row is not None and scene.row.state == "processing" and scene.row.wish:
        return f"{scene.job[:10]}… is processing and its cancel is wished for"
    return None


def _removed(scene: Scene) -> str | None:
    if _wished(scene) and scene.job not in scene.remains.working:
        return f"{scene.job[:10]}… has no files any more, and is processing"
    return None


def _job_deleted(scene: Scene) -> str | None:
    job = scene.words["about"]
    if job not in scene.remains.jobs and f"films/{job}.mp4" in scene.remains.files:
        return f"{job[:10]}… has no row, its film is still there"
    return None


def _clip_deleted(scene: Scene) -> str | None:
    clip = scene.words["about"]
    upload = next(one for one in scene.records.uploads if one.clip == clip)
    there = f"{upload.sha256[:2]}/{upload.sha256}" in scene.remains.under("clips")
    if there and upload.sha256 not in scene.remains.clips.values():
        return f"{upload.name} has no row, its bytes are still there"
    return None


def _resumed(lag: int) -> Proof:
    def proof(scene: Scene) -> str | None:
        attempts: dict[str, int] = scene.words["attempts"]
        rows = scene.remains.jobs
        if all(job in rows and rows[job].attempt == attempt - lag for job, attempt in attempts.items()):
            told = f"{len(attempts)} jobs were given their next attempt"
            return f"{told}, which was not committed" if lag else f"{told}, and nothing was swept yet"
        return None

    return proof


MOMENTS: Final = (
    Moment(stage="upload", name="a body is half sent", provoke=Load.half, sight=lambda rng: _half_sent, proof=_cut),
    Moment(
        stage="upload", name="its bytes are on the shelf, it has no row", provoke=_upload, proof=_shelved,
        point="named:clips", passings=4,
    ),
    Moment(
        stage="upload", name="committed, not answered", provoke=_upload, proof=_unanswered_clip,
        point="Shelf.add:after", passings=4,
    ),
    Moment(
        stage="accept", name="written, not committed", provoke=_submit, proof=_not_accepted,
        point="Store.accept:before", passings=4,
    ),
    Moment(
        stage="accept", name="committed, not answered", provoke=_submit, proof=_unanswered_job,
        point="Store.accept:after", passings=4,
    ),
    Moment(
        stage="spawn", name="a step's child was started just now", provoke=_copy, proof=_unnoted,
        point="spawn:forked", passings=6,
    ),
    Moment(
        stage="spawn", name="a child runs, not in the ledger", provoke=_copy, proof=_unnoted,
        point="spawn:unnoted", passings=8,
    ),
    Moment(
        stage="encode", name="a part grows", provoke=_encode, sight=_Growing.early_or_late, proof=_unfinished("encode"),
    ),
    Moment(
        stage="encode", name="a part grows, children live on", provoke=_encode, sight=_Growing.early_or_late,
        proof=_unfinished("encode", orphans=True), pdeathsig=False,
    ),
    Moment(
        stage="encode", name="made and named, not written down", provoke=_encode, proof=_unrecorded,
        point="named:encode", passings=3,
    ),
    Moment(
        stage="join", name="the part is there", provoke=_heavy, sight=lambda rng: _joining, proof=_unfinished("join"),
    ),
    Moment(
        stage="join", name="joined and named, not verified", provoke=_copy, proof=_unrecorded,
        point="named:join", passings=3,
    ),
    Moment(
        stage="rename", name="the film has its name, its job has not ended", provoke=_copy, proof=_named,
        point="named:films", passings=3,
    ),
    Moment(
        stage="commit", name="its end is written, not committed", provoke=_copy, proof=_named,
        point="Store.complete:before", passings=3,
    ),
    Moment(
        stage="commit", name="its end is committed, not told", provoke=_copy, proof=_committed,
        point="Store.complete:after", passings=3,
    ),
    Moment(
        stage="cancel", name="wished for, nothing done", provoke=_cancel, proof=_wished,
        point="Store.wish_cancel:after",
    ),
    Moment(
        stage="cancel", name="its files are gone, it has not ended", provoke=_cancel, proof=_removed,
        point="Store.cancelled:before",
    ),
    Moment(
        stage="delete", name="a job's row is gone, its film is not", provoke=_delete_job, proof=_job_deleted,
        point="Store.delete:after", alone=True,
    ),
    Moment(
        stage="delete", name="a clip's row is gone, its bytes are not", provoke=_delete_clip, proof=_clip_deleted,
        point="Shelf.delete:after", passings=2,
    ),
    Moment(
        stage="start", name="jobs are resumed, not committed", provoke=_encode, proof=_resumed(1),
        point="Store.resume:before", sight=_Growing.early_or_late,
    ),
    Moment(
        stage="start", name="jobs are resumed, nothing is swept", provoke=_encode, proof=_resumed(0),
        point="Store.resume:after", sight=_Growing.early_or_late,
    ),
)  # fmt: skip
