"""Clips for the load: a few made with ffmpeg, and from each as many with other bytes as are wanted.

Bytes behind the last box of an MP4 are a ``free`` box: the clip stays what it is, and its hash is another.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vcompose.media.tools import Tools

_SALT: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A made clip: its bytes, and the seconds that it lasts."""

    name: str
    data: bytes
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    size: str
    seconds: float
    hue: int = 0
    noise: int = 0
    more: tuple[str, ...] = ()


_KINDS: Final = {
    # these two are of one kind: joined, their pictures are copied
    "small-one": _Recipe(size="320x240", seconds=2.0),
    "small-two": _Recipe(size="320x240", seconds=3.0, hue=90),
    # its bytes take a while to join
    "large": _Recipe(
        size="960x540",
        seconds=2.0,
        noise=60,
        more=("-b:v", "40M", "-minrate", "40M", "-bufsize", "8M"),
    ),
    # its pictures take a while to encode, and are many bytes when they are
    "long": _Recipe(size="640x360", seconds=4.0, noise=16, more=("-crf", "30")),
}
COPIED: Final = ("small-one", "small-two")
LARGE: Final = "large"
LONG: Final = "long"


def salted(base: Base, salt: bytes) -> bytes:
    """The clip with other bytes; ``salt`` are :data:`SALT` of them."""
    assert len(salt) == _SALT
    return base.data + struct.pack(">I4s", 8 + len(salt), b"free") + salt


SALT: Final = _SALT


async def make(folder: Path, tools: Tools) -> dict[str, Base]:
    """Make them, two at a time."""
    gate = asyncio.Semaphore(2)

    async def one(name: str, recipe: _Recipe) -> Base:
        path = folder / f"{name}.mp4"
        picture = f"testsrc2=size={recipe.size}:rate=25:duration={recipe.seconds},hue=h={recipe.hue}"
        if recipe.noise:
            picture += f",noise=alls={recipe.noise}:allf=t"
        sound = f"anoisesrc=duration={recipe.seconds}:sample_rate=48000:amplitude=0.3:color=pink"
        async with gate:
            await ffmpeg(
                tools, "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-ac", "2", "-pix_fmt", "yuv420p",
                "-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "open-gop=0", *recipe.more, str(path),
            )  # fmt: skip
        return Base(name=name, data=path.read_bytes(), seconds=recipe.seconds)

    made = await asyncio.gather(*(one(name, recipe) for name, recipe in _KINDS.items()))
    return {base.name: base for base in made}


async def ffmpeg(tools: Tools, *arguments: str) -> str:
    """Run ffmpeg to its end; gives what it complained of, and raises where it failed."""
    process = await asyncio.create_subprocess_exec(
        tools.ffmpeg.path, "-hide_banner", "-nostdin", "-v", "error", "-y", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, words = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"ffmpeg failed with {process.returncode}: {words.decode(errors='replace')}")
    return words.decode(errors="replace").strip()


def seconds(bases: Sequence[Base]) -> float:
    """How long a film of these is."""
    return sum(base.seconds for base in bases)
