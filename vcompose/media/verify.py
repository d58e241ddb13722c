"""Is the film what the plan promised? Asked before it gets its name, answered from its index and its seams.

The index tells tracks, pictures, times and sound; at every seam the first pictures are decoded. Copied clips of one
configuration could be proven from the tables alone, were their packets known to carry no parameter sets of their own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Final

from vcompose.media.child import Command, Limits, run
from vcompose.media.container import MP4
from vcompose.media.errors import StepError, VerifyError
from vcompose.media.guards import guards
from vcompose.media.mp4 import BrokenIndex, Index, Track, read_index
from vcompose.media.plan import Plan
from vcompose.media.tasks import together
from vcompose.media.tools import Tools

_AAC_FRAME: Final = 1024
_SEAM_PICTURES: Final = 4
"""Pictures that are decoded after a seam."""
_SEAMS_AT_ONCE: Final = 2


async def verify(plan: Plan, film: Path, tools: Tools, told: Callable[[float], None]) -> None:
    """Check the film against its plan; ``told`` hears which part of the work is done (0 to 1).

    Raises VerifyError with the first thing that is not as promised.
    """
    await asyncio.to_thread(lambda: check_index(plan, _index(film)))
    # a copied clip may leave the decoder with parameter sets of its own: there the decoding begins a little before the
    # seam, that is, at the key picture before it
    early = 1 / (plan.clips[0].clip.picture.rate * 4) if plan.copies else Fraction(0)
    seams = [max(Fraction(0), treated.begin - early) for treated in plan.clips]
    gate = asyncio.Semaphore(_SEAMS_AT_ONCE)
    done = 0

    async def one(at: Fraction) -> None:
        nonlocal done
        async with gate:
            await _decode_seam(film, at, tools)
        done += 1
        told(done / len(seams))

    async with together() as group:
        for seam in seams:
            group.create_task(one(seam))


def check_index(plan: Plan, index: Index) -> None:
    """The checks that need no decoding: tracks, pictures, duration, time stamps, sound against picture.

    Raises VerifyError.
    """
    videos, sounds = index.of("vide"), index.of("soun")
    if len(index.tracks) != len(videos) + len(sounds) or len(videos) != 1 or len(sounds) != (plan.sound_samples > 0):
        kinds = ", ".join(track.handler for track in index.tracks) or "none"
        raise VerifyError(f"the film has other tracks than planned: {kinds}")
    if not index.front:
        raise VerifyError("the film's index is not in front of its media")
    _check_picture(plan, index, videos[0])
    if sounds:
        _check_sound(plan, index, sounds[0])


def _check_picture(plan: Plan, index: Index, track: Track) -> None:
    if track.samples != plan.pictures:
        raise VerifyError(f"the film has {track.samples} pictures instead of {plan.pictures}")
    if any(run.value <= 0 for run in track.durations):
        raise VerifyError("two pictures of the film have the same time stamp")
    if track.sync is not None and (not track.sync or track.sync[0] != 1):
        raise VerifyError("the film does not begin with a key picture")
    times = list(track.shown())
    if len(set(times)) != len(times):
        raise VerifyError("two pictures of the film are shown at the same time")
    empty = sum(edit.length for edit in track.edits if edit.media < 0)
    if Fraction(empty, index.time_scale) > Fraction(1, 1000):
        raise VerifyError(f"the film's picture begins {empty / index.time_scale:.3f} s late")
    frame = 1 / plan.target.rate if not plan.copies else max(1 / t.clip.picture.rate for t in plan.clips)
    length = index.length(track)
    if abs(length - plan.length) > frame / 2 + Fraction(1, 100):
        raise VerifyError(f"the film's picture lasts {float(length):.3f} s instead of {float(plan.length):.3f} s")
    # every clip must begin where the plan put it: a time stamp that belongs to no seam's place would show here
    first = min(times)
    places = {time - first for time in times}
    # copied times come in whole ticks of their source
    own = max(treated.clip.picture.time_base for treated in plan.clips) if plan.copies else Fraction(0)
    slack = max(Fraction(2, track.time_scale), own) + Fraction(1, 100_000)
    for number, treated in enumerate(plan.clips, 1):
        early, late = ((treated.begin + side) * track.time_scale for side in (-slack, slack))
        if not any(tick in places for tick in range(math.ceil(early), math.floor(late) + 1)):
            raise VerifyError(f"clip {number} does not begin at {float(treated.begin):.3f} s of the film")


def _check_sound(plan: Plan, index: Index, track: Track) -> None:
    """All packets but the last are whole ones: priming squeezed in between would show as a short packet."""
    assert plan.sound_rate is not None
    if track.time_scale != plan.sound_rate:
        raise VerifyError(f"the film's sound has {track.time_scale} Hz instead of {plan.sound_rate} Hz")
    short = sum(run.count for run in track.durations if run.value != _AAC_FRAME)
    if short > 1 or (short and track.durations[-1].value == _AAC_FRAME):
        raise VerifyError(f"{short} sound packets in the film are not whole")
    wanted = plan.sound_samples
    heard = track.ticks - next((edit.media for edit in track.edits if edit.media > 0), 0)
    if abs(heard - wanted) > _AAC_FRAME:
        raise VerifyError(
            f"the film's sound lasts {heard / plan.sound_rate:.3f} s instead of {wanted / plan.sound_rate:.3f} s"
        )
    picture = index.length(index.of("vide")[0])
    if abs(Fraction(heard, plan.sound_rate) - picture) > Fraction(1, 10):
        raise VerifyError("the film's sound and picture do not last equally long")


async def _decode_seam(film: Path, at: Fraction, tools: Tools) -> None:
    """Decode the first pictures after a seam: any complaint of the decoder is a broken seam."""
    size = 0

    def count(data: bytes) -> None:
        nonlocal size
        size += len(data)

    command = Command(
        argv=(
            tools.ffmpeg.path, "-hide_banner", "-nostdin", "-v", "error", "-threads", "2",
            "-ss", f"{float(at):.6f}", *guards(MP4.demuxer, MP4.formats), "-an", "-i", f"file:{film.name}",
            "-frames:v", str(_SEAM_PICTURES), "-vf", "scale=16:16", "-pix_fmt", "gray", "-f", "rawvideo", "pipe:1",
        ),
        folder=film.parent,
        guard=tools.guard,
        limits=Limits(memory=4 << 30, file_size=1 << 20),
        deadline=120.0,
    )  # fmt: skip
    try:
        ended = await run(command, count)
    except StepError as error:
        raise VerifyError(f"the film cannot be decoded at {float(at):.3f} s: {error.detail}") from error
    if ended.stderr or size == 0:
        what = ended.stderr.splitlines()[-1] if ended.stderr else "no picture comes out"
        raise VerifyError(f"the film cannot be decoded at {float(at):.3f} s: {what}")


def _index(film: Path) -> Index:
    try:
        with film.open("rb") as file:
            return read_index(file)
    except (BrokenIndex, OSError) as error:
        raise VerifyError(f"the film's index cannot be read: {error}") from error
