"""How far a film is, truthfully: steps weighed by what they cost, corrected by what finished steps really took.

Pure: it is told about time and work, and starts nothing. A percentage never falls; it is at most 99 until the film
is verified, and 100 only when it has its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vcompose.media.composition import Quality
from vcompose.media.plan import Plan
from vcompose.media.step import EncodeStep, JoinStep, SoundStep, Step

# Seconds on one core, measured with the veryfast preset; only their proportions matter, and those are corrected.
_PIXEL: Final = 4e-9
_PICTURE: Final = 5e-4
_CHILD: Final = 0.05
_SOUND_SECOND: Final = 0.012
_COPIED_SECOND: Final = 0.002

# Bytes, of people's clips with the veryfast preset: sound at 192 kbit/s, pictures by quality.
_SOUND_BYTES: Final = 24_000
_PIXEL_BYTES: Final = {Quality.LOW: 0.005, Quality.MEDIUM: 0.009, Quality.HIGH: 0.018}


class Stage(StrEnum):
    """What is being done, the slowest of it first."""

    ENCODING = "encoding"
    SOUND = "sound"
    JOINING = "joining"
    VERIFYING = "verifying"
    DONE = "done"


_STAGES: Final = {
    "encode": Stage.ENCODING,
    "sound": Stage.SOUND,
    "join": Stage.JOINING,
    "verify": Stage.VERIFYING,
}
VERIFY: Final = "verify"
"""The name under which the verification, which is no step of a plan, is weighed beside the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How far a film is. ``speed``: seconds of film a second (None: nothing to tell); ``seconds_left``: None where
    nothing is known yet.
    """

    percent: int
    stage: Stage
    speed: float | None
    seconds_left: float | None


def cost(step: Step) -> float:
    """The estimated seconds of a step."""
    match step:
        case EncodeStep():
            pixels = step.target.size.width * step.target.size.height + step.shown.width * step.shown.height / 4
            return _CHILD + step.frames * (_PICTURE + pixels * _PIXEL)
        case SoundStep():
            return _CHILD * len(step.pieces) + step.samples / step.rate * _SOUND_SECOND
        case JoinStep():
            return _CHILD + float(step.length) * _COPIED_SECOND + 0.001 * len(step.pictures)


def expected_seconds(plan: Plan, parallel: float) -> float:
    """Roughly how long the making of a film takes, with so many steps at once."""
    seams = _CHILD * (1 + len(plan.clips))
    return sum(cost(step) for step in plan.steps[:-1]) / parallel + cost(plan.steps[-1]) + seams


def expected_size(plan: Plan) -> int:
    """Roughly how many bytes a film has: what is copied as it is, what is encoded by its pixels."""
    sound = plan.sound_samples / plan.sound_rate * _SOUND_BYTES if plan.sound_rate else 0.0
    if plan.copies:
        return round(sum(treated.clip.size for treated in plan.clips) + sound)
    pixels = plan.target.size.width * plan.target.size.height * plan.pictures
    return round(pixels * _PIXEL_BYTES[plan.target.quality] + sound)


class FilmProgress:
    """The progress of one plan; ``now`` is a monotonic clock in seconds."""

    def __init__(self, plan: Plan, *, now: float, floor: int = 0) -> None:
        """``floor`` is the percentage that an earlier way of making the film had reached."""
        seams = len(plan.clips)
        self._kinds: dict[str, str] = {step.id: step.kind for step in plan.steps} | {VERIFY: VERIFY}
        self._costs = {step.id: cost(step) for step in plan.steps} | {VERIFY: _CHILD + seams * _CHILD}
        self._done = dict.fromkeys(self._costs, 0.0)
        self._factor: dict[str, float] = {}
        self._spent: dict[str, tuple[float, float]] = {}
        self._lengths = {
            step.id: float(step.frames / step.target.rate) for step in plan.steps if isinstance(step, EncodeStep)
        } or {step.id: float(plan.length) for step in plan.steps}
        self._kept: set[str] = set()
        self._begun = now
        self._floor = self._percent = floor

    def tell(self, step: str, done: float) -> None:
        """Part ``done`` (0 to 1) of a step is done; less than before is ignored."""
        self._done[step] = max(self._done[step], min(1.0, done))

    def finish(self, step: str, seconds: float) -> None:
        """A step took ``seconds``; 0 says that it was there already."""
        self._done[step] = 1.0
        if seconds == 0 and step != VERIFY:
            self._kept.add(step)
        if seconds > 0:
            kind = self._kinds[step]
            expected, took = self._spent.get(kind, (0.0, 0.0))
            expected, took = expected + self._costs[step], took + seconds
            self._spent[kind] = expected, took
            self._factor[kind] = took / expected

    def report(self, *, now: float) -> Report:
        """What to show now."""
        # a kind that has not finished a step yet is taken to be as far off as those that have
        usual = sum(self._factor.values()) / len(self._factor) if self._factor else 1.0
        weights = {step: c * self._factor.get(self._kinds[step], usual) for step, c in self._costs.items()}
        whole = sum(weights.values())
        part = sum(weight * self._done[step] for step, weight in weights.items()) / whole
        self._percent = max(self._percent, min(99, self._floor + int(part * (100 - self._floor))))
        elapsed = now - self._begun
        # what an earlier attempt had made took no time now
        kept = sum(weight for step, weight in weights.items() if step in self._kept) / whole
        worked = part - kept
        left = elapsed * (1 - part) / worked if worked > 0.02 and elapsed > 0.5 else None
        made = sum(length * self._done[step] for step, length in self._lengths.items() if step not in self._kept)
        speed = made / elapsed if made > 0 and elapsed > 0.2 else None
        return Report(percent=self._percent, stage=self._stage(), speed=speed, seconds_left=left)

    def finished(self) -> Report:
        """The film is verified and has its name."""
        self._percent = 100
        return Report(percent=100, stage=Stage.DONE, speed=None, seconds_left=0.0)

    def _stage(self) -> Stage:
        for kind, stage in _STAGES.items():
            if any(self._done[step] < 1 for step, of in self._kinds.items() if of == kind):
                return stage
        return Stage.VERIFYING
