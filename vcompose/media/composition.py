"""The request: which clips, in which order, and the wanted film. Values; what people may ask for is checked here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Final

from vcompose.media.clip import Clip, Size
from vcompose.media.errors import CompositionError
from vcompose.media.packets import COMMON_RATES

SMALLEST: Final = 16
LARGEST: Final = 8192
"""Bounds of a film's width and height in pixels (libx264 takes no more than 16384, few players more than 8192)."""
FASTEST: Final = Fraction(240)
"""Pictures a second of a film."""


class Fit(StrEnum):
    """How a clip of another shape fills the film: with bars, by cutting, over its own blurred self, by stretching."""

    CONTAIN = "contain"
    COVER = "cover"
    BLUR = "blur"
    STRETCH = "stretch"


class Quality(StrEnum):
    """How much an encoded picture may lose: smaller files, or closer to the source."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Mode(StrEnum):
    """``auto`` copies where it can, ``copy`` refuses rather than encodes, ``encode`` never copies."""

    AUTO = "auto"
    COPY = "copy"
    ENCODE = "encode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The wanted film; None leaves the choice to the plan (the majority's)."""

    size: Size | None = None
    rate: Fraction | None = None
    fit: Fit = Fit.CONTAIN
    quality: Quality = Quality.MEDIUM
    mode: Mode = Mode.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """An ordered list of two or more clips and the wanted film."""

    clips: tuple[Clip, ...]
    output: Output = field(default_factory=Output)

    def __post_init__(self) -> None:
        check_count(self.clips)


def check_count(clips: Sequence[object]) -> None:
    """Raises CompositionError (``too_few_clips``)."""
    if len(clips) < 2:
        raise CompositionError(
            f"a film needs at least two clips, and {'one was' if clips else 'none was'} given: add another",
            code="too_few_clips",
        )


def parse_size(text: str) -> Size:
    """``1920x1080`` as a size. Raises CompositionError (``bad_size``)."""
    match = re.fullmatch(r"([0-9]{1,5})[xX\u00d7]([0-9]{1,5})", text.strip())
    if match is None:
        raise CompositionError(f"{text!r} is no size: write it like 1920x1080", code="bad_size")
    size = Size(int(match[1]), int(match[2]))
    if not all(SMALLEST <= side <= LARGEST for side in size):
        raise CompositionError(
            f"a film of {size} cannot be made: each side must be between {SMALLEST} and {LARGEST}",
            code="bad_size",
        )
    if size.width % 2 or size.height % 2:
        even = Size(size.width + size.width % 2, size.height + size.height % 2)
        raise CompositionError(
            f"a film of {size} cannot be made: both sides must be even numbers, like {even}", code="bad_size"
        )
    return size


def parse_rate(text: str) -> Fraction:
    """``25``, ``29.97`` or ``30000/1001`` as pictures a second. Raises CompositionError (``bad_fps``)."""
    rate = Fraction(0)
    # no exponents: a short text would be a number of a million digits
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?|[0-9]{1,6}/[1-9][0-9]{0,5}", text.strip()):
        rate = Fraction(text.strip()).limit_denominator(1001)
    if not 1 <= rate <= FASTEST:
        raise CompositionError(
            f"{text!r} is no number of pictures a second: write one from 1 to {FASTEST}, like 25 or 30000/1001",
            code="bad_fps",
        )
    # people write 29.97 and mean 30000/1001
    meant = [common for common in COMMON_RATES if "." in text and abs(common - rate) < Fraction(1, 200)]
    return meant[0] if meant else rate


def wanted(
    *,
    size: str | None = None,
    fps: str | None = None,
    fit: str = "contain",
    quality: str = "medium",
    mode: str = "auto",
) -> Output:
    """The wanted film from people's words. Raises CompositionError (``bad_size``, ``bad_fps``, ``bad_value``)."""

    def one_of(kind: type[Fit | Quality | Mode], value: str) -> str:
        if value not in {member.value for member in kind}:
            known = ", ".join(kind)
            raise CompositionError(f"{value!r} is none of {known}", code="bad_value")
        return value

    return Output(
        size=parse_size(size) if size is not None else None,
        rate=parse_rate(fps) if fps is not None else None,
        fit=Fit(one_of(Fit, fit)),
        quality=Quality(one_of(Quality, quality)),
        mode=Mode(one_of(Mode, mode)),
    )
