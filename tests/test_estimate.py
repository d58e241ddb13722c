"""A percentage that never falls, and is 100 only at the end."""

from __future__ import annotations

from fractions import Fraction

import pytest
from builders import OUTPUTS, clip, clips, composition, encode_step, target
from hypothesis import given, settings
from hypothesis import strategies as st

from vcompose.media.clip import Clip, Size
from vcompose.media.composition import Composition, Mode, Output
from vcompose.media.estimate import VERIFY, FilmProgress, Report, Stage, cost
from vcompose.media.plan import Plan, plan

TOOL = "ffmpeg 9.0.2"
TWO = plan(composition(clip("a.mp4"), clip("b.mp4", config="2")), tool=TOOL)
COPIED = plan(composition(clip("a.mp4"), clip("b.mp4")), tool=TOOL)


def test_costs_grow_with_the_work() -> None:
    small = encode_step(target=target(Size(320, 240)))
    assert 0 < cost(small) < cost(encode_step(target=target(Size(1920, 1080))))
    assert cost(small) < cost(encode_step(target=target(Size(320, 240)), frames=7500))
    assert cost(small) < cost(encode_step(target=target(Size(320, 240)), shown=Size(3840, 2160)))
    assert all(cost(step) > 0 for step in (*TWO.steps, *COPIED.steps))


def test_a_film_from_its_beginning_to_its_end() -> None:
    progress = FilmProgress(TWO, now=100.0)
    first, second, sound, join = TWO.steps
    assert progress.report(now=100.0) == Report(percent=0, stage=Stage.ENCODING, speed=None, seconds_left=None)
    progress.tell(first.id, 0.5)
    half = progress.report(now=101.0)
    assert half.speed == pytest.approx(1.5)
    assert half.seconds_left is not None
    assert 0 < half.percent < 60
    progress.finish(first.id, 2.0)
    progress.finish(second.id, 2.0)
    assert progress.report(now=104.0).stage is Stage.SOUND
    progress.finish(sound.id, 1.0)
    assert progress.report(now=105.0).stage is Stage.JOINING
    progress.finish(join.id, 1.0)
    assert progress.report(now=106.0).stage is Stage.VERIFYING
    progress.finish(VERIFY, 0.0)
    last = progress.report(now=107.0)
    assert (last.percent, last.stage) == (99, Stage.VERIFYING)
    assert progress.finished() == Report(percent=100, stage=Stage.DONE, speed=None, seconds_left=0.0)
    assert progress.report(now=108.0).percent == 100


def test_a_copied_film_begins_with_its_sound() -> None:
    progress = FilmProgress(COPIED, now=0.0)
    assert progress.report(now=0.0).stage is Stage.SOUND
    silent = plan(composition(clip("a.mp4", sound=False), clip("b.mp4", sound=False)), tool=TOOL)
    assert FilmProgress(silent, now=0.0).report(now=0.0).stage is Stage.JOINING


def test_done_is_clamped_and_never_falls() -> None:
    progress = FilmProgress(TWO, now=0.0)
    first = TWO.steps[0].id
    progress.tell(first, 0.9)
    high = progress.report(now=1.0)
    progress.tell(first, 0.1)
    progress.tell(first, -5.0)
    assert progress.report(now=1.0) == high
    progress.tell(first, 7.0)
    once = progress.report(now=1.0)
    progress.tell(first, 1.0)
    assert progress.report(now=1.0) == once
    assert once.speed == pytest.approx(3.0)


def test_a_step_that_was_there_already_teaches_nothing() -> None:
    a, b = FilmProgress(TWO, now=0.0), FilmProgress(TWO, now=0.0)
    first = TWO.steps[0].id
    a.finish(first, 0.0)
    b.tell(first, 1.0)
    assert a.report(now=1.0).percent == b.report(now=1.0).percent


def test_what_finished_steps_took_corrects_what_is_left() -> None:
    slow, usual = FilmProgress(TWO, now=0.0), FilmProgress(TWO, now=0.0)
    first, second, sound, _join = TWO.steps
    for progress, seconds in ((slow, 1000.0), (usual, cost(first))):
        progress.finish(sound.id, cost(sound))
        progress.finish(first.id, seconds)
    # the encode that is left now weighs far more than the sound that is done
    assert slow.report(now=10.0).percent < usual.report(now=10.0).percent
    assert second.kind == "encode"


def test_a_stopped_clock_tells_no_speed() -> None:
    progress = FilmProgress(TWO, now=5.0)
    progress.tell(TWO.steps[0].id, 0.9)
    report = progress.report(now=5.0)
    assert (report.speed, report.seconds_left) == (None, None)


@settings(max_examples=60, deadline=None)
@given(chosen=st.lists(clips(), min_size=2, max_size=5), output=OUTPUTS, data=st.data())
def test_truthful_whatever_happens(chosen: list[Clip], output: Output, data: st.DataObject) -> None:
    film: Plan = plan(Composition(clips=tuple(chosen), output=output), tool=TOOL)
    progress = FilmProgress(film, now=0.0)
    names = [*(step.id for step in film.steps), VERIFY]
    now, percent = 0.0, 0
    events = st.tuples(
        st.sampled_from(names),
        st.one_of(st.none(), st.floats(-1, 2, allow_nan=False)),
        st.floats(0, 1e5, allow_nan=False),
    )
    for name, done, seconds in data.draw(st.lists(events, max_size=40)):
        now += seconds
        if done is None:
            progress.finish(name, seconds)
        else:
            progress.tell(name, done)
        report = progress.report(now=now)
        assert percent <= report.percent <= 99
        assert report.seconds_left is None or report.seconds_left >= 0
        assert report.speed is None or report.speed > 0
        assert report.stage is not Stage.DONE
        percent = report.percent
    assert progress.finished().percent == 100
    assert progress.report(now=now).percent == 100


def test_speed_is_seconds_of_film() -> None:
    film = plan(composition(clip("a.mp4"), clip("b.mp4"), mode=Mode.ENCODE, rate=Fraction(30)), tool=TOOL)
    progress = FilmProgress(film, now=0.0)
    for step in film.steps[:2]:
        progress.tell(step.id, 1.0)
    assert progress.report(now=2.0).speed == pytest.approx(3.0)


def test_what_an_earlier_attempt_made_is_no_speed() -> None:
    progress = FilmProgress(TWO, now=100.0)
    first, second, *_ = TWO.steps
    progress.finish(first.id, 0.0)
    begun = progress.report(now=101.0)
    assert begun.percent > 0
    assert (begun.speed, begun.seconds_left) == (None, None)
    progress.tell(second.id, 0.5)
    later = progress.report(now=104.0)
    assert later.speed == pytest.approx(float(second.frames / second.target.rate) * 0.5 / 4.0)  # type: ignore[union-attr]
    assert later.seconds_left is not None
    assert later.seconds_left > 4.0, "half a step took four seconds"
