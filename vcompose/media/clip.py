"""What is known of a clip: values, no work. Times are exact fractions of seconds on the file's own clock.

``begin`` is the first shown picture or heard sample, after edit lists and priming; ``end`` is the end of the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from pydantic import TypeAdapter

CONTENT: Final = "sha256:"
"""How an identity begins that is the hash of the file's bytes."""
OVERHANG: Final = Fraction(1, 10)
"""Sound that outlasts the picture by less than this many seconds is cut, not held (DESIGN: how long a clip is)."""


class Size(NamedTuple):
    """Width and height in square pixels, or as stored where that is said."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Fields(StrEnum):
    """How a picture is scanned: whole, or as two fields of which the top or the bottom one comes first."""

    PROGRESSIVE = "progressive"
    TOP_FIRST = "top_first"
    BOTTOM_FIRST = "bottom_first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Color:
    """ffmpeg's names; None where the file does not say. ``range`` is ``tv`` (limited) or ``pc`` (full)."""

    range: str | None
    matrix: str | None
    primaries: str | None
    transfer: str | None

    @property
    def hdr(self) -> Literal["hlg", "pq"] | None:
        """The kind of high dynamic range, by the transfer function."""
        return {"arib-std-b67": "hlg", "smpte2084": "pq"}.get(self.transfer or "")  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The moving picture of a clip.

    ``stored`` is the coded size; ``matrix`` the display matrix as the file has it ("" for none); ``rotation`` in
    degrees clockwise (0, 90, 180, 270) turns it upright; ``hidden`` counts pictures that an edit list hides; ``rate``
    in pictures a second as measured from the time stamps; ``config`` is the hash of the decoder configuration
    (``avcC``, ``hvcC``, …).
    """

    index: int
    codec: str
    profile: str
    pixel_format: str
    stored: Size
    aspect: Fraction
    rotation: int
    matrix: str
    fields: Fields
    color: Color
    rate: Fraction
    variable: bool
    frames: int
    begin: Fraction
    end: Fraction
    time_base: Fraction
    config: str
    open_gop: bool
    key_first: bool
    hidden: int

    @property
    def upright(self) -> Size:
        """The stored size, turned upright."""
        turned = self.rotation in {90, 270}
        return Size(self.stored.height, self.stored.width) if turned else self.stored

    @property
    def shown(self) -> Size:
        """The size a person sees: sample aspect applied (by stretching the width), then turned upright."""
        square = self.aspect.numerator == self.aspect.denominator
        width = self.stored.width if square else max(1, round(self.stored.width * self.aspect))
        size = Size(width, self.stored.height)
        return Size(size.height, size.width) if self.rotation in {90, 270} else size


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """The sound of a clip: ``rate`` in Hz, ``layout`` by ffmpeg's name ("" where the file does not say)."""

    index: int
    codec: str
    profile: str
    rate: int
    channels: int
    layout: str
    begin: Fraction
    end: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A probed file. ``name`` is the person's; ``path`` is used to link the file into a workspace, never to name
    it to ffmpeg; ``identity`` changes when the file does; ``start`` is where the file says that it starts (seconds on
    its own clock, the zero of whoever joins it whole).
    """

    name: str
    path: str
    identity: str
    size: int
    container: str
    demuxer: str
    formats: str
    start: Fraction
    picture: Picture
    sound: Sound | None
    warnings: tuple[str, ...] = ()

    @property
    def begin(self) -> Fraction:
        """The first shown picture or heard sample."""
        return self.picture.begin if self.sound is None else min(self.picture.begin, self.sound.begin)

    @property
    def end(self) -> Fraction:
        """The end of the last picture or sound, a short overhang of sound cut."""
        if self.sound is None or self.sound.end - self.picture.end < OVERHANG:
            return self.picture.end
        return self.sound.end

    @property
    def length(self) -> Fraction:
        """Seconds."""
        return self.end - self.begin


SCHEMA: TypeAdapter[Clip] = TypeAdapter(Clip)
"""Clips to JSON and back (``dump_json``, ``validate_json``), so that what was found need not be looked for again."""
