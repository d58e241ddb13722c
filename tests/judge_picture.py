"""What the judge sees: how a source's picture lies on the film's canvas, when, and in which colours.

Canvas and source are unit squares; a placement is the rectangle of the canvas that a source fills (it may
reach beyond the canvas). Sources are re-drawn on the canvas's cells by exact area averaging, so film and
expectation are compared cell by cell: upright, turned, mirrored and stretched alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from judge_decode import GRID, Floats, Pictures, Seconds
from numpy.typing import NDArray

Fit = Literal["contain", "cover", "stretch"]
Indices = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """One way of showing a source: turned by quarter turns anticlockwise, mirrored, with its width / height
    as `aspect` after turning, fitted to the canvas by `fit`."""

    name: str
    aspect: float
    fit: Fit
    turns: int = 0
    mirrored: bool = False

    def box(self, canvas: float) -> tuple[float, float, float, float]:
        """left, top, right, bottom on a canvas of width / height `canvas`, in canvas units."""
        if self.fit == "stretch":
            return 0.0, 0.0, 1.0, 1.0
        ratio = self.aspect / canvas
        wide = ratio >= 1 if self.fit == "contain" else ratio < 1
        width, height = (1.0, 1 / ratio) if wide else (ratio, 1.0)
        return (1 - width) / 2, (1 - height) / 2, (1 + width) / 2, (1 + height) / 2


def poses(source: Pictures, fit: Fit) -> list[Pose]:
    """The right pose first, then the mistakes worth telling apart from it."""
    aspect = source.shown
    right = Pose(name="upright", aspect=aspect, fit=fit)
    wrong = [
        Pose(name="turned 180", aspect=aspect, fit=fit, turns=2),
        Pose(name="mirrored", aspect=aspect, fit=fit, mirrored=True),
        Pose(name="upside down", aspect=aspect, fit=fit, turns=2, mirrored=True),
        Pose(name="stretched wider", aspect=aspect * 1.12, fit=fit),
        Pose(name="stretched taller", aspect=aspect / 1.12, fit=fit),
        Pose(name="stretched to its turned shape", aspect=1 / aspect, fit=fit),
        Pose(name="stretched to its stored shape", aspect=source.stored, fit=fit),
    ]
    for turns, degrees in ((1, 270), (3, 90)):
        for shape, squeezed in ((1 / aspect, ""), (aspect, " and squeezed")):
            wrong.append(Pose(name=f"turned {degrees}{squeezed}", aspect=shape, fit=fit, turns=turns))
    others: dict[Fit, str] = {"contain": "padded", "cover": "cropped", "stretch": "stretched to the canvas"}
    wrong += [Pose(name=name, aspect=aspect, fit=other) for other, name in others.items() if other != fit]
    return [right, *wrong]


def same_place(one: Pose, other: Pose, canvas: float) -> bool:
    """Whether two poses draw the same picture."""
    turn = (one.turns, one.mirrored) == (other.turns, other.mirrored)
    return turn and bool(np.allclose(one.box(canvas), other.box(canvas), atol=0.015))


def area(pose: Pose, canvas: float) -> Bools:
    """(GRID, GRID) cells that lie well inside the pose's picture."""
    left, top, right, bottom = pose.box(canvas)
    centre = (np.arange(GRID) + 0.5) / GRID

    def inside(lo: float, hi: float) -> Bools:
        rim = 1.5 / GRID
        cells: Bools = (centre > (lo + rim if lo > 0 else lo)) & (centre < (hi - rim if hi < 1 else hi))
        return cells

    return np.outer(inside(top, bottom), inside(left, right))


def drawn(frames: NDArray[np.uint8], pose: Pose, canvas: float) -> Floats:
    """(n, cells, cells, 3) source frames as they would look on the (n, GRID, GRID, 3) canvas."""
    turned = np.rot90(frames, pose.turns, axes=(1, 2))
    if pose.mirrored:
        turned = turned[:, :, ::-1]
    left, top, right, bottom = pose.box(canvas)
    rows, columns = _averaging(turned.shape[1], top, bottom), _averaging(turned.shape[2], left, right)
    planes = turned.transpose(0, 3, 1, 2).astype(np.float32)
    posed: Floats = np.matmul(rows, planes) @ columns.T
    return posed.transpose(0, 2, 3, 1)


def _averaging(cells: int, lo: float, hi: float) -> Floats:
    """(GRID, cells) weights: how much of each canvas cell each source cell covers, lying from lo to hi."""
    canvas = np.linspace(0.0, 1.0, GRID + 1)
    source = np.linspace(lo, hi, cells + 1)
    first = np.maximum(canvas[:-1, None], source[None, :-1])
    last = np.minimum(canvas[1:, None], source[None, 1:])
    weights: Floats = (np.maximum(last - first, 0.0) * GRID).astype(np.float32)
    return weights


def likeness(film: Floats, source: Floats) -> Floats:
    """(n, m) likeness, at most 1, of each of n film pictures to each of m source pictures, (.., k) levels.

    Shape counts by correlation, so paler or darker prints of a picture still resemble it; flat pictures
    resemble flat pictures of the same brightness.
    """

    def spread(levels: Floats) -> tuple[Floats, Floats, Floats]:
        mean = levels.mean(axis=1, keepdims=True)
        return mean, levels - mean, levels.std(axis=1, keepdims=True)

    mean_f, film, std_f = spread(film)
    mean_s, source, std_s = spread(source)
    shape = (film @ source.T / film.shape[1] + 9) / (std_f * std_s.T + 9)
    light = (2 * mean_f * mean_s.T + 400) / (mean_f**2 + (mean_s**2).T + 400)
    alike: Floats = shape * light
    return alike


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """A source held against the film from `begin` for `length` seconds, its second `origin` at `begin`."""

    film: Pictures
    source: Pictures
    pose: Pose
    mask: Bools
    begin: float
    length: float
    origin: float

    @property
    def shown(self) -> tuple[float, float]:
        """Film seconds between which the source has a picture to show, by its own time stamps."""
        offset = self.begin - self.origin
        stop = min(self.begin + self.length, self.source.end + offset)
        return max(self.begin, self.source.times[0] + offset), stop

    def seen(self, frames: Indices) -> Floats:
        """(n, k) film levels within the mask."""
        return self.film.frames[frames][:, self.mask].reshape(len(frames), -1).astype(np.float32)

    def wanted(self, frames: Indices) -> Floats:
        """(n, k) levels of source frames, posed, within the mask."""
        posed = drawn(self.source.frames[frames], self.pose, self.film.shown)
        return posed[:, self.mask].reshape(len(frames), -1)

    def resemblance(self, *, steady: bool, reach: float = 0.5) -> float:
        """Median over ten instants of the likeness to the best source frame within `reach` seconds: each
        instant's own best frame, or, steady, the frames that are all equally late."""
        start, stop = self.shown
        instants = start + (np.arange(10) + 0.5) / 10 * max(stop - start, 0.0)
        near = np.arange(-round(reach / 0.02), round(reach / 0.02) + 1) * 0.02
        candidates = self.source.at((instants[:, None] + near - self.begin + self.origin).ravel())
        frames, column = np.unique(candidates, return_inverse=True)
        alike = likeness(self.seen(self.film.at(instants)), self.wanted(frames))
        alike = np.take_along_axis(alike, column.reshape(len(instants), -1), axis=1)
        alike[instants >= self.film.end] = 0.0
        return float(np.median(alike, axis=0).max() if steady else np.median(alike.max(axis=1)))

    def anywhere(self, instants: Seconds, count: int = 40) -> Floats:
        """(n,) likeness of the film at each instant to the best of `count` frames all over the source."""
        every = np.unique(np.linspace(0, len(self.source.times) - 1, count).astype(np.intp))
        alike: Floats = likeness(self.seen(self.film.at(instants)), self.wanted(every)).max(axis=1)
        return alike


def alike(one: Shot, other: Shot) -> float:
    """Mean likeness of one source drawn in two poses, within the first one's mask."""
    start, stop = one.shown
    instants = start + np.array([0.2, 0.5, 0.8]) * (stop - start) - one.begin + one.origin
    frames = one.source.at(instants)
    return float(np.mean(np.diag(likeness(one.wanted(frames), other.wanted(frames)))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """shift: seconds the film's picture is late against its place, None where that cannot be told (`moves`
    tells whether the source moves enough to tell); missing and frozen: stretches of the film, in film
    seconds, where the source's picture is absent and where it moves but the film does not; colour: film
    less source, mean R, G, B levels; contrast and saturation: film / source; likeness: median at `shift`.
    """

    shift: float | None
    moves: bool
    likeness: float
    missing: tuple[tuple[float, float], ...]
    frozen: tuple[tuple[float, float], ...]
    colour: tuple[float, float, float]
    contrast: float
    saturation: float


def look(shot: Shot, *, reach: float = 0.5) -> Seen | None:
    """Measure a shot; None where the source has under a tenth of a second of picture in it."""
    start, stop = shot.shown
    if stop - start < 0.1:
        return None
    step, fine = 0.007, 0.004
    instants = np.arange(start + step / 2, stop, step)
    shifts: Seconds = np.arange(-round(reach / fine), round(reach / fine) + 1, dtype=np.float64) * fine
    alike = np.concatenate(
        [_shifted(shot, part, shifts) for part in np.array_split(instants, int((stop - start) // 4) + 1)]
    )
    inside = np.mean(~np.isnan(alike), axis=0) > 0.4
    curve = np.where(inside, np.nanmean(np.where(inside, alike, 0.0), axis=0), -1.0)
    shift, moves = _peak(curve, inside, shifts)
    still = _still(shot, start, stop, shift or 0.0)
    if sum(hi - lo for lo, hi in still) > 0.5 * (stop - start):
        shift = None
    own = alike[:, int(np.argmin(np.abs(shifts - (shift or 0.0))))]
    level = float(np.nanmedian(own))
    absent = (own < level - 0.25) | (instants >= shot.film.end)
    matched = instants[(own > level - 0.1) & (instants < shot.film.end)]
    colour, contrast, saturation = _print(shot, matched[:: max(1, len(matched) // 60)], shift or 0.0)
    return Seen(
        shift=shift,
        moves=moves,
        likeness=level,
        missing=_runs(instants, absent),
        frozen=still,
        colour=colour,
        contrast=contrast,
        saturation=saturation,
    )


def _shifted(shot: Shot, instants: Seconds, shifts: Seconds) -> Floats:
    """(n, shifts) likeness of the film at n instants to the source as it would be there if that late; nan
    where the source shows nothing."""
    clock = instants[:, None] - shifts[None, :] - shot.begin + shot.origin
    outside = (clock < max(shot.source.times[0], shot.origin)) | (
        clock >= min(shot.source.end, shot.origin + shot.length)
    )
    film, row = np.unique(shot.film.at(instants), return_inverse=True)
    source, column = np.unique(shot.source.at(clock.ravel()), return_inverse=True)
    alike = likeness(shot.seen(film), shot.wanted(source))[row[:, None], column.reshape(clock.shape)]
    return np.where(outside, np.float32(np.nan), alike)


def _peak(curve: Floats, inside: Bools, shifts: Seconds) -> tuple[float | None, bool]:
    """The shift where the curve peaks, None unless it is the only one; whether there is a peak at all."""
    top, bottom = float(curve[inside].max()), float(curve[inside].min())
    span = top - bottom
    if span < 0.004:
        return None, False
    best = float(np.mean(shifts[inside & (curve >= top - 1e-5)]))
    high = inside & (curve > top - 0.1 * span)
    if float(np.ptp(shifts[high])) > 0.35 or np.min(np.abs(shifts[inside][[0, -1]] - best)) < 0.01:
        return None, True
    return best, True


def _still(shot: Shot, start: float, stop: float, shift: float) -> tuple[tuple[float, float], ...]:
    """Stretches where the source moves from one fifth of a second to the next, and the film does not."""
    lag = 0.2
    instants = np.arange(start + 0.06, stop - lag - 0.06, 0.04)
    if len(instants) < 5:
        return ()
    clock = instants - shift - shot.begin + shot.origin

    def motion(levels: Floats) -> Floats:
        here, there = np.split(levels, 2)
        moved: Floats = np.abs(there - here).mean(axis=1)
        return moved

    film = motion(shot.seen(shot.film.at(np.concatenate((instants, instants + lag)))))
    source = motion(shot.wanted(shot.source.at(np.concatenate((clock, clock + lag)))))
    return _runs(instants, (source > 1.0) & (film < 0.25 * source))


def _runs(instants: Seconds, wrong: Bools, least: float = 0.2) -> tuple[tuple[float, float], ...]:
    """Stretches of at least `least` seconds over which every instant is wrong."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], wrong, [False])).astype(np.int8)))
    pairs = [(float(instants[lo]), float(instants[hi - 1])) for lo, hi in edges.reshape(-1, 2)]
    return tuple(pair for pair in pairs if pair[1] - pair[0] >= least)


def _print(shot: Shot, instants: Seconds, shift: float) -> tuple[tuple[float, float, float], float, float]:
    """Mean R, G, B of film less source, and the film's contrast and saturation as parts of the source's."""
    clock = instants - shift - shot.begin + shot.origin
    film = shot.seen(shot.film.at(instants)).reshape(-1, 3)
    source = shot.wanted(shot.source.at(clock)).reshape(-1, 3)
    red, green, blue = (float(level) for level in film.mean(axis=0) - source.mean(axis=0))

    def slope(got: Floats, had: Floats) -> float:
        had, got = had - had.mean(), got - got.mean()
        power = float(np.mean(had**2))
        return float(np.mean(had * got)) / power if power > 64 else 1.0

    tint_f, tint_s = film - film.mean(axis=1, keepdims=True), source - source.mean(axis=1, keepdims=True)
    saturation = slope(tint_f.ravel(), tint_s.ravel())
    return (red, green, blue), slope(film.mean(axis=1), source.mean(axis=1)), saturation
