"""What a file's packets tell: true times, rates and groups of pictures. Bytes of ffprobe's CSV in, values out.

Headers lie (a fragmented file that claims 143,165 s for one second, a browser's recording with no duration at
all), packets do not. The scan keeps eight bytes a picture and a few numbers for every other stream.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Final

ENTRIES: Final = "packet=stream_index,pts,dts,duration,flags:packet_side_data=skip_samples,discard_padding"
"""What ffprobe is asked to print, with ``-of csv=p=0``; side data become columns behind the flags."""

_LONGEST_LINE: Final = 4096
MOST_PICTURES: Final = 4_000_000
"""More pictures than that (18 hours at 60 a second) are no clip for one film."""

LONGEST_LAST: Final = Fraction(10)
"""Seconds for which the last picture is believed to stand: nothing after it says so."""

COMMON_RATES: Final = tuple(
    Fraction(n, d)
    for n, d in (
        (10, 1), (12, 1), (15000, 1001), (15, 1), (20, 1), (24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1),
        (48, 1), (50, 1), (60000, 1001), (60, 1), (100, 1), (120000, 1001), (120, 1), (240, 1),
    )
)  # fmt: skip
"""Pictures a second that devices really use."""


class TooManyPackets(Exception):
    """The file has more than :data:`MOST_PICTURES` pictures."""


@dataclass(slots=True, kw_only=True)
class Stream:
    """What one stream's packets said, in ticks of its time base (skips and padding in samples)."""

    count: int = 0
    hidden: int = 0
    first: int | None = None
    last: int | None = None
    last_duration: int = 0
    skip: int = 0
    padding: int = 0
    pictures: array[int] = field(default_factory=lambda: array("q"))
    key_first: bool = False
    open_gop: bool = False
    fell: int = 0
    _decoded: int | None = None
    _key: int | None = None

    def clock(self, dts: int) -> None:
        """Note how far the decoding time fell, at most: it never should."""
        if self._decoded is not None:
            self.fell = max(self.fell, self._decoded - dts)
        self._decoded = dts

    def take(self, *, pts: int, duration: int, key: bool) -> None:
        """One packet that is shown or heard."""
        if self.count == 0:
            self.key_first = key
        self.count += 1
        if self.first is None or pts < self.first:
            self.first = pts
        if self.last is None or pts >= self.last:
            self.last, self.last_duration = pts, duration
        if key:
            self._key = pts
        elif self._key is not None and pts < self._key:
            self.open_gop = True


class Scanner:
    """Feed it ffprobe's CSV cut anywhere; ``streams`` then tells what each stream holds."""

    def __init__(self, pictures: frozenset[int]) -> None:
        """``pictures`` are the indices of the video streams, whose every time stamp is kept."""
        self.streams: dict[int, Stream] = {}
        self._pictures = pictures
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Raises TooManyPackets."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skipping or len(line) > _LONGEST_LINE:
                self._skipping = False
                continue
            self._line(line)
        if len(self._rest) > _LONGEST_LINE:
            self._rest, self._skipping = b"", True

    def _line(self, line: bytes) -> None:
        parts = line.split(b",")
        if len(parts) < 5:
            return
        try:
            index = int(parts[0])
            # AVI and some transport streams leave out the pts: then the dts is the best there is
            pts = int(parts[2] if parts[1] == b"N/A" else parts[1])
        except ValueError:
            return
        stream = self.streams.get(index)
        if stream is None:
            stream = self.streams[index] = Stream()
        if parts[2] != b"N/A":
            stream.clock(_signed(parts[2]))
        flags = parts[4]
        video = index in self._pictures
        if not video and stream.count == 0 and len(parts) > 5 and parts[5].isdigit():
            stream.skip = max(stream.skip, int(parts[5]))
        if b"D" in flags:  # decoded, but hidden by an edit list
            # what this packet takes of the skip is not left for the first heard one (sound counts its ticks in samples)
            stream.skip = max(0, stream.skip - _ticks(parts[3]))
            stream.hidden += 1
            return
        stream.take(pts=pts, duration=_ticks(parts[3]), key=b"K" in flags)
        if video:
            stream.pictures.append(pts)
            if len(stream.pictures) > MOST_PICTURES:
                raise TooManyPackets
        else:
            stream.padding = int(parts[6]) if len(parts) > 6 and parts[6].isdigit() else 0


def _signed(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def _ticks(text: bytes) -> int:
    return int(text) if text.isdigit() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How pictures follow one another: ``rate`` a second, whether it varies, seconds of the last picture, the
    longest wait between two (seconds).
    """

    rate: Fraction
    variable: bool
    last: Fraction
    longest: Fraction


def pace(pictures: array[int], time_base: Fraction, declared: Fraction | None, last_duration: int) -> Pacing:
    """Measure the pacing from shown times (ticks of ``time_base``, any order).

    ``declared`` is the header's rate, believed where the time stamps agree. A constant rate is one whose every
    picture is within a tick and a half, or a millisecond, of its place on an even grid.
    """
    times = sorted(set(pictures))
    if len(times) < 2:
        rate = declared if declared is not None and 1 <= declared <= 120 else Fraction(25)
        last = last_duration * time_base or 1 / rate
        return Pacing(rate=rate, variable=False, last=min(last, LONGEST_LAST), longest=Fraction(0))
    steps = [later - earlier for earlier, later in pairwise(times)]
    mean = Fraction(times[-1] - times[0], len(steps))
    slack = max(1.5, float(Fraction(1, 1000) / time_base))
    even = float(mean)
    variable = any(abs(time - times[0] - i * even) > slack for i, time in enumerate(times))
    longest = max(steps) * time_base
    if variable:
        rate = _covering(sorted(steps), time_base)
        usual = sorted(steps)[len(steps) // 2]
        last = min((last_duration or usual) * time_base, LONGEST_LAST)
        return Pacing(rate=rate, variable=True, last=last, longest=longest)
    measured = 1 / (mean * time_base)
    rate = _named(measured, declared, len(steps), time_base)
    stands = last_duration * time_base
    if stands > 2 / rate:  # a recorder of screens lets the last picture stand
        return Pacing(rate=rate, variable=True, last=min(stands, LONGEST_LAST), longest=longest)
    return Pacing(rate=rate, variable=False, last=min(1 / rate, LONGEST_LAST), longest=longest)


def _named(measured: Fraction, declared: Fraction | None, steps: int, time_base: Fraction) -> Fraction:
    """The exact rate that a measured one stands for: the declared or a common one within the measuring error."""
    error = max(float(3 * time_base * measured / steps), 1e-5)
    known = COMMON_RATES if declared is None else (declared, *COMMON_RATES)
    close = [rate for rate in known if abs(float(rate / measured) - 1) <= error]
    if declared in close:
        return declared
    nearest = measured.limit_denominator(1001) or Fraction(1, 1001)
    return min(close, key=lambda rate: abs(rate - measured), default=nearest)


def _covering(steps: list[int], time_base: Fraction) -> Fraction:
    """A common rate that shows nearly every picture of an uneven stream: the tenth shortest step decides."""
    shortest = max(1, steps[len(steps) // 10])
    wanted = 1 / (shortest * time_base)
    return next((rate for rate in COMMON_RATES if rate >= wanted * Fraction(97, 100)), Fraction(60))
