"""The composition document: strict, stored as one text, and read again as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import WIDE, clip
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vcompose.jobs import document
from vcompose.jobs.document import CompositionDocument, WishRefused
from vcompose.media.composition import Composition, Fit, Mode, Output, Quality
from vcompose.media.errors import CompositionError
from vcompose.media.plan import plan

TWO: list[dict[str, Any]] = [{"clip": "c_a"}, {"clip": "c_b"}]


def read(**fields: Any) -> CompositionDocument:
    """A document of two clips, as it comes over the wire."""
    return CompositionDocument.model_validate_json(json.dumps({"clips": TWO, **fields}))


def test_equal_documents_are_equal_texts() -> None:
    one = document.written(read())
    for spelled in (
        {"transition": {"type": "cut", "duration": 0}},
        {"transition": {"duration": 0.0}, "output": {}},
        {"output": {"filename": "film.mp4", "size": None, "fps": None, "fit": "contain", "codec": "auto"}},
        {"clips": [{"clip": "c_a", "start": None, "end": None, "transition": None}, {"clip": "c_b"}]},
    ):
        assert document.written(read(**spelled)) == one, spelled
    assert document.written(read(output={"fps": 30})) == document.written(read(output={"fps": 30.0}))
    for other in (
        {"clips": TWO[::-1]},
        {"clips": TWO * 2},
        {"output": {"filename": "other.mp4"}},
        {"output": {"mode": "encode"}},
        {"clips": [{"clip": "c_a", "start": 1}, {"clip": "c_b"}]},
    ):
        assert document.written(read(**other)) != one, other


TIMES = st.one_of(st.none(), st.integers(0, 86_400), st.floats(0, 86_400, allow_nan=False))
TRANSITION = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(document.TRANSITIONS), "duration": st.floats(0, 86_400)}
)
PARTS = st.fixed_dictionaries(
    {"clip": st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)},
    optional={"start": TIMES, "end": TIMES, "transition": st.one_of(st.none(), TRANSITION)},
)
WANTED = st.fixed_dictionaries(
    {},
    optional={
        "filename": st.text(min_size=1, max_size=200),
        "size": st.one_of(st.none(), st.text(max_size=20)),
        "fps": st.one_of(
            st.none(), st.text(max_size=20), st.integers(-5, 10**20), st.floats(allow_nan=False, allow_infinity=False)
        ),
        "fit": st.sampled_from([fit.value for fit in Fit]),
        "quality": st.sampled_from([quality.value for quality in Quality]),
        "codec": st.sampled_from(["auto", "h264", "hevc"]),
        "mode": st.sampled_from([mode.value for mode in Mode]),
    },
)  # fmt: skip


@given(
    st.fixed_dictionaries({"clips": st.lists(PARTS, max_size=5)}, optional={"transition": TRANSITION, "output": WANTED})
)
def test_what_is_stored_is_what_was_read(given: dict[str, Any]) -> None:
    wanted = CompositionDocument.model_validate_json(json.dumps(given))
    text = document.written(wanted)
    assert document.read(text) == wanted
    assert document.written(document.read(text)) == text
    assert wanted.needs == tuple(dict.fromkeys(part["clip"] for part in given["clips"]))
    code = ""
    try:
        document.check(wanted)
    except WishRefused as refused:
        code = refused.code
    assert code in {"", "too_few_clips", "bad_size", "bad_fps", "bad_filename", "bad_value", "not_supported"}


@pytest.mark.parametrize(
    "fields",
    [
        {"x": 1},
        {"clips": [{"clip": "c_a", "x": 1}] * 2},
        {"clips": [{"clip": ""}] * 2},
        {"clips": [{"clip": "a b"}] * 2},
        {"clips": [{"clip": "c_a\n"}] * 2},
        {"clips": [{"clip": 5}] * 2},
        {"clips": [{}] * 2},
        {"clips": TWO * 501},
        {"clips": [{"clip": "c_a", "start": True}] * 2},
        {"clips": [{"clip": "c_a", "start": "1"}] * 2},
        {"clips": [{"clip": "c_a", "start": -1}] * 2},
        {"clips": [{"clip": "c_a", "start": 86_401}] * 2},
        {"clips": [{"clip": "c_a", "start": 10**400}] * 2},
        {"output": {"fps": True}},
        {"output": {"fps": [30]}},
        {"output": {"filename": "x" * 201}},
        {"output": {"filename": ""}},
        {"output": {"fit": "CONTAIN"}},
        {"output": {"mode": None}},
        {"transition": {"type": "custom"}},
        {"transition": {"type": "fade", "duration": -0.1}},
        {"transition": {"type": "fade", "expr": "A"}},
        {"transition": "fade"},
    ],
)
def test_it_is_strict(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(**fields)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_are_finite(number: str) -> None:
    with pytest.raises(ValidationError):
        CompositionDocument.model_validate_json(f'{{"clips": [{{"clip": "a", "start": {number}}}]}}')


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"clips": []}, "too_few_clips"),
        ({"clips": TWO[:1]}, "too_few_clips"),
        ({"output": {"size": "0x0"}}, "bad_size"),
        ({"output": {"size": "wide"}}, "bad_size"),
        ({"output": {"fps": 0}}, "bad_fps"),
        ({"output": {"fps": -30}}, "bad_fps"),
        ({"output": {"fps": 1e300}}, "bad_fps"),
        ({"output": {"fps": 10**300}}, "bad_fps"),
        ({"output": {"fps": 10**4000}}, "bad_fps"),
        ({"output": {"fps": "fast"}}, "bad_fps"),
        ({"output": {"filename": "film"}}, "bad_filename"),
        ({"output": {"filename": "film.mkv"}}, "bad_filename"),
        ({"output": {"filename": "../film.mp4"}}, "bad_filename"),
        ({"output": {"filename": "a\\film.mp4"}}, "bad_filename"),
        ({"output": {"filename": "a\nfilm.mp4"}}, "bad_filename"),
        ({"output": {"filename": ".."}}, "bad_filename"),
        ({"clips": [{"clip": "c_a", "start": 2, "end": 2}, *TWO]}, "bad_value"),
        ({"clips": [{"clip": "c_a", "end": 0}, *TWO]}, "bad_value"),
        ({"clips": [{"clip": "c_a", "start": 1}, *TWO]}, "not_supported"),
        ({"clips": [{"clip": "c_a", "end": 1.5}, *TWO]}, "not_supported"),
        ({"clips": [{"clip": "c_a", "transition": {"type": "fade", "duration": 1}}, *TWO]}, "not_supported"),
        ({"transition": {"type": "fade", "duration": 1}}, "not_supported"),
        ({"output": {"codec": "hevc"}}, "not_supported"),
    ],
)
def test_what_cannot_be_asked_for(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(WishRefused) as refused:
        document.check(read(**fields))
    assert refused.value.code == code


def test_the_wanted_film() -> None:
    wanted = read(output={"size": "640x360", "fps": "30000/1001", "fit": "blur", "quality": "high", "mode": "encode"})
    output = document.check(wanted)
    assert (output.size, str(output.rate), output.fit, output.quality, output.mode) == (
        WIDE, "30000/1001", Fit.BLUR, Quality.HIGH, Mode.ENCODE,
    )  # fmt: skip
    for fps, rate in (
        (25, "25"),
        (25.0, "25"),
        ("25", "25"),
        (29.97, "30000/1001"),
        (23.976, "24000/1001"),
        (12.5, "25/2"),
    ):
        assert str(document.check(read(output={"fps": fps})).rate) == rate, fps
    assert document.check(read()) == Output()
    assert document.check(read(clips=[{"clip": "c_a", "start": 0}, {"clip": "c_b"}])) == Output()


def test_treatments_under_the_clips_ids() -> None:
    wanted = read(clips=[{"clip": "c_a"}, {"clip": "c_b"}, {"clip": "c_a"}])
    same, odd = clip("a.mp4"), clip("b.mp4", frames=50, stored=WIDE)
    made = plan(Composition(clips=(same, odd, same), output=Output()), tool="t")
    told = json.loads(document.treatments(made, wanted))
    assert [one["clip"] for one in told] == ["c_a", "c_b", "c_a"]
    assert {one["treatment"] for one in told} <= {"copy", "partial", "encode"}
    assert all(set(reason) == {"code", "parameters"} for one in told for reason in one["reasons"])
    whole = document.planned(made, wanted, parallel=2)
    assert [one["clip"] for one in whole["clips"]] == ["c_a", "c_b", "c_a"]
    assert [one["treatment"] for one in whole["clips"]] == [one["treatment"] for one in told]
    assert whole["bytes"] > 0
    assert whole["seconds"] > 0
    for text in ("a.mp4", "/home/somebody"):
        assert text not in json.dumps(told)
        assert text not in json.dumps(whole)


def test_a_refusal_names_clips_by_their_ids() -> None:
    wanted = read(clips=[{"clip": "c_a"}, {"clip": "c_b"}, {"clip": "c_b"}])
    refused = document.refused(CompositionError("no", code="cannot_copy", places=(1, 2)), wanted)
    assert (refused.code, refused.clip, refused.clips) == ("cannot_copy", "c_b", ("c_b",))
    refused = document.refused(CompositionError("no", code="bad_size"), wanted)
    assert (refused.clip, refused.clips) == (None, ())


def test_a_clip_is_stored_and_read() -> None:
    one = clip("a.mp4")
    assert document.read_clip(document.clip_text(one)) == one
    for broken in ("", "{}", "null", '{"name": 1}', document.clip_text(one).replace('"picture"', '"image"')):
        with pytest.raises(ValueError, match=r".*"):
            document.read_clip(broken)
    told = document.found(one)
    assert "clip" not in told
    assert "/home/somebody" not in json.dumps(told)
