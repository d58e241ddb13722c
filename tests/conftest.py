"""What all tests share: the programs, real clips where they lie, made clips, and a place for temporary files."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from scripted import Library, Scripted, stocked
from serving import Serving, serving

from vcompose.library import tools_of
from vcompose.media.tools import Tools
from vcompose.settings import Settings

SHARED = Path(__file__).parents[2] / "shared" / "media"
"""Real clips by strangers, beside the project where they are present; none of them is in it."""

MakeClip = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell that starts the tests in the background has them ignore SIGINT, and vcompose respects that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The programs that vcompose itself would take."""
    return asyncio.run(tools_of(Settings()))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips."""
    if not SHARED.is_dir():
        pytest.skip(f"no real clips: {SHARED} is absent")
    return SHARED


@pytest.fixture(scope="session")
def ffmpeg(tools: Tools) -> Callable[..., None]:
    """Run ffmpeg with arguments of the test's own; a failure fails the test."""

    def run(*arguments: str | os.PathLike[str]) -> None:
        subprocess.run(
            [tools.ffmpeg.path, "-hide_banner", "-nostdin", "-v", "error", "-y", *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture(scope="session")
def make_clip(ffmpeg: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> MakeClip:
    """Make a clip (once for each set of arguments): moving pictures, and a sound that is like no other part of
    itself, so that it can be found again in a film.

    ``extra`` are output options of ffmpeg; ``sound`` None makes a silent clip.
    """
    folder = tmp_path_factory.mktemp("clips")
    made: dict[tuple[object, ...], Path] = {}

    def make(
        name: str = "clip.mp4",
        *,
        size: str = "320x240",
        rate: str = "25",
        seconds: float = 2.0,
        sound: int | None = 48_000,
        channels: int = 2,
        seed: int = 1,
        codec: str = "libx264",
        extra: tuple[str, ...] = (),
    ) -> Path:
        key = (name, size, rate, seconds, sound, channels, seed, codec, extra)
        if key in made:
            return made[key]
        place = folder / f"{len(made)}-{os.getpid()}"
        place.mkdir()
        path = place / name
        picture = f"testsrc2=size={size}:rate={rate}:duration={seconds},hue=h={seed * 47}"
        heard: tuple[str, ...] = ()
        if sound is not None:
            noise = f"anoisesrc=duration={seconds}:sample_rate={sound}:amplitude=0.3:seed={seed}:color=pink"
            heard = ("-f", "lavfi", "-i", noise, "-ac", str(channels))
        fast = ("-preset", "ultrafast", "-x264-params", "open-gop=0") if codec == "libx264" else ()
        # no -shortest: each stream keeps its own length
        ffmpeg("-f", "lavfi", "-i", picture, *heard, "-pix_fmt", "yuv420p", "-c:v", codec, *fast, *extra, path)
        made[key] = path
        return path

    return make


@pytest.fixture
async def service(tmp_path: Path, tools: Tools) -> AsyncIterator[Serving]:
    """A running service on an empty data folder."""
    async with serving(tmp_path / "data", tools) as running:
        yield running


@pytest.fixture(scope="session")
def library(make_clip: MakeClip, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A data folder with three tiny clips: two that fit together, and one of another size."""
    small = [make_clip(f"{n}.mp4", seed=n, size="64x64", seconds=0.4) for n in (1, 2)]
    other = make_clip("other.mp4", seed=3, size="80x64", seconds=0.4)
    return asyncio.run(stocked(tmp_path_factory.mktemp("library") / "data", tools, [*small, other]))


@pytest.fixture(scope="session")
def script(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Scripted:
    """An ffmpeg that can be held, slow, or made to fail."""
    return Scripted(tmp_path_factory.mktemp("script"), tools)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the data folders of a property's examples."""
    return tmp_path_factory.mktemp("staged")
