"""What the judge hears: where a source's sound lies in the film, and how loud it is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from judge_decode import Floats, Sound
from numpy.typing import NDArray

QUIET = -75.0
"""dBFS under which a source counts as silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """shift: seconds the film's sound is late against its place, None where that cannot be told; likeness:
    normalised correlation at that shift, at most 1; clear: no other shift fits nearly as well; level: dB of
    the film against the source, in the channel where they differ most; missing: stretches, in film seconds,
    where the source sounds and the film does not.
    """

    shift: float | None
    likeness: float
    clear: bool
    level: float | None = None
    missing: tuple[tuple[float, float], ...] = ()


def loudness(samples: Floats) -> Floats:
    """RMS in dBFS of each channel of (n, channels) samples; -200 for digital silence."""
    if not len(samples):
        return np.full(samples.shape[1], -200.0, dtype=np.float32)
    power = np.mean(np.square(samples, dtype=np.float64), axis=0)
    levels: Floats = (10 * np.log10(np.maximum(power, 1e-20))).astype(np.float32)
    return levels


def listen(source: Floats, film: Sound, begin: float, *, reach: float = 0.5) -> Heard:
    """Find (n, channels) source samples in the film within `reach` seconds of `begin` seconds."""
    if float(loudness(source).max(initial=-200.0)) < QUIET:
        return Heard(shift=None, likeness=0.0, clear=False)
    wide = film.cut(begin - reach, len(source) / film.rate + 2 * reach)
    curve = _likeness(_one(source), _one(wide))
    best = int(np.argmax(curve))
    peak = float(curve[best])
    apart = np.abs(np.arange(len(curve)) - best) > 0.03 * film.rate
    rival = float(curve[apart].max(initial=0.0))
    return Heard(shift=best / film.rate - reach, likeness=peak, clear=peak > 0.2 and rival < 0.85 * peak)


def level_error(source: Floats, film: Floats) -> float:
    """The largest level difference in dB between like channels: film against source, (n, channels) each.

    One source channel stands for every film channel; a film of one channel is held against the mix.
    """
    if film.shape[1] < source.shape[1]:
        source = source.mean(axis=1, keepdims=True)
    wanted, got = np.broadcast_arrays(loudness(source), loudness(film))
    heard = wanted > -60
    difference = (got - wanted)[heard]
    return float(difference[np.argmax(np.abs(difference))]) if len(difference) else 0.0


def gaps(
    source: Floats, film: Floats, begin: float, rate: int, *, least: float = 0.15
) -> tuple[tuple[float, float], ...]:
    """Stretches of `least` seconds or more where the source sounds and the film is 20 dB weaker, both
    (n, channels) from `begin` film seconds."""
    block = rate // 50

    def strength(samples: Floats) -> NDArray[np.float64]:
        mixed = np.square(samples, dtype=np.float64).mean(axis=1)
        power: NDArray[np.float64] = mixed[: len(mixed) // block * block].reshape(-1, block).mean(axis=1)
        return power

    had, got = strength(source), strength(film)
    absent = np.concatenate(([False], (had > 1e-5) & (got < had / 100), [False])).astype(np.int8)
    edges = begin + np.flatnonzero(np.diff(absent)).reshape(-1, 2) * (block / rate)
    return tuple((float(lo), float(hi)) for lo, hi in edges if hi - lo > least - 1e-6)


def _one(samples: Floats) -> NDArray[np.float64]:
    """One channel, its highs lifted so that a deep note does not hide the rest."""
    mixed = samples.mean(axis=1, dtype=np.float64)
    if loudness(mixed[:, None].astype(np.float32))[0] < loudness(samples).max() - 20:
        mixed = samples[:, 0].astype(np.float64)  # channels that cancel out
    lifted: NDArray[np.float64] = np.diff(mixed, prepend=0.0) + 0.3 * mixed
    return lifted


def _likeness(short: NDArray[np.float64], wide: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalised correlation of `short` with `wide` at every offset it fits at."""
    offsets = len(wide) - len(short) + 1
    size = 1 << (len(wide) + len(short)).bit_length()
    product = np.fft.rfft(wide, size) * np.conj(np.fft.rfft(short, size))
    together = np.fft.irfft(product, size)[:offsets]
    energy = np.concatenate(([0.0], np.cumsum(np.square(wide))))
    under = np.maximum(energy[len(short) :] - energy[:offsets], 0.0)
    scale = np.sqrt(under * np.sum(np.square(short)))
    likeness: NDArray[np.float64] = together / np.maximum(scale, 1e-9)
    return likeness
