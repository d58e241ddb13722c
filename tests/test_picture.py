"""The filter chain: sizes for any shape, and nothing in it that a person wrote."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

import pytest
from builders import NO_COLOR, SDR, encode_step, target
from hypothesis import given, settings
from hypothesis import strategies as st

from vcompose.media.clip import Color, Fields, Size
from vcompose.media.composition import Fit
from vcompose.media.picture import chain, fit, matrix

HDR = Color(range="tv", matrix="bt2020nc", primaries="bt2020", transfer="smpte2084")
SIDES = st.integers(1, 8192)
SHOWN = st.builds(Size, SIDES, SIDES)
CANVAS = st.builds(
    Size, st.integers(8, 2048).map(lambda half: half * 2), st.integers(8, 2048).map(lambda half: half * 2)
)


def sizes(filters: list[str], name: str) -> list[Size]:
    """The sizes that the filters of that name are given, in their order."""
    return [Size(int(w), int(h)) for w, h in re.findall(rf"(?<![a-z]){name}=(\d+):(\d+)", ",".join(filters))]


@settings(deadline=None)
@given(SHOWN, CANVAS)
def test_contain_lies_inside_and_touches(shown: Size, canvas: Size) -> None:
    filters = fit(shown, target(canvas), "bt709")
    (inner,) = sizes(filters, "scale")
    assert all(side > 0 and side % 2 == 0 for side in inner)
    assert inner.width <= canvas.width
    assert inner.height <= canvas.height
    assert inner.width == canvas.width or inner.height == canvas.height
    # the shape is kept, but for the step from one even size to the next
    wanted = min(Fraction(canvas.width, shown.width), Fraction(canvas.height, shown.height))
    assert abs(inner.width - max(Fraction(2), shown.width * wanted)) <= 1
    assert abs(inner.height - max(Fraction(2), shown.height * wanted)) <= 1
    pads = re.findall(r"pad=(\d+):(\d+):(\d+):(\d+):black", ",".join(filters))
    if inner != canvas:
        width, height, left, top = map(int, pads[0])
        assert (width, height) == canvas
        assert left % 2 == top % 2 == 0
        assert 0 <= left <= canvas.width - inner.width
        assert 0 <= top <= canvas.height - inner.height
        # in the middle
        assert abs(canvas.width - inner.width - 2 * left) <= 2
        assert abs(canvas.height - inner.height - 2 * top) <= 2


@settings(deadline=None)
@given(SHOWN, CANVAS)
def test_cover_covers(shown: Size, canvas: Size) -> None:
    first, *rest = fit(shown, target(canvas, fit=Fit.COVER), "bt709")
    if shown.width * canvas.height != shown.height * canvas.width:
        kept = re.fullmatch(r"crop=max\(2\\,iw\*([\d.]+)\):max\(2\\,ih\*([\d.]+)\)", first)
        assert kept is not None, first
        wide, high = float(kept[1]), float(kept[2])
        assert 0 < min(wide, high) <= max(wide, high) == 1
        shape = shown.width * wide / (shown.height * high)
        assert abs(shape * canvas.height / canvas.width - 1) < 1e-4
        first = rest[0]
    assert sizes([first], "scale") == [canvas]


@settings(deadline=None)
@given(SHOWN, CANVAS)
def test_stretch_fills(shown: Size, canvas: Size) -> None:
    filters = fit(shown, target(canvas, fit=Fit.STRETCH), "bt709")
    assert sizes(filters, "scale") == [canvas]
    assert not sizes(filters, "crop") + sizes(filters, "pad")


@settings(deadline=None)
@given(SHOWN, CANVAS)
def test_blur_lays_the_whole_picture_over_a_full_canvas(shown: Size, canvas: Size) -> None:
    filters = fit(shown, target(canvas, fit=Fit.BLUR), "bt709")
    found = sizes(filters, "scale")
    assert all(side > 0 and side % 2 == 0 for size in found for side in size)
    if len(found) == 1:
        assert found == [canvas]
        return
    small, full, front = found
    assert max(small.width / canvas.width, small.height / canvas.height) <= 1
    assert full == canvas
    assert front.width <= canvas.width
    assert front.height <= canvas.height
    labels = re.findall(r"\[(\w+)\]", filters[0])
    assert sorted(labels) == sorted([*dict.fromkeys(labels)] * 2)


@pytest.mark.parametrize("way", Fit)
@pytest.mark.parametrize("shown", [Size(320, 180), Size(3840, 2160), Size(16, 9)])
def test_the_same_shape_is_only_scaled(way: Fit, shown: Size) -> None:
    filters = fit(shown, target(Size(640, 360), fit=way), "bt709")
    assert [one.partition("=")[0] for one in filters] == ["scale", "setsar"]


@settings(deadline=None)
@given(SHOWN, CANVAS, st.sampled_from(Fit))
def test_colours_are_converted_once(shown: Size, canvas: Size, way: Fit) -> None:
    text = ",".join(fit(shown, target(canvas, fit=way), "smpte170m"))
    assert "in_color_matrix=smpte170m:out_color_matrix=bt709:out_range=tv" in text
    assert "setsar=1" in text


@pytest.mark.parametrize(
    ("color", "shown", "name"),
    [
        (SDR, Size(320, 240), "auto"),
        (NO_COLOR, Size(320, 240), "smpte170m"),
        (NO_COLOR, Size(1280, 720), "bt709"),
        (NO_COLOR, Size(720, 1280), "bt709"),
        (NO_COLOR, Size(2000, 700), "smpte170m"),
        (Color(range=None, matrix="unknown", primaries=None, transfer=None), Size(1280, 720), "bt709"),
        (Color(range=None, matrix="reserved", primaries=None, transfer=None), Size(1280, 720), "bt709"),
    ],
)
def test_matrix_of_a_file_that_does_not_say(color: Color, shown: Size, name: str) -> None:
    assert matrix(color, shown) == name


def names(text: str) -> list[str]:
    return re.findall(r"(?:^|[,;\]])([a-z]+)(?==|,|$)", text)


def test_whole_chain() -> None:
    text = chain(encode_step(target=target(), begin=Fraction(-1, 3), shown=Size(320, 240)))
    assert text.startswith("setpts=round(PTS--0.333333333/TB),scale=320:240,scale=480:360:")
    order = ["setpts", "scale", "scale", "setsar", "format", "pad", "fps", "tpad", "format", "setparams"]
    assert names(text) == order
    assert "fps=25:start_time=0" in text


def test_rate_is_lowered_before_the_pictures_are_scaled() -> None:
    text = chain(encode_step(target=target(), rate=Fraction(60)))
    assert text.index("fps=") < text.index("scale=480:360")
    assert "fps=30000/1001:" in chain(encode_step(target=target(rate=Fraction(30000, 1001))))


@pytest.mark.parametrize("fields", Fields)
def test_fields_become_whole_pictures(fields: Fields) -> None:
    text = chain(encode_step(target=target(), fields=fields))
    assert ("bwdif=" in text) is (fields is not Fields.PROGRESSIVE)
    if "bwdif" in text:
        assert text.index("bwdif") < text.index("fps=")
        assert text.index("bwdif") < text.index("scale=480:360")


def test_high_dynamic_range_is_compressed_before_anything_is_scaled() -> None:
    text = chain(encode_step(target=target(), color=HDR))
    assert "zscale=tin=smpte2084:min=bt2020nc:pin=bt2020:t=linear" in text
    assert text.index("tonemap=") < text.index("scale=480:360")
    assert "tonemap" not in chain(encode_step(target=target(), color=SDR))


def test_high_dynamic_range_that_became_plain_is_read_as_such() -> None:
    color = Color(range="tv", matrix=None, primaries=None, transfer="smpte2084")
    text = chain(encode_step(target=target(), color=color, shown=Size(640, 480)))
    # what comes out of the tone mapping is BT.709, whatever its size would mean otherwise
    assert "in_color_matrix=smpte170m" not in text


@pytest.mark.parametrize(
    ("matrix", "primaries"),
    [("bt2020nc", "bt2020"), (None, "bt2020"), ("bt2020nc", None), (None, None), ("unknown", "unknown"),
     ("reserved", "reserved")],
)  # fmt: skip
@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_high_dynamic_range_that_says_little_can_be_made_plain(
    transfer: str, matrix: str | None, primaries: str | None, ffmpeg: Callable[..., None]
) -> None:
    color = Color(range="tv", matrix=matrix, primaries=primaries, transfer=transfer)
    # reserved is what ffprobe calls some numbers; no name of it can be set
    tags = [name if name is not None and name != "reserved" else "unknown" for name in (matrix, primaries)]
    said = f"colorspace={tags[0]}:color_primaries={tags[1]}:color_trc={transfer}"
    source = f"color=size=64x48:rate=25:duration=0.04,format=yuv420p10le,setparams=range=tv:{said}"
    step = encode_step(target=target(Size(32, 32)), color=color, shown=Size(64, 48))
    ffmpeg("-f", "lavfi", "-i", source, "-vf", chain(step), "-frames:v", "1", "-f", "null", "-")


_SAFE = re.compile(r"[A-Za-z0-9_=:,;()\[\]/.\-*+\\]+")


@settings(deadline=None)
@given(
    shown=SHOWN,
    canvas=CANVAS,
    way=st.sampled_from(Fit),
    color=st.sampled_from((SDR, NO_COLOR, HDR)),
    fields=st.sampled_from(Fields),
    rate=st.fractions(1, 1000, max_denominator=1001),
    begin=st.fractions(-10, 90_000, max_denominator=10**9),
)
def test_a_chain_holds_only_our_own_words(
    shown: Size, canvas: Size, way: Fit, color: Color, fields: Fields, rate: Fraction, begin: Fraction
) -> None:
    film = target(canvas, fit=way)
    step = encode_step(target=film, shown=shown, color=color, fields=fields, rate=rate, begin=begin)
    text = chain(step)
    assert _SAFE.fullmatch(text)
    assert step.source.link not in text
    for reader in ("movie", "drawtext", "subtitles", "file"):
        assert reader not in text
    # numbers are written out: ffmpeg reads no exponents here
    assert not re.search(r"\d[eE][-+]?\d", text)
    assert text.endswith("setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709")
