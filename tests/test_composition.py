"""What people may ask for."""

from __future__ import annotations

import contextlib
import time
from fractions import Fraction

import pytest
from builders import clip
from hypothesis import given, settings
from hypothesis import strategies as st

from vcompose.media.clip import Size
from vcompose.media.composition import (
    FASTEST,
    LARGEST,
    SMALLEST,
    Composition,
    Fit,
    Mode,
    Output,
    Quality,
    parse_rate,
    parse_size,
)
from vcompose.media.errors import CompositionError


def test_defaults() -> None:
    assert Output() == Output(size=None, rate=None, fit=Fit.CONTAIN, quality=Quality.MEDIUM, mode=Mode.AUTO)


@pytest.mark.parametrize(("count", "told"), [(0, "none was"), (1, "one was")])
def test_too_few_clips(count: int, told: str) -> None:
    with pytest.raises(CompositionError, match=told) as caught:
        Composition(clips=(clip(),) * count)
    assert caught.value.code == "too_few_clips"


def test_two_clips_are_enough() -> None:
    assert len(Composition(clips=(clip(), clip())).clips) == 2


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1920x1080", Size(1920, 1080)),
        (" 640X360 ", Size(640, 360)),
        ("640\u00d7360", Size(640, 360)),
        ("16x8192", Size(16, 8192)),
    ],
)
def test_size(text: str, size: Size) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "x", "1920", "1920x", "1920x1080x2", "-2x16", "14x16", "16x8194", "99999x16", "1000000x16", "1e3x16",
     "16 x 16", "0x0", "16.0x16", "640x360\nx"],
)  # fmt: skip
def test_no_size(text: str) -> None:
    with pytest.raises(CompositionError) as caught:
        parse_size(text)
    assert caught.value.code == "bad_size"
    assert caught.value.detail


def test_odd_sizes_are_refused_with_the_next_even_one() -> None:
    with pytest.raises(CompositionError, match="1922x1080"):
        parse_size("1921x1080")
    with pytest.raises(CompositionError, match="8192x8192"):
        parse_size("8191x8191")


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_any_size_is_one_that_can_be_encoded_or_refused(width: int, height: int) -> None:
    text = f"{width}x{height}"
    if width % 2 or height % 2 or not SMALLEST <= min(width, height) <= max(width, height) <= LARGEST:
        with pytest.raises(CompositionError) as caught:
            parse_size(text)
        assert caught.value.code == "bad_size"
    else:
        assert parse_size(text) == (width, height)
        assert str(parse_size(text)) == text


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("25", Fraction(25)),
        (" 25.0 ", Fraction(25)),
        ("12.5", Fraction(25, 2)),
        ("29.97", Fraction(30000, 1001)),
        ("29.970", Fraction(30000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("119.88", Fraction(120000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        ("60000/1001", Fraction(60000, 1001)),
        ("30/1", Fraction(30)),
        ("30", Fraction(30)),
        ("24", Fraction(24)),
        ("1", Fraction(1)),
        ("240", Fraction(240)),
        ("29.5", Fraction(59, 2)),
    ],
)
def test_rate(text: str, rate: Fraction) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    ["", "fast", "0", "-25", "0.5", "241", "1000/1", "1/0", "nan", "inf", "-inf", "25fps", "25,0", "1/2/3", "1e3"],
)
def test_no_rate(text: str) -> None:
    with pytest.raises(CompositionError) as caught:
        parse_rate(text)
    assert caught.value.code == "bad_fps"
    assert caught.value.detail


@pytest.mark.parametrize("text", ["1e1500000", "1e-1000000"])
def test_a_rate_with_a_huge_exponent_is_refused_at_once(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(CompositionError):
        parse_rate(text)
    assert time.process_time() - begun < 0.1


@settings(deadline=None)
@given(st.text(max_size=12))
def test_any_text_is_a_rate_or_refused(text: str) -> None:
    if "e" in text.lower():  # see above
        return
    with contextlib.suppress(CompositionError):
        assert 1 <= parse_rate(text) <= FASTEST


@settings(deadline=None)
@given(st.fractions(1, 240, max_denominator=1001))
def test_a_fraction_is_taken_as_it_is_or_for_the_rate_that_it_means(rate: Fraction) -> None:
    taken = parse_rate(str(rate))
    assert taken == rate or (taken.denominator == 1001 and abs(taken - rate) < Fraction(1, 200))
