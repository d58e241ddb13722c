"""The index of an MP4 or MOV file, read: tracks, sample tables, edit lists. Reads ``moov`` alone, never media.

It reads strangers' bytes as well as our own, so every size and count is bounded by the bytes that are there.
Boxes and fields: ISO/IEC 14496-12.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, repeat
from typing import BinaryIO, Final

MOST_INDEX: Final = 512 << 20
"""Bytes of ``moov`` that are read at most."""
MOST_SAMPLES: Final = 20_000_000


class BrokenIndex(ValueError):
    """The file is no MP4, or its index contradicts itself; the text says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """``count`` samples in a row with the same value (ticks)."""

    count: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One entry of an edit list: ``length`` in the film's ticks, ``media`` in the track's (-1: nothing is shown)."""

    length: int
    media: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One track. ``durations`` and ``offsets`` are ``stts`` and ``ctts``; ``sync`` is None where every sample is
    one; sample numbers begin at 1, as in the file.
    """

    handler: str
    format: str
    config: bytes
    time_scale: int
    durations: tuple[Run, ...]
    offsets: tuple[Run, ...]
    sync: tuple[int, ...] | None
    samples: int
    edits: tuple[Edit, ...]

    @property
    def ticks(self) -> int:
        """The sum of all sample durations."""
        return sum(run.count * run.value for run in self.durations)

    def shown(self) -> Iterator[int]:
        """The time at which each sample is shown, in decoding order (ticks of the track, before edits)."""
        decoded = 0
        steps = chain.from_iterable(repeat(run.value, run.count) for run in self.durations)
        shifts = chain(chain.from_iterable(repeat(run.value, run.count) for run in self.offsets), repeat(0))
        for step, shift in zip(steps, shifts, strict=False):
            yield decoded + shift
            decoded += step


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The whole index. ``front`` tells whether it lies before the media, so that a player can start at once."""

    time_scale: int
    tracks: tuple[Track, ...]
    front: bool

    def of(self, handler: str) -> list[Track]:
        """The tracks of a kind: ``vide``, ``soun``, …"""
        return [track for track in self.tracks if track.handler == handler]

    def length(self, track: Track) -> Fraction:
        """Seconds that a track lasts in the film: its edits, or its samples where it has none."""
        if track.edits and self.time_scale:
            return Fraction(sum(edit.length for edit in track.edits), self.time_scale)
        return Fraction(track.ticks, track.time_scale)


def read_index(file: BinaryIO) -> Index:
    """Read the index of an open file. Raises BrokenIndex."""
    size = os.fstat(file.fileno()).st_size
    at = 0
    media_at: int | None = None
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = struct.unpack_from(">I4s", head)
        start = 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
            start = 16
        elif length == 0:
            length = size - at
        if length < start or length > size - at:
            raise BrokenIndex(f"the box {kind!r} at {at} reaches beyond the file")
        if kind == b"mdat" and media_at is None:
            media_at = at
        if kind == b"moov":
            if length > MOST_INDEX:
                raise BrokenIndex("the index is larger than 512 MiB")
            file.seek(at + start)
            return _movie(memoryview(file.read(length - start)), front=media_at is None)
        at += length
    raise BrokenIndex("the file has no index")


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        start = 8
        if length == 1 and at + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, at + 8)
            start = 16
        elif length == 0:
            length = len(data) - at
        if length < start or length > len(data) - at:
            raise BrokenIndex(f"the box {kind!r} is longer than what holds it")
        yield kind, data[at + start : at + length]
        at += length


def _find(data: memoryview, *path: bytes) -> memoryview | None:
    for name in path:
        found = next((body for kind, body in _boxes(data) if kind == name), None)
        if found is None:
            return None
        data = found
    return data


def _need(data: memoryview, *path: bytes) -> memoryview:
    found = _find(data, *path)
    if found is None:
        raise BrokenIndex(f"the box {b'/'.join(path).decode('latin-1')} is missing")
    return found


def _movie(data: memoryview, *, front: bool) -> Index:
    header = _need(data, b"mvhd")
    tracks = tuple(_track(body) for kind, body in _boxes(data) if kind == b"trak")
    return Index(time_scale=_time_scale(header), tracks=tracks, front=front)


def _time_scale(header: memoryview) -> int:
    """From ``mvhd`` or ``mdhd``, whose times are 4 bytes wide in version 0 and 8 in version 1."""
    at = 20 if _byte(header, 0) == 1 else 12
    (scale,) = _unpack(">I", header, at)
    if scale == 0:
        raise BrokenIndex("a time scale is 0")
    return int(scale)


def _track(data: memoryview) -> Track:
    media = _need(data, b"mdia")
    handler = bytes(_need(media, b"hdlr")[8:12])
    table = _need(media, b"minf", b"stbl")
    form, config = _description(_need(table, b"stsd"))
    durations = _runs(_need(table, b"stts"), ">II")
    samples = sum(run.count for run in durations)
    if samples > MOST_SAMPLES:
        raise BrokenIndex(f"a track has more than {MOST_SAMPLES:,} samples")
    shifts = _find(table, b"ctts")
    sync = _find(table, b"stss")
    edits = _find(data, b"edts", b"elst")
    return Track(
        handler=handler.decode("latin-1"),
        format=form,
        config=config,
        time_scale=_time_scale(_need(media, b"mdhd")),
        durations=durations,
        offsets=_runs(shifts, ">Ii") if shifts is not None else (),
        sync=tuple(number for (number,) in _entries(sync, ">I")) if sync is not None else None,
        samples=samples,
        edits=_edits(edits) if edits is not None else (),
    )


def _description(data: memoryview) -> tuple[str, bytes]:
    """Format and decoder configuration (the boxes behind the fixed fields) of the only sample description."""
    (count,) = _unpack(">I", data, 4)
    if count != 1:
        raise BrokenIndex(f"a track has {count} sample descriptions")
    form, body = next(_boxes(data[8:]), (b"", memoryview(b"")))
    return form.decode("latin-1"), bytes(body)


def _runs(data: memoryview, layout: str) -> tuple[Run, ...]:
    return tuple(Run(count=count, value=value) for count, value in _entries(data, layout))


def _edits(data: memoryview) -> tuple[Edit, ...]:
    layout = ">QqI" if _byte(data, 0) == 1 else ">IiI"
    return tuple(Edit(length=length, media=media) for length, media, _rate in _entries(data, layout))


def _entries(data: memoryview, layout: str) -> Iterator[tuple[int, ...]]:
    """The entries of a table: version and flags, a count, then the entries."""
    (count,) = _unpack(">I", data, 4)
    width = struct.calcsize(layout)
    if count * width > len(data) - 8:
        raise BrokenIndex("a table claims more entries than it has room for")
    return struct.iter_unpack(layout, data[8 : 8 + count * width])


def _unpack(layout: str, data: memoryview, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(layout, data, at)
    except struct.error as error:
        raise BrokenIndex("a box is too short for what it must hold") from error


def _byte(data: memoryview, at: int) -> int:
    if at >= len(data):
        raise BrokenIndex("a box is too short for what it must hold")
    return data[at]
