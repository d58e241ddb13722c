"""ffmpeg's argument lists: a step in, arguments out. Pure.

Every input is opened with the demuxer that its own bytes named, nothing but local files, white-listed formats and
codecs, under a name that we chose; ``-nostdin`` because a ``q`` would end the work with exit status 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Final

from vcompose.media.composition import Quality
from vcompose.media.container import MP4
from vcompose.media.guards import guards
from vcompose.media.picture import chain
from vcompose.media.step import EncodeStep, JoinStep, Piece, SoundPiece, SoundStep

PRESET: Final = "veryfast"
CRF: Final = {Quality.LOW: 28, Quality.MEDIUM: 23, Quality.HIGH: 18}
SOUND_BITS: Final = 192_000
"""Bits a second of the film's stereo sound."""
SAMPLE: Final = "f32le"
SAMPLE_BYTES: Final = 8
"""Bytes of one sample of both channels, as raw float sound."""
_DELAY: Final = 2
"""Pictures by which libx264 decodes ahead of what it shows, with the preset's B-frames."""
_GAP: Final = 0.03
"""Seconds by which a sound's time stamps may wander before silence fills the gap or the overlap is cut. ffmpeg's own
choice (0.1) would let sound run ahead of its picture by as much after a hole."""

_QUIET: Final = ("-hide_banner", "-nostdin", "-v", "warning")
_PROGRESS: Final = ("-nostats", "-stats_period", "0.25", "-progress", "pipe:1")
_CLEAN: Final = ("-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact")


def encode(step: EncodeStep, output: str, threads: int) -> tuple[str, ...]:
    """Arguments (without the program) that run an encode step in its workspace, its progress on stdout."""
    rate = step.target.rate
    return (
        *_QUIET, *_PROGRESS, "-copyts", "-reinit_filter", "0", "-threads", str(threads),
        *guards(step.source.demuxer, step.source.formats), "-i", f"file:{step.source.link}",
        "-map", f"0:{step.source.index}", "-vf", chain(step), "-frames:v", str(step.frames),
        "-fps_mode", "passthrough", "-c:v", "libx264", "-preset", PRESET, "-crf", str(CRF[step.target.quality]),
        "-profile:v", "high", "-x264-params", "open-gop=0", "-g", str(max(1, round(rate * 2))),
        "-threads", str(threads), "-video_track_timescale", str(step.target.time_scale), *_CLEAN,
        "-f", "mp4", "-y", f"file:{output}",
    )  # fmt: skip


def sound_in(piece: SoundPiece, rate: int) -> tuple[str, ...]:
    """Arguments that decode one clip's sound to stdout as raw stereo, its first sample at ``piece.begin``."""
    assert piece.source is not None
    # swresample would spread one channel over two at -3 dB each
    layout = "pan=stereo|c0=c0|c1=c0" if piece.channels == 1 else "aformat=channel_layouts=stereo"
    clock = f"asetpts=PTS-{float(piece.begin):.9f}/TB"
    steady = f"aresample={rate}:async=1:min_hard_comp={_GAP}:first_pts=0"
    return (
        *_QUIET, "-copyts", *guards(piece.source.demuxer, piece.source.formats), "-vn", "-sn", "-dn",
        "-i", f"file:{piece.source.link}", "-map", f"0:{piece.source.index}",
        "-af", f"{clock},{layout},{steady}", "-f", SAMPLE, "pipe:1",
    )  # fmt: skip


def sound_out(step: SoundStep, output: str) -> tuple[str, ...]:
    """Arguments that encode raw stereo from stdin to the film's sound."""
    return (
        "-hide_banner", "-v", "warning", "-f", SAMPLE, "-ar", str(step.rate), "-ac", "2", "-i", "pipe:0",
        "-c:a", "aac", "-b:a", str(SOUND_BITS), *_CLEAN, "-f", "mp4", "-y", f"file:{output}",
    )  # fmt: skip


def join(step: JoinStep, listing: str, output: str) -> tuple[str, ...]:
    """Arguments that copy all pictures in the listing's order, and the sound, into the film.

    ``-copyts``, or ffmpeg would shift the pictures by what it takes for the start of the whole listing: the priming
    of a sound that is not even copied from there, so that every picture came 20 ms late.
    """
    first = step.pictures[0].source
    formats = ",".join(dict.fromkeys(f for piece in step.pictures for f in piece.source.formats.split(",")))
    # the encoder of a very short clip decodes less far ahead, and its neighbour's time stamps would run backwards
    order = () if step.picture is None else ("-bsf:v", f"setts=pts=PTS:dts=(N-{_DELAY})*{step.picture}")
    sound: tuple[str, ...] = ()
    if step.sound is not None:
        sound = (*guards(MP4.demuxer, MP4.formats), "-i", f"file:{step.sound}")
    return (
        *_QUIET, *_PROGRESS, "-copyts", "-xerror", "-auto_convert", "0", *guards("concat", f"concat,{formats}"),
        "-i", f"file:{listing}", *sound, "-map", f"0:{first.index}", *(("-map", "1:a") if sound else ()),
        "-c", "copy", *order, *_CLEAN, "-moov_size", str(step.reserve), "-f", "mp4", "-y", f"file:{output}",
    )  # fmt: skip


def listing(pieces: Sequence[Piece]) -> str:
    """A concat script of our own links, each with the time it fills, rounded so that nothing adds up."""
    edges = [round(edge * 1_000_000) for edge in accumulate((piece.length for piece in pieces), initial=Fraction(0))]
    lines = ["ffconcat version 1.0"]
    for piece, (begin, end) in zip(pieces, pairwise(edges), strict=True):
        lines += [f"file {piece.source.link}", f"duration {end - begin}us"]
    return "\n".join(lines) + "\n"


def tool_key(version: str) -> str:
    """What of the tool is part of a step's id: its version and the choices above that are in no step."""
    return f"ffmpeg {version} {PRESET} {SOUND_BITS} {sorted((q.value, crf) for q, crf in CRF.items())}"
