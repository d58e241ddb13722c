"""Sample clips: a moving picture with a number on it and a tone, made by ffmpeg alone.

The number is drawn as seven segments with ``drawbox``, for ``drawtext`` fails where no font is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vcompose.media.child import Command, run
from vcompose.media.tools import Tools

_LIT: Final = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
"""The segments of each digit: a on top, then clockwise b, c, d, e, f, and g in the middle."""

_SOUND_CODECS: Final = {"avi": "libmp3lame", "webm": "libopus"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample clip; ``tone`` in Hz, None for a clip without sound; ``seconds`` long."""

    number: int
    size: tuple[int, int]
    rate: str
    codec: str
    suffix: str
    tone: int | None
    seconds: float = 3.0


async def make_sample(sample: Sample, folder: Path, tools: Tools) -> Path:
    """Make a sample clip in ``folder``, unless it is there already; gives its path."""
    path = folder / f"sample-{sample.number}.{sample.suffix}"
    if path.exists():
        return path
    width, height = sample.size
    picture = f"testsrc2=size={width}x{height}:rate={sample.rate}:duration={sample.seconds}"
    sound: tuple[str, ...] = ()
    if sample.tone is not None:
        sound = (
            "-f", "lavfi", "-i", f"sine=frequency={sample.tone}:sample_rate=48000:duration={sample.seconds}",
            "-c:a", _SOUND_CODECS.get(sample.suffix, "aac"),
        )  # fmt: skip
    fast = ("-preset", "veryfast") if sample.codec == "libx264" else ("-b:v", "1500k")
    quick = ("-deadline", "realtime", "-cpu-used", "8") if sample.codec.startswith("libvpx") else ()
    part = path.with_name(f"{path.stem}.part.{sample.suffix}")
    command = Command(
        argv=(
            tools.ffmpeg.path, "-hide_banner", "-nostdin", "-v", "error", "-f", "lavfi", "-i", picture, *sound,
            "-vf", number_filter(sample.number, width, height), "-pix_fmt", "yuv420p", "-c:v", sample.codec, *fast,
            *quick, "-shortest", "-y", f"file:{part.name}",
        ),
        folder=folder.absolute(),
        guard=tools.guard,
    )  # fmt: skip
    try:
        await run(command, lambda data: None)
        return part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def number_filter(number: int, width: int, height: int) -> str:
    """``drawbox`` filters that write ``number`` in white on a dark plate in the middle of the picture."""
    digits = str(number)
    unit = max(2, min(width // (6 * len(digits) + 2), height // 12))
    left = (width - unit * (6 * len(digits) - 2)) // 2
    top = (height - unit * 9) // 2
    plate = (left - unit, top - unit, unit * 6 * len(digits), unit * 11)
    boxes = [_box(*plate, "black@0.7")]
    for place, digit in enumerate(digits):
        x = left + place * unit * 6
        strokes = {
            "a": (x, top, 4, 1), "b": (x + 3 * unit, top, 1, 5), "c": (x + 3 * unit, top + 4 * unit, 1, 5),
            "d": (x, top + 8 * unit, 4, 1), "e": (x, top + 4 * unit, 1, 5), "f": (x, top, 1, 5),
            "g": (x, top + 4 * unit, 4, 1),
        }  # fmt: skip
        boxes += [
            _box(strokes[s][0], strokes[s][1], strokes[s][2] * unit, strokes[s][3] * unit, "white")
            for s in _LIT[int(digit)]
        ]
    return ",".join(boxes)


def _box(x: int, y: int, width: int, height: int, color: str) -> str:
    return f"drawbox=x={x}:y={y}:w={width}:h={height}:color={color}:t=fill"
