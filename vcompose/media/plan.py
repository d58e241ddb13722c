"""The plan: composition and probes in, numbered steps out. Pure: nothing is opened, nothing is run.

The rungs stand in one list (:data:`LADDER`), the least work first. Each says what keeps each clip from it; the first
rung that nothing keeps any clip from is taken. What a clip was kept from is its reason for not being one rung higher.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Final

from vcompose.media.clip import Clip
from vcompose.media.composition import Composition, Mode
from vcompose.media.container import MP4
from vcompose.media.errors import CompositionError
from vcompose.media.step import (
    EncodeStep,
    JoinStep,
    Piece,
    SoundPiece,
    SoundStep,
    Source,
    Step,
    Target,
    identified,
)
from vcompose.media.target import choose_target, most, sound_rate

COPIED: Final = frozenset({"h264", "hevc"})
"""Codecs whose packets can be joined in MP4 where their configurations are equal."""

# Bytes that an MP4 index can take for one sample, with every table at its widest and no two entries merged:
# stts 8, ctts 8, stss 4, stsc 12, stsz 4, co64 8; sound has no ctts and no stss.
_INDEX_PICTURE: Final = 44
_INDEX_SOUND: Final = 32
_INDEX_REST: Final = 16_384
_AAC_FRAME: Final = 1024


class Treatment(StrEnum):
    """What is done to a clip's picture."""

    COPY = "copy"
    ENCODE = "encode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a clip is not treated more gently: a stable code and its parameters, put into words at the edge."""

    code: str
    parameters: dict[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.code, tuple(sorted(self.parameters.items()))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Treated:
    """One clip in the film: its treatment and reasons, where it begins and how long it is there (seconds)."""

    clip: Clip
    treatment: Treatment
    reasons: tuple[Reason, ...]
    begin: Fraction
    length: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done. ``target`` is what encoded pictures become; ``pictures`` the film's number of pictures."""

    composition: Composition
    steps: tuple[Step, ...]
    clips: tuple[Treated, ...]
    target: Target
    length: Fraction
    pictures: int
    sound_rate: int | None
    sound_samples: int

    @property
    def copies(self) -> bool:
        """Whether no picture is encoded."""
        return all(treated.treatment is Treatment.COPY for treated in self.clips)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way to make the film: what keeps clips from it, and how its pictures are made."""

    treatment: Treatment
    obstacles: Callable[[Composition], list[tuple[Reason, ...]]]
    build: Callable[[Composition, Target, str], _Pictures]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pictures:
    steps: tuple[EncodeStep, ...]
    pieces: tuple[Piece, ...]
    frames: int


def plan(composition: Composition, *, tool: str, encode: Reason | None = None) -> Plan:
    """Plan a composition. ``tool`` is the version of ffmpeg, part of every step's id; ``encode`` is a reason to
    encode every clip although it conforms (a film that was copied and failed its check).

    Raises CompositionError (``cannot_copy``) where only copying is wanted and a clip would need encoding.
    """
    target = choose_target(composition.clips, composition.output)
    reasons: list[tuple[Reason, ...]] = [()] * len(composition.clips)
    for rung in LADDER:
        obstacles = rung.obstacles(composition)
        if encode is not None and rung.treatment is Treatment.COPY:
            obstacles = [(*found, encode) for found in obstacles]
        if not any(obstacles):
            return _laid_out(composition, target, rung, reasons, tool)
        reasons = [_told_against(target, clip, found) for clip, found in zip(composition.clips, obstacles, strict=True)]
        if composition.output.mode is Mode.COPY:
            raise _cannot_copy(composition, obstacles)
    raise AssertionError("the last rung takes every clip")


def _told_against(target: Target, clip: Clip, obstacles: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """Reasons as a person reads them: size and rate against the film that will be, not against the other clips."""
    picture = clip.picture
    told = [reason for reason in obstacles if reason.code not in {"other_size", "other_rate"}]
    asked = {reason.code for reason in told}
    if picture.shown != target.size and "size_wanted" not in asked:
        told.append(Reason(code="other_size", parameters={"is": str(picture.shown), "film": str(target.size)}))
    if picture.rate != target.rate and "rate_wanted" not in asked and not picture.variable:
        told.append(Reason(code="other_rate", parameters={"is": _told(picture.rate), "film": _told(target.rate)}))
    return tuple(told) or (Reason(code="others_need_encoding"),)


def _laid_out(
    composition: Composition, target: Target, rung: Rung, reasons: Sequence[tuple[Reason, ...]], tool: str
) -> Plan:
    pictures = rung.build(composition, target, tool)
    begins = list(accumulate((piece.length for piece in pictures.pieces), initial=Fraction(0)))
    steps: list[Step] = list(pictures.steps)
    sound = _sound_step(composition, begins, len(steps) + 1, tool)
    samples = sound.samples if sound else 0
    if sound is not None:
        steps.append(sound)
    join = JoinStep(
        number=len(steps) + 1,
        pictures=pictures.pieces,
        sound=sound.output if sound else None,
        length=begins[-1],
        picture=target.picture_ticks if rung.treatment is Treatment.ENCODE else None,
        reserve=_INDEX_REST
        + pictures.frames * _INDEX_PICTURE
        + len(pictures.pieces) * 256
        + (samples // _AAC_FRAME + 8) * _INDEX_SOUND * bool(sound),
    )
    steps.append(identified(join, tool=tool))
    return Plan(
        composition=composition,
        steps=tuple(steps),
        clips=tuple(
            Treated(clip=clip, treatment=rung.treatment, reasons=why, begin=begin, length=end - begin)
            for clip, why, (begin, end) in zip(composition.clips, reasons, pairwise(begins), strict=True)
        ),
        target=target,
        length=begins[-1],
        pictures=pictures.frames,
        sound_rate=sound.rate if sound else None,
        sound_samples=samples,
    )


def _sound_step(composition: Composition, begins: Sequence[Fraction], number: int, tool: str) -> SoundStep | None:
    """One continuous sound: each clip's samples lie exactly under its pictures, so nothing can add up."""
    if all(clip.sound is None for clip in composition.clips):
        return None
    rate = sound_rate(composition.clips)
    edges = [round(begin * rate) for begin in begins]
    pieces = tuple(
        SoundPiece(
            clip=place,
            source=source(clip, clip.sound.index) if clip.sound else None,
            channels=clip.sound.channels if clip.sound else 0,
            begin=clip.begin,
            samples=end - begin,
        )
        for place, (clip, (begin, end)) in enumerate(zip(composition.clips, pairwise(edges), strict=True))
    )
    return identified(SoundStep(number=number, pieces=pieces, rate=rate), tool=tool)


def source(clip: Clip, index: int) -> Source:
    """One stream of a clip, under the name that its link has in every workspace."""
    link = f"clip-{hashlib.sha256(clip.identity.encode()).hexdigest()[:24]}"
    return Source(link=link, identity=clip.identity, demuxer=clip.demuxer, formats=clip.formats, index=index)


# ---- the rung that copies ----------------------------------------------------------------------------------------


def _copy_obstacles(composition: Composition) -> list[tuple[Reason, ...]]:
    """What keeps each clip from being copied beside the majority's (FACTS: what must never be stream-copied)."""
    output = composition.output
    facts = [_conformity(clip) for clip in composition.clips]
    like, _votes = most([values for _, values in facts], composition.clips)
    found: list[tuple[Reason, ...]] = []
    for clip, (names, values) in zip(composition.clips, facts, strict=True):
        reasons = [*_uncopyable(clip)]
        for name, mine, theirs in zip(names, values, like, strict=True):
            # a clip that differs in what a person can see is not told about what follows from that
            if mine != theirs and not (name in _MUTE and reasons):
                parameters = {} if name in _MUTE | {"color"} else {"is": _told(mine), "film": _told(theirs)}
                reasons.append(Reason(code=f"other_{name}", parameters=parameters))
        if output.mode is Mode.ENCODE:
            reasons.append(Reason(code="encode_wanted"))
        if output.size is not None and output.size != clip.picture.shown:
            parameters = {"is": str(clip.picture.shown), "film": str(output.size)}
            reasons.append(Reason(code="size_wanted", parameters=parameters))
        if output.rate is not None and output.rate != clip.picture.rate:
            parameters = {"is": _told(clip.picture.rate), "film": _told(output.rate)}
            reasons.append(Reason(code="rate_wanted", parameters=parameters))
        found.append(tuple(reasons))
    return found


_MUTE: Final = frozenset({"configuration", "layout", "aspect", "turn", "stored"})
"""Facts of the file's inside that say nothing to a person."""


def _conformity(clip: Clip) -> tuple[tuple[str, ...], tuple[object, ...]]:
    """What must be equal in clips whose packets are to follow one another in one track."""
    picture = clip.picture
    facts: dict[str, object] = {
        "codec": picture.codec,
        "size": picture.shown,
        "stored": picture.stored,
        "rate": picture.rate,
        "format": picture.pixel_format,
        "turn": picture.matrix,
        "scan": picture.fields,
        "color": picture.color,
        "aspect": picture.aspect,
        "configuration": picture.config,
        "layout": (picture.time_base, picture.index),
    }
    return tuple(facts), tuple(facts.values())


def _uncopyable(clip: Clip) -> list[Reason]:
    """What keeps a clip from being copied whatever the others are."""
    picture = clip.picture
    frame = 1 / picture.rate
    reasons: list[Reason] = []
    if clip.demuxer != MP4.demuxer:
        reasons.append(Reason(code="container", parameters={"is": clip.container}))
    elif picture.codec not in COPIED:
        reasons.append(Reason(code="codec", parameters={"is": picture.codec}))
    if picture.variable:
        reasons.append(Reason(code="variable_rate"))
    if picture.open_gop:
        reasons.append(Reason(code="open_gop"))
    if not picture.key_first:
        reasons.append(Reason(code="no_key_first"))
    if picture.hidden:
        reasons.append(Reason(code="hidden_pictures"))
    if abs(picture.begin - clip.start) > frame / 8:
        reasons.append(Reason(code="late_picture", parameters={"seconds": _told(picture.begin - clip.start)}))
    if clip.end > picture.end:
        reasons.append(Reason(code="longer_sound", parameters={"seconds": _told(clip.end - picture.end)}))
    return reasons


def _copy_build(composition: Composition, target: Target, tool: str) -> _Pictures:
    del target, tool
    return _Pictures(
        steps=(),
        pieces=tuple(
            Piece(
                clip=place,
                source=source(clip, clip.picture.index),
                length=clip.picture.end - clip.picture.begin,
            )
            for place, clip in enumerate(composition.clips)
        ),
        frames=sum(clip.picture.frames for clip in composition.clips),
    )


# ---- the rung that encodes ---------------------------------------------------------------------------------------


def _no_obstacles(composition: Composition) -> list[tuple[Reason, ...]]:
    return [()] * len(composition.clips)


def _encode_build(composition: Composition, target: Target, tool: str) -> _Pictures:
    """Every clip to the target; each fills a whole number of pictures, the rounding never adding up."""
    steps: dict[str, EncodeStep] = {}  # a clip that comes twice is encoded once
    pieces: list[Piece] = []
    owed, total = Fraction(0), 0
    for place, clip in enumerate(composition.clips):
        wanted = clip.length * target.rate + owed
        frames = max(1, round(wanted))
        total += frames
        # a clip shorter than a picture takes a whole one; the clips after it do not pay for that
        owed = max(Fraction(-1, 2), min(Fraction(1, 2), wanted - frames))
        step = identified(
            EncodeStep(
                number=len(steps) + 1,
                clip=place,
                source=source(clip, clip.picture.index),
                upright=clip.picture.upright,
                shown=clip.picture.shown,
                fields=clip.picture.fields,
                color=clip.picture.color,
                rate=clip.picture.rate,
                target=target,
                begin=clip.begin,
                frames=frames,
            ),
            tool=tool,
        )
        made = Source(link=step.output, identity=step.id, demuxer=MP4.demuxer, formats=MP4.formats, index=0)
        steps.setdefault(step.id, step)
        pieces.append(Piece(clip=place, source=made, length=frames / target.rate))
    return _Pictures(steps=tuple(steps.values()), pieces=tuple(pieces), frames=total)


LADDER: Final = (
    Rung(treatment=Treatment.COPY, obstacles=_copy_obstacles, build=_copy_build),
    Rung(treatment=Treatment.ENCODE, obstacles=_no_obstacles, build=_encode_build),
)
"""From the least work to the most. The rungs between (encode only odd clips, only touched groups) belong here."""


def _cannot_copy(composition: Composition, obstacles: Sequence[tuple[Reason, ...]]) -> CompositionError:
    names = list(dict.fromkeys(clip.name for clip, found in zip(composition.clips, obstacles, strict=True) if found))
    return CompositionError(
        f"only copying was asked for, and these clips would need encoding: {', '.join(names)}. "
        "Allow encoding, or leave them out",
        code="cannot_copy",
        clip=names[0],
        places=tuple(place for place, found in enumerate(obstacles) if found),
    )


def _told(value: object) -> str:
    if isinstance(value, Fraction):
        return str(value.numerator) if value.denominator == 1 else f"{float(value):.3f}".rstrip("0")
    return str(value)
