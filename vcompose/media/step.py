"""Steps: units of work with one output file each, as plain data that can cross to another machine.

A step names its inputs and its output by names inside a workspace; the names of people's files are not in it. Its
id is the hash of what it reads, what it does and the tool that does it: equal ids make equal outputs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeAlias, TypeVar

from pydantic import TypeAdapter

from vcompose.media.clip import Color, Fields, Size
from vcompose.media.composition import Fit, Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One stream of a clip: its link in the workspace, how to open it, and what tells its bytes from others."""

    link: str
    identity: str
    demuxer: str
    formats: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What every encoded picture becomes: H.264 High, 4:2:0, 8 bit, BT.709 limited range, progressive."""

    size: Size
    rate: Fraction
    fit: Fit
    quality: Quality

    @property
    def time_scale(self) -> int:
        """Ticks a second in the film's video track: a whole number of them to each picture."""
        return self.rate.numerator * -(-10_000 // self.rate.numerator)

    @property
    def picture_ticks(self) -> int:
        """Ticks that each picture lasts."""
        return int(self.time_scale / self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeStep:
    """Encode the picture of one clip to the target: exactly ``frames`` pictures, beginning at ``begin`` seconds on
    the source's clock; a picture that is not there yet or no longer is held. ``upright`` is the stored size after
    turning, ``shown`` that with the sample aspect applied.
    """

    kind: Literal["encode"] = "encode"
    number: int
    id: str = ""
    clip: int
    source: Source
    upright: Size
    shown: Size
    fields: Fields
    color: Color
    rate: Fraction
    target: Target
    begin: Fraction
    frames: int
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundPiece:
    """The sound of one clip in the film: ``samples`` of it from ``begin`` seconds on the source's clock, silence
    where there is none; ``source`` None is a silent clip.
    """

    clip: int
    source: Source | None
    channels: int
    begin: Fraction
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundStep:
    """Encode the sound of the whole film as one continuous AAC stream (``rate`` Hz, stereo)."""

    kind: Literal["sound"] = "sound"
    number: int
    id: str = ""
    pieces: tuple[SoundPiece, ...]
    rate: int
    output: str = ""

    @property
    def samples(self) -> int:
        """Samples (a channel) of the whole film."""
        return sum(piece.samples for piece in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A run of video packets in the film: the file it is copied from, and how many seconds it fills."""

    clip: int
    source: Source
    length: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinStep:
    """Copy the packets of all pictures, one clip after another, beside the sound; the index goes in front.

    ``reserve`` is the room for the index in bytes, never less than it will need. ``picture`` is the length of each
    picture in ticks where all were encoded, at one rate; None where they are copied with their own time stamps.
    """

    kind: Literal["join"] = "join"
    number: int
    id: str = ""
    pictures: tuple[Piece, ...]
    sound: str | None
    length: Fraction
    reserve: int
    picture: int | None = None
    output: str = ""


Step: TypeAlias = EncodeStep | SoundStep | JoinStep
_S = TypeVar("_S", EncodeStep, SoundStep, JoinStep)

SCHEMA: TypeAdapter[Step] = TypeAdapter(Step)
"""Steps to JSON and back (``dump_json``, ``validate_json``)."""


def identified(step: _S, *, tool: str) -> _S:
    """The step with its id and its output's name. Places in a plan and in a film are no part of the work."""
    bare: Step = replace(step, number=0, id="", output="")
    if isinstance(bare, EncodeStep):
        bare = replace(bare, clip=0)
    digest = hashlib.sha256(SCHEMA.dump_json(bare) + b"\0" + tool.encode()).hexdigest()[:32]
    suffix = {"encode": "mp4", "sound": "m4a", "join": "mp4"}[step.kind]
    return replace(step, id=digest, output=f"{step.kind}-{digest}.{suffix}")
