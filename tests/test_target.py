"""What the film becomes: the majority's, unless the person chose."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from builders import SDR, clip, clips, heard
from hypothesis import given, settings
from hypothesis import strategies as st

from vcompose.media.clip import Clip, Color, Size
from vcompose.media.composition import LARGEST, SMALLEST, Fit, Output, Quality
from vcompose.media.step import Target
from vcompose.media.target import FASTEST_CHOSEN, choose_target, majority, signature, sound_rate

NTSC = Fraction(30000, 1001)


def chosen(*of: Clip) -> Target:
    return choose_target(of, Output())


def test_majority_by_number_then_seconds_then_order() -> None:
    a, long_b, c = clip("a", config="1"), clip("b", config="2", frames=750), clip("c", config="3")

    def config(one: Clip) -> str:
        return one.picture.config

    assert majority([a, long_b, a], config) == ("1", 2)
    assert majority([a, long_b, c], config) == ("2", 1)
    assert majority([c, a], config) == ("3", 1)
    assert majority([a], config) == ("1", 1)


def test_signature_is_what_a_person_can_see() -> None:
    assert signature(clip("a.mp4")) == signature(clip("b.mov", config="other", frames=9, demuxer="matroska"))
    hdr = Color(range="tv", matrix="bt2020nc", primaries="bt2020", transfer="smpte2084")
    assert signature(clip()) != signature(clip(color=hdr))
    turned = clip(stored=Size(240, 320), rotation=90)
    assert signature(clip()) == signature(turned)


def test_the_majority_wins() -> None:
    odd = clip("odd", stored=Size(1920, 1080), rate=Fraction(60), frames=6000)
    film = chosen(odd, clip("a"), clip("b"))
    assert (film.size, film.rate) == (Size(320, 240), Fraction(25))
    assert (film.fit, film.quality) == (Fit.CONTAIN, Quality.MEDIUM)


def test_a_tie_goes_to_the_longer_then_the_earlier() -> None:
    small, large = clip("s", frames=50), clip("l", stored=Size(640, 480), frames=75)
    assert chosen(small, large).size == chosen(large, small).size == Size(640, 480)
    same = clip("l", stored=Size(640, 480), frames=50)
    assert chosen(small, same).size == Size(320, 240)
    assert chosen(same, small).size == Size(640, 480)


def test_no_two_alike_first_agree_on_which_way_up() -> None:
    tall = [clip("t", stored=Size(1080, 1920), frames=1500, config="1")]
    wide = [clip("w", stored=Size(640, 360)), clip("v", stored=Size(854, 480), frames=80)]
    assert chosen(*tall, *wide).size == Size(854, 480)


def test_a_mixture_is_as_fast_as_its_fastest_within_reason() -> None:
    def mixed(*rates: Fraction) -> Fraction:
        return chosen(*(clip(str(i), rate=rate, config=str(i)) for i, rate in enumerate(rates))).rate

    assert mixed(Fraction(24), NTSC, Fraction(25)) == NTSC
    assert mixed(Fraction(25), Fraction(240)) == FASTEST_CHOSEN
    assert mixed(Fraction(1, 10), Fraction(1, 2)) == 20
    assert mixed(Fraction(17), Fraction(13)) == 34
    assert mixed(Fraction(8797, 1000)) == Fraction(8797, 1000) * 3
    assert mixed(Fraction(10), Fraction(2995, 100)) == NTSC
    assert mixed(Fraction(10), Fraction(3001, 100)) == 30


def test_the_person_decides() -> None:
    output = Output(size=Size(640, 360), rate=Fraction(240), fit=Fit.BLUR, quality=Quality.HIGH)
    film = choose_target([clip(), clip()], output)
    assert film == Target(size=Size(640, 360), rate=Fraction(240), fit=Fit.BLUR, quality=Quality.HIGH)


@pytest.mark.parametrize(
    ("shown", "canvas"),
    [
        ({"stored": Size(161, 121)}, Size(162, 122)),
        ({"stored": Size(2, 2)}, Size(16, 16)),
        ({"stored": Size(720, 576), "aspect": Fraction(64, 45)}, Size(1024, 576)),
        ({"stored": Size(1920, 1080), "rotation": 90}, Size(1080, 1920)),
        ({"stored": Size(1920, 1080), "rotation": 180}, Size(1920, 1080)),
        ({"stored": Size(1, 400), "aspect": Fraction(1, 8)}, Size(16, 400)),
    ],
)
def test_canvas(shown: dict[str, Any], canvas: Size) -> None:
    assert chosen(clip("a", **shown), clip("b", **shown)).size == canvas


@pytest.mark.parametrize("shown", [{"stored": Size(4096, 2160), "aspect": Fraction(8)}, {"stored": Size(20_000, 400)}])
def test_canvas_is_one_that_can_be_encoded(shown: dict[str, Any]) -> None:
    size = chosen(clip("a", **shown), clip("b", **shown)).size
    assert max(size) <= LARGEST


def test_sound_rate() -> None:
    def at(rate: int) -> Clip:
        return clip(str(rate), sound=heard(Fraction(0), Fraction(3), rate=rate))

    silent = clip("s", sound=False)
    assert sound_rate([at(44_100), at(44_100), silent]) == 44_100
    assert sound_rate([at(48_000)]) == 48_000
    assert sound_rate([at(44_100), at(48_000)]) == 48_000
    assert sound_rate([at(22_050), at(22_050)]) == 48_000
    assert sound_rate([at(96_000)]) == 48_000
    assert sound_rate([silent]) == 48_000


@settings(max_examples=40, deadline=None)
@given(st.lists(clips(), min_size=1, max_size=8))
def test_any_clips_have_a_target(some: list[Clip]) -> None:
    film = choose_target(some, Output())
    assert all(side % 2 == 0 and SMALLEST <= side <= LARGEST for side in film.size)
    assert 1 <= film.rate <= FASTEST_CHOSEN
    # a picture lasts a whole number of ticks
    assert (film.time_scale / film.rate).denominator == 1
    assert film.time_scale >= 10_000
    assert choose_target(some, Output()) == film


def test_hdr_kinds() -> None:
    assert SDR.hdr is None
    assert Color(range=None, matrix=None, primaries=None, transfer="smpte2084").hdr == "pq"
    assert Color(range=None, matrix=None, primaries=None, transfer="arib-std-b67").hdr == "hlg"
    assert Color(range=None, matrix=None, primaries=None, transfer=None).hdr is None
