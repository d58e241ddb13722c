"""The plan: what is copied and what is encoded and why, and that nothing adds up over many clips."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from builders import FOLDER, OUTPUTS, clip, clips, composition, heard
from hypothesis import given, settings
from hypothesis import strategies as st

from vcompose import words
from vcompose.media.clip import Clip, Color, Fields, Size
from vcompose.media.composition import Composition, Fit, Mode, Output, Quality
from vcompose.media.errors import CompositionError
from vcompose.media.plan import Plan, Reason, Treatment, plan, source
from vcompose.media.step import SCHEMA, EncodeStep, JoinStep, SoundStep

TOOL = "ffmpeg 9.0.2"
NTSC = Fraction(30000, 1001)
ANY_FILM = st.builds(
    lambda chosen, output: Composition(clips=tuple(chosen), output=output),
    st.lists(clips(), min_size=2, max_size=12),
    OUTPUTS,
)


def planned(*chosen: Clip, **output: Any) -> Plan:
    return plan(composition(*chosen, **output), tool=TOOL)


def encodes(value: Plan) -> list[EncodeStep]:
    return [step for step in value.steps if isinstance(step, EncodeStep)]


def sound_of(value: Plan) -> SoundStep | None:
    return next((step for step in value.steps if isinstance(step, SoundStep)), None)


def join_of(value: Plan) -> JoinStep:
    last = value.steps[-1]
    assert isinstance(last, JoinStep)
    return last


def codes(value: Plan) -> list[list[str]]:
    return [[reason.code for reason in treated.reasons] for treated in value.clips]


# ---- copying -----------------------------------------------------------------------------------------------------


def test_clips_that_fit_are_copied() -> None:
    a, b = clip("a.mp4"), clip("b.mp4", frames=50)
    value = planned(a, b, a)
    assert value.copies
    assert codes(value) == [[], [], []]
    assert {treated.treatment for treated in value.clips} == {Treatment.COPY}
    assert [step.kind for step in value.steps] == ["sound", "join"]
    assert [step.number for step in value.steps] == [1, 2]
    assert (value.length, value.pictures) == (Fraction(8), 200)
    assert [treated.begin for treated in value.clips] == [0, 3, 5]
    assert [treated.length for treated in value.clips] == [3, 2, 3]
    join = join_of(value)
    assert [piece.source for piece in join.pictures] == [source(a, 0), source(b, 0), source(a, 0)]
    sound = sound_of(value)
    assert sound is not None
    assert join.sound == sound.output
    assert [piece.samples for piece in sound.pieces] == [144_000, 96_000, 144_000]


def test_silent_clips_make_a_silent_film() -> None:
    value = planned(clip("a.mp4", sound=False), clip("b.mp4", sound=False))
    assert [step.kind for step in value.steps] == ["join"]
    assert (value.sound_rate, value.sound_samples, join_of(value).sound) == (None, 0, None)


def test_a_silent_clip_among_others_is_copied_and_gets_silence() -> None:
    value = planned(clip("a.mp4"), clip("b.mp4", sound=False), clip("c.mp4"))
    sound = sound_of(value)
    assert value.copies
    assert sound is not None
    assert [piece.source is None for piece in sound.pieces] == [False, True, False]
    assert [piece.samples for piece in sound.pieces] == [144_000] * 3


def test_sound_that_differs_is_no_reason_to_encode_pictures() -> None:
    mono = heard(Fraction(0), Fraction(3), rate=44_100, channels=1)
    value = planned(clip("a.mp4"), clip("b.mp4", sound=mono))
    assert value.copies
    assert value.sound_rate == 48_000


def test_short_overhang_of_sound_is_cut_from_a_copied_clip() -> None:
    long = heard(Fraction(0), Fraction(3) + Fraction(99, 1000))
    value = planned(clip("a.mp4", sound=long), clip("b.mp4"))
    assert value.copies
    assert value.length == 6
    assert value.sound_samples == 6 * 48_000


@pytest.mark.parametrize(
    ("odd", "code"),
    [
        ({"codec": "hevc"}, "other_codec"),
        ({"stored": Size(640, 480)}, "other_size"),
        ({"rate": Fraction(30)}, "other_rate"),
        ({"pixel_format": "yuv422p"}, "other_format"),
        ({"fields": Fields.TOP_FIRST}, "other_scan"),
        ({"color": Color(range="pc", matrix="bt709", primaries="bt709", transfer="bt709")}, "other_color"),
        ({"config": "facade"}, "other_configuration"),
        ({"time_base": Fraction(1, 12_800)}, "other_layout"),
        ({"index": 1}, "other_layout"),
        ({"rotation": 180, "matrix": "-1 0 0 0 -1 0 0 0 1"}, "other_turn"),
        ({"stored": Size(160, 240), "aspect": Fraction(2)}, "other_stored"),
        ({"demuxer": "matroska"}, "container"),
        ({"codec": "vp9"}, "codec"),
        ({"variable": True}, "variable_rate"),
        ({"open_gop": True}, "open_gop"),
        ({"key_first": False}, "no_key_first"),
        ({"hidden": 2}, "hidden_pictures"),
        ({"begin": Fraction(1, 10)}, "late_picture"),
        ({"sound": heard(Fraction(0), Fraction(4))}, "longer_sound"),
    ],
)
def test_one_odd_clip(odd: dict[str, Any], code: str) -> None:
    value = planned(clip("a.mp4"), clip("odd.mp4", **odd), clip("c.mp4"))
    assert {treated.treatment for treated in value.clips} == {Treatment.ENCODE}
    assert code in codes(value)[1]
    assert codes(value)[0] == codes(value)[2] == ["others_need_encoding"]
    assert len(encodes(value)) == 3
    assert not value.copies
    for treated in value.clips:
        assert words.treatment(treated).startswith("encoded: ")
        for reason in treated.reasons:
            assert "{" not in words.reason(reason)


def test_a_difference_names_both_sides() -> None:
    odd = clip("odd.mp4", stored=Size(640, 480), rate=NTSC, frames=90)
    reasons = planned(clip("a.mp4"), clip("b.mp4"), odd).clips[2].reasons
    assert reasons == (
        Reason(code="other_size", parameters={"is": "640x480", "film": "320x240"}),
        Reason(code="other_rate", parameters={"is": "29.97", "film": "25"}),
    )


def test_parameters_are_words_not_code() -> None:
    full = Color(range="pc", matrix="bt709", primaries="bt709", transfer="bt709")
    odd = clip("odd.mp4", color=full, fields=Fields.TOP_FIRST, pixel_format="yuv422p", codec="hevc")
    reasons = planned(clip("a.mp4"), clip("b.mp4"), odd).clips[2].reasons
    assert len(reasons) == 4
    assert not [reason for reason in reasons if "Color(" in str(reason.parameters)]


def test_the_majority_is_never_the_odd_one_even_when_it_comes_first() -> None:
    value = planned(clip("odd.mp4", config="facade"), clip("b.mp4"), clip("c.mp4"))
    assert codes(value) == [["other_configuration"], ["others_need_encoding"], ["others_need_encoding"]]


@pytest.mark.parametrize("why", [{"container": "matroska"}, {"variable": True}])
def test_clips_alike_but_none_copyable(why: dict[str, Any]) -> None:
    odd = {"demuxer": "matroska"} if "container" in why else why
    value = planned(clip("a.mp4", **odd), clip("b.mp4", **odd))
    assert codes(value) == [["container"]] * 2 if "container" in why else [["variable_rate"]] * 2


def test_a_late_picture_says_by_how_much() -> None:
    late = clip("b.mp4", begin=Fraction(1, 2))
    (reason,) = planned(clip("a.mp4"), late).clips[1].reasons
    assert reason == Reason(code="late_picture", parameters={"seconds": "0.5"})
    assert words.reason(reason) == "its picture begins 0.5 s off its start"


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(60)])
def test_a_late_picture_never_comes_no_time_after_its_sound(rate: Fraction) -> None:
    begin = 1 / rate / 7
    (reason,) = planned(clip("a.mp4", rate=rate), clip("b.mp4", rate=rate, begin=begin)).clips[1].reasons
    assert "0.00 s" not in words.reason(reason)


def test_pictures_that_only_begin_later_on_their_own_clock_are_copied() -> None:
    value = planned(clip("a.mp4"), clip("b.mp4", start=Fraction(7, 5)))
    assert value.copies
    sound = sound_of(value)
    assert sound is not None
    assert [piece.begin for piece in sound.pieces] == [0, Fraction(7, 5)]


# ---- what the person asks for ------------------------------------------------------------------------------------


def test_mode_copy_names_the_clips_in_the_way() -> None:
    with pytest.raises(CompositionError) as caught:
        planned(
            clip("a.mp4"), clip("odd.mov", open_gop=True), clip("c.mp4"), clip("d.avi", codec="vp9"), mode=Mode.COPY
        )
    assert (caught.value.code, caught.value.clip) == ("cannot_copy", "odd.mov")
    assert "odd.mov, d.avi" in caught.value.detail
    assert "a.mp4" not in caught.value.detail


def test_mode_copy_copies_what_fits() -> None:
    assert planned(clip("a.mp4"), clip("b.mp4"), mode=Mode.COPY).copies


def test_mode_copy_with_a_wanted_size_is_refused() -> None:
    with pytest.raises(CompositionError, match=r"a\.mp4, b\.mp4"):
        planned(clip("a.mp4"), clip("b.mp4"), mode=Mode.COPY, size=Size(640, 360))


def test_mode_encode_never_copies() -> None:
    value = planned(clip("a.mp4"), clip("b.mp4"), mode=Mode.ENCODE)
    assert not value.copies
    assert codes(value) == [["encode_wanted"]] * 2
    assert [step.kind for step in value.steps] == ["encode", "encode", "sound", "join"]


def test_wanted_size_and_rate() -> None:
    value = planned(clip("a.mp4"), clip("b.mp4"), size=Size(640, 360), rate=NTSC)
    assert value.clips[0].reasons == (
        Reason(code="size_wanted", parameters={"is": "320x240", "film": "640x360"}),
        Reason(code="rate_wanted", parameters={"is": "25", "film": "29.97"}),
    )
    assert [words.reason(reason) for reason in value.clips[0].reasons] == [
        "it is 320x240, and you asked for 640x360",
        "it has 25 fps, and you asked for 29.97",
    ]
    assert (value.target.size, value.target.rate) == (Size(640, 360), NTSC)
    assert {step.target for step in encodes(value)} == {value.target}


def test_a_wanted_size_that_the_clips_have_is_no_reason() -> None:
    assert planned(clip("a.mp4"), clip("b.mp4"), size=Size(320, 240), rate=Fraction(25)).copies


def test_a_copied_film_that_failed_its_check_is_encoded() -> None:
    why = Reason(code="check_failed", parameters={"why": "two {pictures} at 1 s"})
    value = plan(composition(clip("a.mp4"), clip("b.mp4")), tool=TOOL, encode=why)
    assert not value.copies
    assert [treated.reasons for treated in value.clips] == [(why,), (why,)]
    assert words.reason(why) == "a copied film did not pass its check (two {pictures} at 1 s)"


# ---- encoding ----------------------------------------------------------------------------------------------------


def test_the_same_clip_twice_is_encoded_once() -> None:
    a, b = clip("a.mp4"), clip("b.mp4", stored=Size(640, 480))
    value = planned(a, b, a, b, b)
    assert len(encodes(value)) == 2
    assert [step.number for step in value.steps] == [1, 2, 3, 4]
    links = [piece.source.link for piece in join_of(value).pictures]
    assert links == [links[0], links[1], links[0], links[1], links[1]]
    assert set(links) == {step.output for step in encodes(value)}
    assert value.pictures == 375


def test_a_clip_shorter_than_a_picture_takes_a_whole_one() -> None:
    tiny = clip("tiny.mp4", frames=1, rate=Fraction(240), sound=False)
    value = planned(tiny, clip("b.mp4"), tiny, rate=Fraction(10), mode=Mode.ENCODE)
    assert [step.frames for step in encodes(value)] == [1, 30]
    assert value.pictures == 32


def test_an_encoded_clip_begins_with_what_comes_first() -> None:
    early = clip("a.mp4", sound=heard(Fraction(-1, 2), Fraction(3)))
    value = planned(early, clip("b.mp4"), mode=Mode.ENCODE)
    sound = sound_of(value)
    assert sound is not None
    assert encodes(value)[0].begin == sound.pieces[0].begin == Fraction(-1, 2)
    assert encodes(value)[0].frames == round(Fraction(7, 2) * 25)


@settings(max_examples=40, deadline=None)
@given(st.lists(clips(shortest=25), min_size=2, max_size=40), OUTPUTS)
def test_a_film_is_as_long_as_its_clips_whatever_their_number(chosen: list[Clip], output: Output) -> None:
    value = plan(Composition(clips=tuple(chosen), output=replace(output, mode=Mode.ENCODE)), tool=TOOL)
    picture = 1 / value.target.rate
    assert value.length == value.pictures * picture
    total = Fraction(0)
    for treated in value.clips:
        # nothing adds up: every clip begins within half a picture of its place
        assert abs(treated.begin - total) <= picture / 2
        total += treated.clip.length
    assert abs(value.length - total) <= picture / 2


@settings(max_examples=40, deadline=None)
@given(ANY_FILM)
def test_sound_lies_under_its_picture(film: Composition) -> None:
    value = plan(film, tool=TOOL)
    sound = sound_of(value)
    if sound is None:
        assert all(one.sound is None for one in film.clips)
        return
    assert value.sound_rate == sound.rate in {44_100, 48_000}
    assert sound.samples == value.sound_samples == round(value.length * sound.rate)
    assert len(sound.pieces) == len(film.clips)
    at = 0
    for place, (piece, treated) in enumerate(zip(sound.pieces, value.clips, strict=True)):
        assert piece.clip == place
        assert piece.begin == treated.clip.begin
        assert abs(at - treated.begin * sound.rate) <= 1
        at += piece.samples
        assert abs(at - (treated.begin + treated.length) * sound.rate) <= 1
        assert (piece.source is None) is (treated.clip.sound is None)


@settings(max_examples=40, deadline=None)
@given(ANY_FILM)
def test_steps_fit_together(film: Composition) -> None:
    value = plan(film, tool=TOOL)
    steps = value.steps
    ids = [step.id for step in steps]
    assert len(set(ids)) == len(ids)
    assert len({step.output for step in steps}) == len(steps)
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    join = join_of(value)
    assert join.length == value.length == sum(piece.length for piece in join.pictures)
    assert [piece.clip for piece in join.pictures] == list(range(len(film.clips)))
    made = {step.output: step for step in encodes(value)}
    if not value.copies:
        assert {piece.source.link for piece in join.pictures} == set(made)
        for piece in join.pictures:
            step = made[piece.source.link]
            assert piece.length == step.frames / value.target.rate
            assert step.frames >= 1
            assert film.clips[step.clip].identity == film.clips[piece.clip].identity
    # room for the index: eight bytes a picture are not even its sizes and times
    packets = value.sound_samples // 1024 + 2 * bool(value.sound_samples)
    assert join.reserve > value.pictures * 40 + packets * 20


@settings(max_examples=40, deadline=None)
@given(ANY_FILM)
def test_every_reason_has_words(film: Composition) -> None:
    value = plan(film, tool=TOOL)
    for treated in value.clips:
        assert (treated.treatment is Treatment.COPY) is (not treated.reasons)
        for reason in treated.reasons:
            assert words.reason(reason)
        assert words.treatment(treated)
    assert words.film(value)


@settings(max_examples=40, deadline=None)
@given(ANY_FILM)
def test_ids_are_stable_and_tied_to_the_tool(film: Composition) -> None:
    first, again, other = plan(film, tool=TOOL), plan(film, tool=TOOL), plan(film, tool="ffmpeg 9.0.3")
    assert first == again
    assert not {step.id for step in first.steps} & {step.id for step in other.steps}


@settings(max_examples=40, deadline=None)
@given(ANY_FILM)
def test_steps_survive_json_and_hold_nothing_of_the_person(film: Composition) -> None:
    for step in plan(film, tool=TOOL).steps:
        text = SCHEMA.dump_json(step)
        back = SCHEMA.validate_json(text)
        assert back == step
        assert type(back) is type(step)
        for one in film.clips:
            assert one.name.encode() not in text
            assert one.path.encode() not in text
        assert FOLDER.encode() not in text


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(5)), st.sampled_from((Fraction(25), NTSC, Fraction(60))))
def test_ids_of_encodes_do_not_depend_on_places(order: list[int], rate: Fraction) -> None:
    chosen = [clip(f"{i}.mp4", frames=30 * (i + 1), rate=rate, config=str(i)) for i in range(5)]
    there = {step.source.identity: step.id for step in encodes(planned(*chosen))}
    here = {step.source.identity: step.id for step in encodes(planned(*(chosen[i] for i in order)))}
    assert here == there


@settings(max_examples=40, deadline=None)
@given(ANY_FILM)
def test_a_clip_is_encoded_in_few_lengths(film: Composition) -> None:
    # one that is no whole number of pictures fills one more here than there
    lengths: dict[Clip, set[int]] = {}
    for step in encodes(plan(film, tool=TOOL)):
        lengths.setdefault(film.clips[step.clip], set()).add(step.frames)
    assert all(max(frames) - min(frames) <= 2 for frames in lengths.values())


@pytest.mark.parametrize(
    "change",
    [
        {"quality": Quality.HIGH},
        {"fit": Fit.COVER},
        {"size": Size(640, 480)},
        {"rate": Fraction(30)},
    ],
)
def test_another_target_is_another_step(change: dict[str, Any]) -> None:
    a, b = clip("a.mp4"), clip("b.mp4")
    plain = {step.id for step in encodes(planned(a, b, mode=Mode.ENCODE))}
    assert not plain & {step.id for step in encodes(planned(a, b, mode=Mode.ENCODE, **change))}


def test_a_changed_file_is_another_step_and_its_neighbour_is_not() -> None:
    a, b = clip("a.mp4"), clip("b.mp4")
    before = encodes(planned(a, b, mode=Mode.ENCODE))
    after = encodes(planned(replace(a, identity="changed"), b, mode=Mode.ENCODE))
    assert before[0].id != after[0].id
    assert before[1].id == after[1].id


def test_a_renamed_file_is_the_same_step() -> None:
    a, b = clip("a.mp4"), clip("b.mp4")
    renamed = replace(a, name="z.mp4", path="/elsewhere/z.mp4")
    before, after = planned(a, b, mode=Mode.ENCODE), planned(renamed, b, mode=Mode.ENCODE)
    assert [step.id for step in before.steps] == [step.id for step in after.steps]


def test_a_thousand_clips_do_not_drift() -> None:
    chosen = [clip(f"{i % 7}.mp4", frames=50 + i % 7, rate=NTSC) for i in range(1000)]
    value = planned(*chosen, rate=Fraction(25))
    total = sum((one.length for one in chosen), Fraction(0))
    assert abs(value.length - total) <= Fraction(1, 50)
    assert math.isclose(value.sound_samples / 48_000, float(total), abs_tol=0.021)
