"""Sound against picture at every seam of a film whose clips each hold one white flash and one click."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from judge_decode import Eyes, Seconds, pictures, sound


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """picture, sound: (n,) film seconds of each flash's first frame and each click's onset, nan where there
    is none; both count from the film's first frame or sample, whichever is earlier."""

    picture: Seconds
    sound: Seconds

    @property
    def lag(self) -> Seconds:
        """(n,) seconds the sound is late against the picture."""
        return self.sound - self.picture


def seam_lags(eyes: Eyes, film: Path, marks: Sequence[float], *, reach: float = 0.4) -> Lags:
    """Measure the flash and the click nearest to each of `marks` film seconds, within `reach` seconds.

    The flash is told by frame time stamps, the click to the sample: its first one at half its height.
    """
    seen, heard = pictures(eyes, film, grid=8), sound(eyes, film, rate=48_000)
    if seen is None or heard is None:
        raise ValueError(f"{film.name} lacks picture or sound")
    zero = min(float(seen.times[0]), heard.start)
    light = seen.frames.mean(axis=(1, 2, 3))
    noise = np.abs(heard.samples).max(axis=1)
    ticks = heard.start + np.arange(len(noise)) / heard.rate

    def onset(times: Seconds, height: Seconds, mark: float, least: float) -> float:
        lo, hi = np.searchsorted(times, [mark + zero - reach, mark + zero + reach])
        near = height[lo:hi]
        if not len(near) or float(near.max()) < least:
            return float("nan")
        return float(times[lo + int(np.argmax(near >= near.max() / 2))]) - zero

    return Lags(
        picture=np.array([onset(seen.times, light, mark, 128.0) for mark in marks]),
        sound=np.array([onset(ticks, noise.astype(np.float64), mark, 0.05) for mark in marks]),
    )
