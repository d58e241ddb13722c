"""What the film becomes: canvas, rate and sound, by the majority of the clips unless the person chose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from typing import Final, TypeVar

from vcompose.media.clip import Clip, Size
from vcompose.media.composition import LARGEST, SMALLEST, Output
from vcompose.media.packets import COMMON_RATES
from vcompose.media.step import Target

_K = TypeVar("_K", bound=Hashable)

FASTEST_CHOSEN: Final = 60
"""The film is never faster than that, in pictures a second, unless the person asks for it."""
SLOWEST_CHOSEN: Final = 20
"""Nor slower, in pictures a second."""
SOUND_RATES: Final = frozenset({44_100, 48_000})


def signature(clip: Clip) -> tuple[object, ...]:
    """What makes clips of one kind: clips with equal signatures vote together on what the film becomes."""
    picture = clip.picture
    return picture.codec, picture.shown, picture.rate, picture.pixel_format, picture.color


def majority(clips: Sequence[Clip], key: Callable[[Clip], _K]) -> tuple[_K, int]:
    """The key with the most clips, then the most seconds, then the earliest; and its number of clips."""
    return most([key(clip) for clip in clips], clips)


def most(keys: Sequence[_K], clips: Sequence[Clip]) -> tuple[_K, int]:
    """The majority where the clips' keys are known already."""
    counts = Counter(keys)
    votes = max(counts.values())
    tied = {key for key, count in counts.items() if count == votes}
    if len(tied) == 1:
        return tied.pop(), votes
    seconds: dict[_K, Fraction] = {}
    for key, clip in zip(keys, clips, strict=True):
        if key in tied:
            seconds[key] = seconds.get(key, Fraction(0)) + clip.length
    # dicts keep the order of arrival, and max takes the first of equals
    return max(seconds, key=lambda key: seconds[key]), votes


def choose_target(clips: Sequence[Clip], output: Output) -> Target:
    """The target of every encoded picture."""
    signatures = [signature(clip) for clip in clips]
    winner, votes = most(signatures, clips)
    like = [clip for clip, of in zip(clips, signatures, strict=True) if of == winner] if votes > 1 else list(clips)
    return Target(
        size=output.size or _canvas(like),
        rate=output.rate or _rate(like),
        fit=output.fit,
        quality=output.quality,
    )


def sound_rate(clips: Sequence[Clip]) -> int:
    """Hz of the film's sound: the clips' own where all agree on a usual one, else 48,000."""
    rates = {clip.sound.rate for clip in clips if clip.sound is not None}
    return rates.pop() if len(rates) == 1 and rates <= SOUND_RATES else 48_000


def _canvas(clips: Sequence[Clip]) -> Size:
    """The majority's shown size: first which way up, then which size, made even."""

    def tall(clip: Clip) -> bool:
        return clip.picture.shown.height > clip.picture.shown.width

    way, _ = majority(clips, tall)
    size, _ = majority([clip for clip in clips if tall(clip) is way], lambda clip: clip.picture.shown)
    shrink = min(Fraction(1), *(Fraction(LARGEST, side) for side in size))
    return Size(*(_even(round(side * shrink)) for side in size))


def _rate(clips: Sequence[Clip]) -> Fraction:
    """The one rate of clips of one kind; of a mixture the fastest, for a repeated picture harms less than a lost
    one; a rate that a device meant to be a common one is that one.
    """
    fastest = min(max(clip.picture.rate for clip in clips), Fraction(FASTEST_CHOSEN))
    close = [rate for rate in COMMON_RATES if abs(rate / fastest - 1) < Fraction(1, 200)]
    rate = min(close, key=lambda rate: abs(rate - fastest), default=fastest)
    # on a coarse grid a picture would lie up to half its length beside its sound; a whole multiple does not judder
    return rate * -(-SLOWEST_CHOSEN // rate) if rate < SLOWEST_CHOSEN else rate


def _even(side: int) -> int:
    return max(SMALLEST, side + side % 2)
