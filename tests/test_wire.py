"""The media room's values as JSON."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

from builders import FOLDER, OUTPUTS, clip, clips, composition, heard
from hypothesis import given, settings
from hypothesis import strategies as st

from vcompose.media import wire
from vcompose.media.clip import Clip, Color, Size
from vcompose.media.composition import Composition, Mode, Output
from vcompose.media.errors import ClipError, CompositionError
from vcompose.media.plan import Reason, plan
from vcompose.media.step import SCHEMA

TOOL = "ffmpeg 9.0.2"


def plain(value: Any) -> Any:
    """The value as a reader of its JSON has it; NaN and infinity are no JSON."""
    return json.loads(json.dumps(value, allow_nan=False))


def test_a_clip() -> None:
    value = clip("my film.mov", frames=90, rate=Fraction(30000, 1001), start=Fraction(7, 5))
    assert plain(wire.clip(value)) == {
        "clip": "my film.mov",
        "size": 1_000_000,
        "container": "MP4 or MOV",
        "duration": 3.003,
        "video": {
            "stream": 0,
            "codec": "h264",
            "profile": "High",
            "pixel_format": "yuv420p",
            "stored_size": "320x240",
            "shown_size": "320x240",
            "sample_aspect": "1/1",
            "rotation": 0,
            "fields": "progressive",
            "fps": "30000/1001",
            "variable_fps": False,
            "frames": 90,
            "start": 0.0,
            "duration": 3.003,
            "color": {"range": "tv", "matrix": "bt709", "primaries": "bt709", "transfer": "bt709", "hdr": None},
            "open_gop": False,
        },
        "audio": {
            "stream": 1,
            "codec": "aac",
            "profile": "LC",
            "sample_rate": 48_000,
            "channels": 2,
            "layout": "stereo",
            "start": 0.0,
            "duration": 3.003,
        },
        "warnings": [],
    }


def test_a_clip_that_is_turned_silent_and_warned_of() -> None:
    value = clip(
        stored=Size(720, 576), aspect=Fraction(64, 45), rotation=90, sound=False, warnings=("first_picture_incomplete",)
    )
    told = plain(wire.clip(value))
    assert told["audio"] is None
    assert told["warnings"] == ["first_picture_incomplete"]
    assert (told["video"]["stored_size"], told["video"]["shown_size"]) == ("720x576", "576x1024")
    assert told["video"]["sample_aspect"] == "64/45"


def test_starts_count_from_the_first_picture_or_sound() -> None:
    told = plain(wire.clip(clip(start=Fraction(2), sound=heard(Fraction(3, 2), Fraction(5)))))
    assert (told["video"]["start"], told["audio"]["start"], told["duration"]) == (0.5, 0.0, 3.5)


def test_high_dynamic_range() -> None:
    color = Color(range="tv", matrix="bt2020nc", primaries="bt2020", transfer="arib-std-b67")
    assert plain(wire.clip(clip(color=color)))["video"]["color"]["hdr"] == "hlg"


def test_a_copied_plan() -> None:
    film = plan(composition(clip("a.mp4"), clip("b.mp4", frames=50)), tool=TOOL)
    told = plain(wire.plan(film))
    assert {key: told[key] for key in ("duration", "size", "fps", "frames", "sound")} == {
        "duration": 5.0,
        "size": "320x240",
        "fps": "25/1",
        "frames": 125,
        "sound": {"sample_rate": 48_000, "channels": 2},
    }
    assert told["clips"] == [
        {"clip": "a.mp4", "treatment": "copy", "reasons": [], "warnings": [], "start": 0.0, "duration": 3.0},
        {"clip": "b.mp4", "treatment": "copy", "reasons": [], "warnings": [], "start": 3.0, "duration": 2.0},
    ]
    assert [step["kind"] for step in told["steps"]] == ["sound", "join"]


def test_an_encoded_plan() -> None:
    film = plan(
        composition(clip("a.mp4", sound=False), clip("b.mp4", sound=False), mode=Mode.ENCODE, size=Size(640, 360)),
        tool=TOOL,
    )
    told = plain(wire.plan(film))
    assert (told["size"], told["sound"]) == ("640x360", None)
    assert told["clips"][0]["reasons"] == [
        {"code": "encode_wanted"},
        {"code": "size_wanted", "parameters": {"is": "320x240", "film": "640x360"}},
    ]


def test_warnings_of_a_clip_stand_beside_its_treatment() -> None:
    odd = clip("b.mp4", warnings=("first_picture_incomplete",))
    told = plain(wire.plan(plan(composition(clip("a.mp4"), odd), tool=TOOL)))
    assert [one["warnings"] for one in told["clips"]] == [[], ["first_picture_incomplete"]]


def test_a_reason() -> None:
    assert wire.reason(Reason(code="open_gop")) == {"code": "open_gop"}
    late = Reason(code="late_picture", parameters={"seconds": "0.50"})
    assert wire.reason(late) == {"code": "late_picture", "parameters": {"seconds": "0.50"}}


def test_an_error() -> None:
    refused = ClipError("a.mp4 is empty", code="empty_file", clip="a.mp4")
    assert wire.error(refused) == {"code": "empty_file", "detail": "a.mp4 is empty", "clip": "a.mp4"}
    assert wire.error(CompositionError("no")) == {"code": "bad_composition", "detail": "no", "clip": None}


@settings(max_examples=50, deadline=None)
@given(st.lists(clips(), min_size=2, max_size=6), OUTPUTS)
def test_any_plan_is_json_without_places_of_the_person(chosen: list[Clip], output: Output) -> None:
    film = plan(Composition(clips=tuple(chosen), output=output), tool=TOOL)
    told = plain(wire.plan(film))
    assert FOLDER not in json.dumps(told)
    assert [one["clip"] for one in told["clips"]] == [one.name for one in chosen]
    assert [SCHEMA.validate_python(step) for step in told["steps"]] == list(film.steps)
    for one in chosen:
        assert FOLDER not in json.dumps(plain(wire.clip(one)))
