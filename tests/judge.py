"""Says whether a film is right, by decoding it and its sources: nothing the joiner wrote is believed.

    verdict = judge(eyes, film, [Expected(path=one, begin=0.0, length=3.0), ...])
    assert not verdict.findings, verdict

Film seconds count from the film's first decoded frame or sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from judge_decode import Eyes, Pictures, Sound, is_picture, pictures, probe, sound
from judge_picture import Fit, Seen, Shot, alike, area, look, poses, same_place
from judge_seams import Lags, seam_lags
from judge_sound import Heard, gaps, level_error, listen, loudness

__all__ = ["Expected", "Eyes", "Figures", "Finding", "Lags", "Limits", "Verdict", "judge", "seam_lags"]

Code = Literal[
    "streams",  # not one picture, at most one sound and nothing else, or the sound is missing
    "duration",  # the film is not as long as its parts
    "ends",  # picture and sound do not end together
    "order",  # another source fills this place, this one is elsewhere
    "missing",  # this source is nowhere in the film
    "orientation",  # turned or mirrored
    "stretch",  # another shape or another fit
    "place",  # earlier or later than expected
    "sync",  # sound against picture
    "cut",  # a stretch of the source is absent
    "frozen",  # the source moves, the film does not
    "colour",  # mean colour, contrast or saturation
    "muted",  # the source sounds, the film does not
    "noise",  # the film sounds, the source does not
    "sound",  # the film has some other sound
    "level",  # louder or quieter
]


SyncBy = Literal["samples", "timestamps", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Where a source should lie: from `begin` film seconds for `length` seconds, its own second `origin`
    at `begin` (by default its first decoded frame or sample, whichever is earlier)."""

    path: Path
    begin: float
    length: float
    origin: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds, dB, dBFS, levels of 255 and ratios beyond which a figure is a finding."""

    duration: float = 0.08
    ends: float = 0.08
    place: float = 0.15
    sync: float = 0.08
    seam: float = 0.06
    level: float = 1.0
    silence: float = -70.0
    colour: float = 8.0
    contrast: float = 0.1
    saturation: float = 0.2
    resemblance: float = 0.6
    margin: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One mistake; clip_index is None where it is the whole film's."""

    code: Code
    clip_index: int | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured of one source in the film.

    pose: how its picture is shown; undecidable: poses this picture is too plain to tell from upright, and
    "picture" or "sound" where its shift is ambiguous; resemblance: of the film to the source, at most 1;
    shifts and sync: seconds late (sync is sound less picture), None where not measurable; sync_by:
    "samples" when both shifts were measured, "timestamps" when a still picture or silence left only one.
    """

    pose: str | None = None
    undecidable: tuple[str, ...] = ()
    resemblance: float | None = None
    picture_shift: float | None = None
    sound_shift: float | None = None
    sync: float | None = None
    sync_by: SyncBy = "nothing"
    seen: Seen | None = None
    heard: Heard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """ends in film seconds, None without such a stream; clips: one per expected source, in order."""

    picture_end: float | None
    sound_end: float | None
    clips: tuple[Figures, ...]
    findings: tuple[Finding, ...]

    def codes(self, clip_index: int | None) -> set[Code]:
        """Codes found for one source, or for the film as a whole with None."""
        return {finding.code for finding in self.findings if finding.clip_index == clip_index}


def judge(
    eyes: Eyes,
    film: Path,
    expected: Sequence[Expected],
    *,
    fit: Fit = "contain",
    expected_sound: bool | None = None,
    limits: Limits | None = None,
) -> Verdict:
    """Hold a film against its sources. expected_sound None: the film sounds where any source does."""
    scene = _Scene(
        film=_from_zero(_side(eyes, film)),
        expected=[_with_origin(one, _side(eyes, one.path)) for one in expected],
        sides=[_side(eyes, one.path) for one in expected],
        fit=fit,
        limits=limits or Limits(),
    )
    sounding = any(side.sound for side in scene.sides) if expected_sound is None else expected_sound
    findings = [Finding(code=code, clip_index=None, detail=text) for code, text in _whole(scene)]
    findings += _streams(eyes, film, sounding)
    clips = []
    for index in range(len(expected)):
        figures, notes = _clip(scene, index)
        clips.append(figures)
        findings += [Finding(code=code, clip_index=index, detail=text) for code, text in notes]
    return Verdict(
        picture_end=scene.film.pictures.end if scene.film.pictures else None,
        sound_end=scene.film.sound.end if scene.film.sound else None,
        clips=tuple(clips),
        findings=tuple(findings),
    )


Notes = list[tuple[Code, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """Both decoded streams of a file."""

    pictures: Pictures | None
    sound: Sound | None

    @property
    def zero(self) -> float:
        """The second at which its first frame or sample begins, whichever is earlier."""
        starts = [float(self.pictures.times[0])] if self.pictures else []
        return min(starts + ([self.sound.start] if self.sound else []), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    film: _Side
    expected: Sequence[Expected]
    sides: Sequence[_Side]
    fit: Fit
    limits: Limits

    def shots(self, index: int) -> list[Shot]:
        """A source held against the film in every distinct pose, upright first; none without pictures."""
        one, film, source = self.expected[index], self.film.pictures, self.sides[index].pictures
        if film is None or source is None:
            return []
        upright, *wrong = poses(source, self.fit)
        told = [upright] + [pose for pose in wrong if not same_place(pose, upright, film.shown)]
        return [
            Shot(
                film=film,
                source=source,
                pose=pose,
                mask=area(upright, film.shown),
                begin=one.begin,
                length=one.length,
                origin=one.origin or 0.0,
            )
            for pose in told
        ]


def _side(eyes: Eyes, path: Path) -> _Side:
    return _Side(pictures=pictures(eyes, path), sound=sound(eyes, path))


def _with_origin(one: Expected, side: _Side) -> Expected:
    return one if one.origin is not None else replace(one, origin=side.zero)


def _from_zero(side: _Side) -> _Side:
    seen, heard, zero = side.pictures, side.sound, side.zero
    return _Side(
        pictures=seen and replace(seen, times=seen.times - zero, end=seen.end - zero),
        sound=heard and replace(heard, start=heard.start - zero),
    )


def _streams(eyes: Eyes, film: Path, sounding: bool) -> list[Finding]:
    kinds = sorted("picture" if is_picture(one) else str(one["codec_type"]) for one in probe(eyes, film))
    if kinds == (["audio", "picture"] if sounding else ["picture"]):
        return []
    detail = f"streams are {', '.join(kinds)}; sound is {'' if sounding else 'not '}expected"
    return [Finding(code="streams", clip_index=None, detail=detail)]


def _whole(scene: _Scene) -> Notes:
    total = sum(one.length for one in scene.expected)
    ends = [stream.end for stream in (scene.film.pictures, scene.film.sound) if stream]
    notes: Notes = []
    if any(abs(end - total) > scene.limits.duration for end in ends):
        notes.append(("duration", f"ends at {_list(ends)} s, its parts last {total:.3f} s"))
    if ends and max(ends) - min(ends) > scene.limits.ends:
        notes.append(("ends", f"picture and sound end at {_list(ends)} s"))
    return notes


def _clip(scene: _Scene, index: int) -> tuple[Figures, Notes]:
    """Everything about one source; an absent one is only told absent."""
    limits = scene.limits
    figures, notes = _pose(scene, index)
    absent = _absent(scene, index, figures)
    if absent:
        return figures, absent
    shown = [shot for shot in scene.shots(index) if shot.pose.name == figures.pose]
    seen = look(shown[0]) if shown else None
    heard, more = _hearing(scene, index)
    figures = _timed(replace(figures, seen=seen, heard=heard))
    if seen:
        hdr = any(side.pictures and side.pictures.hdr for side in (scene.film, scene.sides[index]))
        notes += _seeing(seen, limits, coloured=not hdr)
    for name, shift in (("picture", figures.picture_shift), ("sound", figures.sound_shift)):
        if shift is not None and abs(shift) > limits.place:
            more.append(("place", f"{name} is {shift:+.3f} s late"))
    if figures.sync is not None and figures.sound_shift is not None and abs(figures.sync) > limits.sync:
        more.append(("sync", f"sound {figures.sync:+.3f} s late against picture, by {figures.sync_by}"))
    return figures, notes + more


def _pose(scene: _Scene, index: int) -> tuple[Figures, Notes]:
    """How the source is shown in its place: the pose the film resembles most."""
    shots = scene.shots(index)
    if not shots:
        return Figures(undecidable=("picture",)), []
    upright, *wrong = shots
    plain = tuple(shot.pose.name for shot in wrong if alike(upright, shot) > 0.97)
    scores = {upright: upright.resemblance(steady=True)}
    if scores[upright] + scene.limits.margin < 1:  # else no other can win clearly
        others = [shot for shot in wrong if shot.pose.name not in plain]
        scores |= {shot: shot.resemblance(steady=True) for shot in others}
    best = max(scores, key=lambda shot: scores[shot])
    if scores[best] <= scores[upright] + scene.limits.margin:
        best = upright
    figures = Figures(pose=best.pose.name, undecidable=plain, resemblance=best.resemblance(steady=False))
    if best is upright:
        return figures, []
    code: Code = "orientation" if best.pose.turns or best.pose.mirrored else "stretch"
    text = f"{best.pose.name}: {scores[best]:.3f} alike, upright only {scores[upright]:.3f}"
    return figures, [(code, text)]


def _absent(scene: _Scene, index: int, figures: Figures) -> Notes:
    """Whether something other than the source fills its place."""
    own, here = figures.resemblance, scene.expected[index]
    if own is None or own > 0.95 or scene.film.pictures is None:
        return []
    start, stop = scene.shots(index)[0].shown
    instants = start + (np.arange(10) + 0.5) / 10 * (stop - start)
    others = {one.path: scene.shots(at)[:1] for at, one in enumerate(scene.expected) if one.path != here.path}
    likes = {path: float(np.median(shots[0].anywhere(instants))) for path, shots in others.items() if shots}
    rival = max(likes, key=lambda path: likes[path], default=None)
    better = rival is not None and likes[rival] > max(own + 0.05, scene.limits.resemblance)
    if own >= scene.limits.resemblance and not better:
        return []
    film = np.arange(0.1, scene.film.pictures.end, 0.25)
    film = film[(film < here.begin) | (film > here.begin + here.length)]
    elsewhere = np.count_nonzero(scene.shots(index)[0].anywhere(film) > 0.9) >= 2 if len(film) else False
    instead = f"; {rival.name} {likes[rival]:.2f} alike" if rival and better else ""
    return [("order" if elsewhere else "missing", f"only {own:.2f} alike in its place{instead}")]


def _seeing(seen: Seen, limits: Limits, *, coloured: bool) -> Notes:
    notes: Notes = []
    if seen.missing:
        notes.append(("cut", f"picture absent {_stretches(seen.missing)}"))
    if seen.frozen:
        notes.append(("frozen", f"picture stands still {_stretches(seen.frozen)}"))
    dull = abs(seen.contrast - 1) > limits.contrast or abs(seen.saturation - 1) > limits.saturation
    if coloured and (dull or max(map(abs, seen.colour)) > limits.colour):
        scales = f"contrast {seen.contrast:.2f}, saturation {seen.saturation:.2f}"
        notes.append(("colour", f"R, G, B off by {_list(seen.colour)}, {scales}"))
    return notes


def _hearing(scene: _Scene, index: int) -> tuple[Heard | None, Notes]:
    """Where the source's sound is, and whether it is as loud as it was."""
    one, limits = scene.expected[index], scene.limits
    film, source = scene.film.sound, scene.sides[index].sound
    if film is None or one.length < 4 * limits.seam:
        return None, []
    begin, length = one.begin + limits.seam, one.length - 2 * limits.seam
    there = film.cut(begin, length)
    loud = float(loudness(there).max())
    wanted = source.cut((one.origin or 0.0) + limits.seam, length) if source else 0 * there
    aim = float(loudness(wanted).max())
    if aim < -90 and loud > limits.silence:
        return None, [("noise", f"{loud:.1f} dBFS where the source is silent")]
    if source is None or aim < limits.silence:
        return None, []
    if aim > -60 and loud < limits.silence:
        return None, [("muted", f"{loud:.1f} dBFS where the source has {aim:.1f}")]
    rim = min(0.3, one.length / 5)  # room to find it early or late without hearing its neighbours
    room = one.length - 2 * rim
    inner = source.cut((one.origin or 0.0) + rim, room)
    heard = listen(inner, film, one.begin + rim)
    if heard.likeness < 0.3:
        text = f"likeness {heard.likeness:.2f} at best within half a second"
        return replace(heard, shift=None), [("sound", text)] if aim > -60 else []
    late = (heard.shift or 0.0) * heard.clear
    off = level_error(inner, film.cut(one.begin + rim + late, room))
    missing = gaps(wanted, film.cut(begin + late, length), begin, film.rate)
    notes: Notes = []
    if source.channels <= 2 and abs(off) > limits.level:
        notes.append(("level", f"{off:+.1f} dB"))
    if missing:
        notes.append(("cut", f"sound absent {_stretches(missing)}"))
    return replace(heard, level=off, missing=missing), notes


def _timed(figures: Figures) -> Figures:
    """The shifts, and sound against picture: where one cannot shift visibly its time stamps are believed."""
    seen, heard = figures.seen, figures.heard
    picture = seen.shift if seen else None
    sounding = heard.shift if heard and heard.clear else None
    vague = (("picture",) if seen and seen.moves and picture is None else ()) + (
        ("sound",) if heard and heard.shift is not None and not heard.clear else ()
    )
    known = [shift for shift in (picture, sounding) if shift is not None]
    by: SyncBy = "nothing" if not known or vague else "timestamps" if len(known) == 1 else "samples"
    return replace(
        figures,
        undecidable=figures.undecidable + vague,
        picture_shift=picture,
        sound_shift=sounding,
        sync=None if by == "nothing" else (sounding or 0.0) - (picture or 0.0),
        sync_by=by,
    )


def _list(figures: Iterable[float]) -> str:
    return ", ".join(f"{figure:.3f}" for figure in figures)


def _stretches(pairs: Iterable[tuple[float, float]]) -> str:
    return ", ".join(f"{lo:.2f}-{hi:.2f} s" for lo, hi in pairs)
