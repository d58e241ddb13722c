"""Codes put into words."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest
from builders import clip, composition
from hypothesis import given, settings
from hypothesis import strategies as st

import vcompose
from vcompose import words
from vcompose.media.clip import Size
from vcompose.media.composition import Mode
from vcompose.media.estimate import Stage
from vcompose.media.plan import Plan, Reason, Treated, Treatment, plan

MEDIA = Path(vcompose.__file__).parent / "media"
SAID = {"is": "this", "film": "that", "seconds": "0.50", "why": "so"}


def planned(*chosen: object, mode: Mode = Mode.AUTO) -> Plan:
    clips = [clip(name) if isinstance(name, str) else name for name in chosen]
    return plan(composition(*clips, mode=mode), tool="ffmpeg 9.0.2")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", Stage)
def test_every_stage_has_words(value: Stage) -> None:
    assert words.stage(value)


def test_every_code_in_the_source_has_words() -> None:
    said = "".join(path.read_text() for path in MEDIA.glob("*.py"))
    library = (MEDIA.parent / "library.py").read_text()
    codes = set(re.findall(r'Reason\(code="(\w+)"', said + library))
    assert len(codes) > 8
    for code in codes:
        assert words.reason(Reason(code=code, parameters=SAID))


@pytest.mark.parametrize("code", sorted(words._REASONS))
def test_reasons_have_no_holes(code: str) -> None:
    text = words.reason(Reason(code=code, parameters=SAID))
    assert "{" not in text
    assert text
    assert not text.endswith(".")


def test_a_value_is_never_read_as_a_hole() -> None:
    reason = Reason(code="check_failed", parameters={"why": "{is} {0} {film.__class__}"})
    assert "{is} {0} {film.__class__}" in words.reason(reason)


def test_every_warning_has_words() -> None:
    assert "key picture" in words.warning("first_picture_incomplete")


def test_treatments() -> None:
    copied = planned("a.mp4", "b.mp4").clips[0]
    assert words.treatment(copied) == "picture copied untouched"
    encoded = planned("a.mp4", "b.mp4", mode=Mode.ENCODE).clips[0]
    assert words.treatment(encoded) == "encoded: you asked for encoding"
    twice = Treated(
        clip=clip(),
        treatment=Treatment.ENCODE,
        reasons=(Reason(code="open_gop"), Reason(code="variable_rate"), Reason(code="open_gop")),
        begin=Fraction(0),
        length=Fraction(1),
    )
    assert words.treatment(twice) == (
        "encoded: open GOP: players would stumble when seeking; its pictures come at an uneven rate"
    )


def test_film() -> None:
    assert words.film(planned("a.mp4", "b.mp4")) == ("6.00 s, 320x240, 25 fps, h264, AAC stereo 48000 Hz")
    ntsc = Fraction(30000, 1001)
    copied = planned(*(clip(name, codec="hevc", rate=ntsc, frames=300, sound=False) for name in ("a", "b")))
    assert words.film(copied) == "20.02 s, 320x240, 29.97 fps, hevc, no sound"
    mixed = planned(*(clip(name, codec="vp9", stored=Size(640, 480), rate=Fraction(50)) for name in ("a", "b")))
    assert words.film(mixed).startswith("3.00 s, 640x480, 50 fps, h264")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0.00 s"),
        (4.2, "4.20 s"),
        (59.99, "59.99 s"),
        (60, "1:00"),
        (187.4, "3:07"),
        (3599.4, "59:59"),
        (3599.6, "1:00:00"),
        (3725, "1:02:05"),
        (86_400, "24:00:00"),
    ],
)
def test_duration(seconds: float, told: str) -> None:
    assert words.duration(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1_550_000, "1.6 MB"),
        (999_900_000, "999.9 MB"),
        (2_000_000_000, "2.0 GB"),
        (5_000_000_000_000, "5.0 TB"),
        (5_000_000_000_000_000, "5000.0 TB"),
    ],
)
def test_size(count: int, told: str) -> None:
    assert words.size(count) == told


@settings(deadline=None)
@given(st.floats(0, 1e7, allow_nan=False))
def test_any_duration(seconds: float) -> None:
    told = words.duration(seconds)
    assert re.fullmatch(r"\d+\.\d\d s|(\d+:)?\d?\d:\d\d", told)
    assert not re.search(r":[6-9]\d", told)
