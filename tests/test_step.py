"""Steps as plain data: ids and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from builders import NO_COLOR, encode_step, target
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vcompose.media.clip import Fields, Size
from vcompose.media.composition import Fit, Quality
from vcompose.media.packets import COMMON_RATES
from vcompose.media.step import SCHEMA, EncodeStep, JoinStep, Piece, SoundPiece, SoundStep, Source, Step, identified

TOOL = "ffmpeg 9.0.2"
SOURCE = Source(link="clip-1", identity="id-1", demuxer="mov", formats="mov,mp4", index=0)
ENCODE = encode_step(target=target())
SOUND = SoundStep(
    number=2,
    pieces=(
        SoundPiece(clip=0, source=SOURCE, channels=2, begin=Fraction(-1, 3), samples=48_000),
        SoundPiece(clip=1, source=None, channels=0, begin=Fraction(0), samples=1601),
    ),
    rate=48_000,
)
JOIN = JoinStep(
    number=3,
    pictures=(Piece(clip=0, source=SOURCE, length=Fraction(1001, 30)),),
    sound="sound-1.m4a",
    length=Fraction(1001, 30),
    reserve=20_000,
)
STEPS: tuple[Step, ...] = (ENCODE, SOUND, JOIN)


def named(step: Step, *, tool: str = TOOL) -> Step:
    match step:
        case EncodeStep():
            return identified(step, tool=tool)
        case SoundStep():
            return identified(step, tool=tool)
        case JoinStep():
            return identified(step, tool=tool)


def test_samples_of_a_film() -> None:
    assert SOUND.samples == 49_601


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
def test_json_and_back(step: Step) -> None:
    back = SCHEMA.validate_json(SCHEMA.dump_json(step))
    assert back == step
    assert type(back) is type(step)
    assert SCHEMA.validate_python(SCHEMA.dump_python(step)) == step
    assert json.loads(SCHEMA.dump_json(step))["kind"] == step.kind


def test_a_silent_film_has_no_sound() -> None:
    silent = replace(JOIN, sound=None)
    assert SCHEMA.validate_json(SCHEMA.dump_json(silent)) == silent


@pytest.mark.parametrize("text", ["{}", "[]", '{"kind":"delete"}', '{"kind":"encode"}', "null"])
def test_json_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        SCHEMA.validate_json(text)


@settings(deadline=None)
@given(begin=st.fractions(), frames=st.integers(1, 10**9), rate=st.fractions(Fraction(1, 100), 1000))
def test_fractions_stay_exact_in_json(begin: Fraction, frames: int, rate: Fraction) -> None:
    step = encode_step(target=target(rate=rate), begin=begin, frames=frames, rate=rate)
    assert SCHEMA.validate_json(SCHEMA.dump_json(step)) == step


def test_id_names_the_output() -> None:
    for step, kind, suffix in ((ENCODE, "encode", "mp4"), (SOUND, "sound", "m4a"), (JOIN, "join", "mp4")):
        ready = named(step)
        assert len(ready.id) == 32
        assert ready.output == f"{kind}-{ready.id}.{suffix}"
        assert replace(ready, id="", output="") == step
        # naming it again changes nothing
        assert named(ready) == ready


def test_a_step_that_crossed_to_another_machine_has_the_same_id() -> None:
    assert named(ENCODE).id == named(SCHEMA.validate_json(SCHEMA.dump_json(ENCODE))).id


def test_places_are_no_part_of_an_encode() -> None:
    assert named(replace(ENCODE, number=9, clip=7)).id == named(ENCODE).id


@pytest.mark.parametrize(
    "change",
    [
        {"source": replace(SOURCE, identity="id-2")},
        {"source": replace(SOURCE, index=1)},
        {"source": replace(SOURCE, demuxer="matroska")},
        {"shown": Size(240, 320)},
        {"fields": Fields.TOP_FIRST},
        {"color": NO_COLOR},
        {"rate": Fraction(30)},
        {"begin": Fraction(1, 1000)},
        {"frames": 76},
        {"target": target(Size(640, 480))},
        {"target": target(fit=Fit.COVER)},
        {"target": target(rate=Fraction(30))},
        {"target": replace(target(), quality=Quality.LOW)},
    ],
)
def test_what_changes_the_pictures_changes_the_id(change: dict[str, Any]) -> None:
    assert named(encode_step(**{"target": target(), **change})).id != named(ENCODE).id


def test_what_changes_the_sound_or_the_film_changes_the_id() -> None:
    sounds = {
        named(step).id
        for step in (
            SOUND,
            replace(SOUND, rate=44_100),
            replace(SOUND, pieces=SOUND.pieces[::-1]),
            replace(SOUND, pieces=(replace(SOUND.pieces[0], samples=47_999), SOUND.pieces[1])),
            replace(SOUND, pieces=(replace(SOUND.pieces[0], channels=1), SOUND.pieces[1])),
        )
    }
    joins = {
        named(step).id
        for step in (
            JOIN,
            replace(JOIN, sound=None),
            replace(JOIN, pictures=JOIN.pictures * 2),
            replace(JOIN, reserve=20_001),
            replace(JOIN, length=Fraction(33)),
        )
    }
    assert len(sounds) == len(joins) == 5


def test_the_tool_is_part_of_the_id() -> None:
    ids = {named(step, tool=tool).id for step in (ENCODE, ENCODE) for tool in (TOOL, "ffmpeg 9.0.3")}
    assert len(ids) == 2


@settings(deadline=None)
@given(st.sampled_from(COMMON_RATES) | st.fractions(1, 240, max_denominator=1001))
def test_a_picture_lasts_whole_ticks(rate: Fraction) -> None:
    film = target(rate=rate)
    assert (film.time_scale / rate).denominator == 1
    assert 10_000 <= film.time_scale < 2**31


def test_steps_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ENCODE.frames = 3  # type: ignore[misc]
    assert isinstance(ENCODE, EncodeStep)
    assert hash(ENCODE) == hash(replace(ENCODE))
