"""ffprobe's description of a file, and what it means together with what the packets told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

from pydantic import BaseModel, Field

from vcompose.media import codecs
from vcompose.media.clip import Color, Fields, Picture, Size, Sound
from vcompose.media.errors import ClipError
from vcompose.media.packets import Pacing, Stream, pace

MOST_SECONDS: Final = 24 * 3600
LONGEST_WAIT: Final = 3600
"""Seconds that one picture may stand; more is a broken time stamp, not a film."""
FALLEN: Final = Fraction(1, 2)
"""Seconds by which decoding times may run backwards, as they do in some old files."""
FASTEST: Final = 1000
"""Pictures a second."""


class SideData(BaseModel):
    """What we read of one side datum."""

    rotation: float | None = None
    displaymatrix: str | None = None


class StreamHeader(BaseModel):
    """What we read of one stream."""

    index: int
    codec_name: str = "unknown"
    codec_type: str = ""
    profile: str = ""
    pix_fmt: str = ""
    width: int = 0
    height: int = 0
    sample_aspect_ratio: str = ""
    field_order: str = ""
    color_range: str | None = None
    color_space: str | None = None
    color_transfer: str | None = None
    color_primaries: str | None = None
    r_frame_rate: str = "0/0"
    time_base: str = "1/1000"
    duration: str = ""
    sample_rate: int = 0
    channels: int = 0
    channel_layout: str = ""
    extradata_hash: str = ""
    disposition: dict[str, int] = Field(default_factory=dict)
    side_data_list: list[SideData] = Field(default_factory=list)


class FormatHeader(BaseModel):
    """What we read of the container."""

    start_time: str = "0"
    duration: str = ""


class Header(BaseModel):
    """ffprobe's document."""

    streams: list[StreamHeader] = Field(default_factory=list)
    format: FormatHeader = Field(default_factory=FormatHeader)


def choose_picture(candidates: Sequence[StreamHeader], streams: Mapping[int, Stream]) -> StreamHeader | None:
    """The moving picture: one with several pictures before a still one, the default before others, the first."""
    present = [s for s in candidates if s.index in streams and streams[s.index].count]
    if not present:
        return None

    def rank(stream: StreamHeader) -> tuple[bool, bool, int]:
        still = stream.disposition.get("still_image") == 1 or streams[stream.index].count < 2
        return still, stream.disposition.get("default") != 1, stream.index

    return min(present, key=rank)


def picture_of(header: StreamHeader, stream: Stream, name: str) -> tuple[Picture, tuple[str, ...]]:
    """The picture and the warnings that go with it. Raises ClipError (``too_long``, ``too_fast``), naming ``name``."""
    base = _fraction(header.time_base) or Fraction(1, 1000)
    fields = {
        "tt": Fields.TOP_FIRST,
        "tb": Fields.TOP_FIRST,
        "bb": Fields.BOTTOM_FIRST,
        "bt": Fields.BOTTOM_FIRST,
    }.get(header.field_order, Fields.PROGRESSIVE)
    declared = _fraction(header.r_frame_rate)
    pacing = pace(stream.pictures, base, declared, stream.last_duration)
    assert stream.first is not None
    assert stream.last is not None
    pacing, halved = _whole_pictures(pacing, fields)
    begin = stream.first * base
    end = stream.last * base + pacing.last
    frames = (stream.count + 1) // 2 if halved else stream.count
    if end - begin > MOST_SECONDS:
        raise too_long(name, "more than 24 hours")
    if pacing.longest > LONGEST_WAIT:
        raise too_long(name, f"a gap of {float(pacing.longest) / 3600:.1f} hours")
    if pacing.rate > FASTEST or (stream.count > 2 and stream.count / (end - begin) > FASTEST):
        raise ClipError(
            f"{name} claims more than {FASTEST} pictures a second: its time stamps are broken. Convert it first",
            code="too_fast",
            clip=name,
        )
    if stream.fell * base > FALLEN:
        raise ClipError(
            f"{name} has a clock that starts again in the middle: it was put together from several files. "
            "Give those one by one, or convert it first",
            code="broken_times",
            clip=name,
        )
    matrix = next((s.displaymatrix for s in header.side_data_list if s.displaymatrix), None) or ""
    turn = next((s.rotation for s in header.side_data_list if s.rotation is not None), 0.0)
    rotation = round(-turn) % 360
    warnings = () if stream.key_first else ("first_picture_incomplete",)
    picture = Picture(
        index=header.index,
        codec=header.codec_name,
        profile=header.profile,
        pixel_format=header.pix_fmt,
        stored=Size(header.width, header.height),
        aspect=_aspect(header.sample_aspect_ratio),
        rotation=rotation if rotation % 90 == 0 else 0,
        matrix=" ".join(matrix.split()),
        fields=fields,
        color=Color(
            range="pc" if header.pix_fmt.startswith("yuvj") else header.color_range,
            matrix=header.color_space,
            primaries=header.color_primaries,
            transfer=header.color_transfer,
        ),
        rate=pacing.rate,
        variable=pacing.variable,
        frames=frames,
        begin=begin,
        end=end,
        time_base=base,
        config=header.extradata_hash.removeprefix("SHA256:"),
        open_gop=stream.open_gop,
        key_first=stream.key_first,
        hidden=stream.hidden,
    )
    return picture, warnings


def cut_off(header: Header, chosen: StreamHeader, picture: Picture, streams: Mapping[int, Stream]) -> bool:
    """Whether the file ends clearly before what its header promises: a copy that was broken off."""
    found = picture.end - picture.begin
    promised = seconds(chosen.duration)
    if promised == 0:  # containers that know one duration for all
        promised = seconds(header.format.duration)
        bases = {one.index: _fraction(one.time_base) or Fraction(1, 1000) for one in header.streams}
        ends = [(s.last + s.last_duration) * bases[i] for i, s in streams.items() if s.last is not None and i in bases]
        found = max(ends, default=Fraction(0)) - seconds(header.format.start_time)
    return promised < MOST_SECONDS and promised - found > max(Fraction(1, 2), promised / 20)


def _whole_pictures(pacing: Pacing, fields: Fields) -> tuple[Pacing, bool]:
    """Field packets (PAFF) come twice as often as pictures: no interlaced format shows more than 30 a second."""
    if fields is Fields.PROGRESSIVE or pacing.rate <= 31:
        return pacing, False
    return Pacing(rate=pacing.rate / 2, variable=pacing.variable, last=pacing.last, longest=pacing.longest), True


def sound_of(header: Header, streams: Mapping[int, Stream]) -> Sound | None:
    """The sound: the default track that decodes, else the first that does."""
    usable = [
        s
        for s in header.streams
        if s.codec_type == "audio"
        and codecs.is_known_audio(s.codec_name)
        and s.channels > 0
        and s.sample_rate > 0
        and s.index in streams
        and streams[s.index].count
    ]
    if not usable:
        return None
    chosen = min(usable, key=lambda s: (s.disposition.get("default") != 1, s.index))
    stream = streams[chosen.index]
    base = _fraction(chosen.time_base) or Fraction(1, 1000)
    assert stream.first is not None
    assert stream.last is not None
    return Sound(
        index=chosen.index,
        codec=chosen.codec_name,
        profile=chosen.profile,
        rate=chosen.sample_rate,
        channels=chosen.channels,
        layout=chosen.channel_layout,
        begin=stream.first * base + Fraction(stream.skip, chosen.sample_rate),
        end=(stream.last + stream.last_duration) * base - Fraction(stream.padding, chosen.sample_rate),
    )


def _fraction(text: str) -> Fraction | None:
    number, _, divisor = text.replace(":", "/").partition("/")
    try:
        value = Fraction(int(number), int(divisor or 1))
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None


def seconds(text: str) -> Fraction:
    """ffprobe's decimal seconds; 0 where it does not know."""
    try:
        return Fraction(text)
    except ValueError:
        return Fraction(0)


def _aspect(text: str) -> Fraction:
    """The sample aspect; an absurd one (beyond 1:8) is a broken header, and taken for square."""
    aspect = _fraction(text) or Fraction(1)
    return aspect if Fraction(1, 8) <= aspect <= 8 else Fraction(1)


def holds(header: Header) -> str:
    """The kinds of stream in a file, in words."""
    kinds = sorted({s.codec_type or "unknown data" for s in header.streams})
    return " and ".join("sound" if kind == "audio" else kind for kind in kinds) or "nothing"


def too_long(name: str, what: str) -> ClipError:
    """The refusal of a clip that lasts absurdly long."""
    return ClipError(
        f"{name} has {what}: cut it into parts, or repair its time stamps first", code="too_long", clip=name
    )
