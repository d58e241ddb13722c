"""Every film that is completed is looked at, and those that a kill interrupted are decoded as well."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from pathlib import Path

from faults.clips import ffmpeg, seconds
from faults.records import Submission
from faults.remains import JobRow, Remains
from vcompose.library import probe
from vcompose.media.errors import MediaError
from vcompose.media.tools import Tools

_AT_ONCE = 2
_OFF = 0.1
"""Seconds by which a film may be longer or shorter for each of its clips: a picture, and the sound's last packet."""


async def verified(data: Path, remains: Remains, submissions: Iterable[Submission], tools: Tools) -> list[str]:
    """Sentences about films that are not what their jobs say. Equal compositions must be equal films, byte for byte."""
    by_job = {one.job: one for one in submissions if one.job is not None}
    by_key = {f"{one.key}.mp4": one for one in submissions}
    gate = asyncio.Semaphore(_AT_ONCE)
    wrong: list[str] = []
    hashes: dict[tuple[str, ...], dict[str, list[str]]] = {}

    async def one(row: JobRow) -> None:
        async with gate:
            submission = by_job.get(row.id) or by_key[row.filename]
            path = data / "films" / f"{row.id}.mp4"
            wrong.extend(await _film(path, row, submission, tools))
            digest = await asyncio.to_thread(_digest, path)
            hashes.setdefault(submission.made_of, {}).setdefault(digest, []).append(row.id)

    rows = [row for row in remains.jobs.values() if row.state == "completed"]
    missing = [row for row in rows if f"films/{row.id}.mp4" not in remains.files]
    wrong.extend(f"{row.id} is completed, and has no film" for row in missing)
    await asyncio.gather(*(one(row) for row in rows if row not in missing))
    for made_of, found in hashes.items():
        if len(found) > 1:
            wrong.append(f"equal compositions {made_of} became {len(found)} different films: {found}")
    return wrong


async def _film(path: Path, row: JobRow, submission: Submission, tools: Tools) -> list[str]:
    wrong = []
    if path.stat().st_size != row.bytes:
        wrong.append(f"the film of {row.id} has {path.stat().st_size} bytes, its row says {row.bytes}")
    try:
        clip = (await probe([path]))[0]
    except MediaError as error:
        return [*wrong, f"the film of {row.id} cannot be used: {error.detail}"]
    expected = seconds([upload.base for upload in submission.clips])
    off = _OFF * len(submission.clips)
    for length, who in ((float(clip.length), "the film"), (row.duration or 0.0, "the row")):
        if abs(length - expected) > off:
            wrong.append(f"the film of {row.id} lasts {length} s by {who}, expected are {expected} s")
    if row.attempt > 1:
        words = await ffmpeg(tools, "-xerror", "-i", str(path), "-f", "null", "-")
        if words:
            wrong.append(f"decoding the film of {row.id} (attempt {row.attempt}): {words[:300]}")
    return wrong


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
