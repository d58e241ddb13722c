"""Values of the media room, built without any file: clips with defaults, and lists of clips for property tests."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from vcompose.media.clip import Clip, Color, Fields, Picture, Size, Sound
from vcompose.media.composition import Composition, Fit, Mode, Output, Quality
from vcompose.media.container import MP4
from vcompose.media.step import EncodeStep, Source, Target

SDR = Color(range="tv", matrix="bt709", primaries="bt709", transfer="bt709")
NO_COLOR = Color(range=None, matrix=None, primaries=None, transfer=None)
SMALL, WIDE = Size(320, 240), Size(640, 360)
FOLDER = "/home/somebody/secret"
"""The folder in which every built clip claims to lie."""


def clip(
    name: str = "a.mp4",
    *,
    frames: int = 75,
    rate: Fraction = Fraction(25),
    start: Fraction = Fraction(0),
    sound: Sound | bool = True,
    demuxer: str = MP4.demuxer,
    warnings: tuple[str, ...] = (),
    **picture: Any,
) -> Clip:
    """A clip of H.264 and AAC that fits beside any other with the same arguments; ``picture`` are changes of its
    :class:`Picture`. Sound True is as long as the picture.
    """
    end = start + frames / rate
    base = Picture(
        index=0,
        codec="h264",
        profile="High",
        pixel_format="yuv420p",
        stored=SMALL,
        aspect=Fraction(1),
        rotation=0,
        matrix="",
        fields=Fields.PROGRESSIVE,
        color=SDR,
        rate=rate,
        variable=False,
        frames=frames,
        begin=start,
        end=end,
        time_base=Fraction(1, 90_000),
        config="c0ffee",
        open_gop=False,
        key_first=True,
        hidden=0,
    )
    return Clip(
        name=name,
        path=f"{FOLDER}/{name}",
        identity=hashlib.sha256(name.encode()).hexdigest()[:16],
        size=1_000_000,
        container="MP4 or MOV" if demuxer == MP4.demuxer else "Matroska or WebM",
        demuxer=demuxer,
        formats=MP4.formats if demuxer == MP4.demuxer else "matroska,webm",
        start=start,
        picture=replace(base, **picture),
        sound=heard(start, end) if sound is True else sound or None,
        warnings=warnings,
    )


def heard(begin: Fraction, end: Fraction, *, rate: int = 48_000, channels: int = 2) -> Sound:
    """AAC sound."""
    return Sound(
        index=1, codec="aac", profile="LC", rate=rate, channels=channels, layout="stereo", begin=begin, end=end
    )


def composition(*clips: Clip, **output: Any) -> Composition:
    """A composition; ``output`` are the fields of :class:`Output`."""
    return Composition(clips=clips, output=Output(**output))


def target(size: Size = WIDE, *, rate: Fraction = Fraction(25), fit: Fit = Fit.CONTAIN) -> Target:
    """A target of medium quality."""
    return Target(size=size, rate=rate, fit=fit, quality=Quality.MEDIUM)


def encode_step(*, target: Target, shown: Size = SMALL, **changes: Any) -> EncodeStep:
    """A step that encodes three seconds; ``changes`` are other fields of it."""
    source = Source(link="clip-0", identity="id", demuxer=MP4.demuxer, formats=MP4.formats, index=0)
    step = EncodeStep(
        number=1,
        clip=0,
        source=source,
        upright=shown,
        shown=shown,
        fields=Fields.PROGRESSIVE,
        color=SDR,
        rate=Fraction(25),
        target=target,
        begin=Fraction(0),
        frames=75,
    )
    return replace(step, **changes)


RATES = tuple(Fraction(n, d) for n, d in ((10, 1), (24000, 1001), (25, 1), (30000, 1001), (30, 1), (60000, 1001)))
SIZES = (SMALL, WIDE, Size(360, 640), Size(161, 121), Size(1920, 1080), Size(2, 2))


@st.composite
def clips(draw: st.DrawFn, *, shortest: int = 1) -> Clip:
    """Any clip: of one picture (``shortest``) to two minutes, with or without sound, which may begin and end elsewhere
    than the picture.
    """
    rate = draw(st.sampled_from(RATES))
    frames = draw(st.one_of(st.integers(shortest, 50), st.integers(shortest, int(rate * 120))))
    start = draw(st.sampled_from((Fraction(0), Fraction(7, 5), Fraction(-1, 50))))
    end = start + frames / rate
    late = draw(st.sampled_from((Fraction(0), Fraction(1, 3), Fraction(-1, 4))))
    over = draw(st.sampled_from((Fraction(0), Fraction(1, 20), Fraction(2, 3))))
    sound_rate = draw(st.sampled_from((48_000, 44_100, 22_050)))
    sound = heard(start + late, max(end + over, start + late), rate=sound_rate)
    hear = draw(st.booleans())
    made = clip(
        draw(st.sampled_from(("a.mp4", "b.mov", "c d.mp4", "$(e).mkv"))) + str(draw(st.integers(0, 3))),
        frames=frames,
        rate=rate,
        start=start,
        sound=sound if hear else False,
        stored=draw(st.sampled_from(SIZES)),
        rotation=draw(st.sampled_from((0, 0, 90))),
        color=draw(st.sampled_from((SDR, NO_COLOR))),
        fields=draw(st.sampled_from((Fields.PROGRESSIVE, Fields.PROGRESSIVE, Fields.TOP_FIRST))),
        variable=draw(st.sampled_from((False, False, True))),
    )
    return replace(made, start=made.begin)


OUTPUTS = st.builds(
    Output,
    size=st.sampled_from((None, WIDE)),
    rate=st.sampled_from((None, Fraction(25), Fraction(30000, 1001), Fraction(240))),
    fit=st.sampled_from(Fit),
    quality=st.sampled_from(Quality),
    mode=st.sampled_from((Mode.AUTO, Mode.ENCODE)),
)
