"""What ffmpeg says with ``-progress pipe:1``: bytes in, values out, no process.

ffmpeg writes blocks of ``key=value`` lines, each closed by ``progress=continue`` or ``progress=end``. Traps that
were measured: ``out_time_ms`` is microseconds (so ``out_time_us`` is read); it follows the furthest stream, may go
backwards, and is ``N/A`` while an encoder flushes; a short job says only ``progress=end``; and a child ended by
SIGTERM says ``progress=end`` too, so the word says nothing about success.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_DIGITS: Final = 18
_LONGEST: Final = 4096
"""A line longer than this many bytes is not ffmpeg's progress; it is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block: frames written, seconds of output, bytes written, speed (1.0 is real time); None: not said."""

    frame: int | None
    seconds: float | None
    size: int | None
    speed: float | None
    dropped: int | None
    ended: bool


class Parser:
    """Feed it bytes cut anywhere; it gives the blocks that are complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False
        self._fields: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> list[Block]:
        """The blocks that ``data`` completes. Unknown keys and broken lines are ignored."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        blocks: list[Block] = []
        for line in lines:
            if self._skipping:
                self._skipping = False
                continue
            key, found, value = line.strip().partition(b"=")
            if not found or len(line) > _LONGEST:
                continue
            if key == b"progress":
                blocks.append(self._block(ended=value.strip() == b"end"))
                self._fields.clear()
            elif key in _KEYS:
                self._fields[key] = value.strip()
        if len(self._rest) > _LONGEST:
            self._rest, self._skipping = b"", True
        return blocks

    def _block(self, *, ended: bool) -> Block:
        microseconds = _integer(self._fields.get(b"out_time_us"))
        return Block(
            frame=_integer(self._fields.get(b"frame")),
            seconds=None if microseconds is None else microseconds / 1e6,
            size=_integer(self._fields.get(b"total_size")),
            speed=_number(self._fields.get(b"speed")),
            dropped=_integer(self._fields.get(b"drop_frames")),
            ended=ended,
        )


_KEYS: Final = frozenset({b"frame", b"out_time_us", b"total_size", b"speed", b"drop_frames"})


def _integer(value: bytes | None) -> int | None:
    if value is None or len(value) > _DIGITS:
        return None
    try:
        return int(value)
    except ValueError:  # N/A
        return None


def _number(value: bytes | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value.removesuffix(b"x"))
    except ValueError:  # N/A
        return None
    return number if 0 <= number < 1e9 else None
