"""A real ffmpeg that does what a test wants: held, slow, or failing; and a library of clips to start from."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, Phase, settings
from serving import API, Serving, serving

from vcompose.jobs.service import Limits, open_service
from vcompose.media.tools import Tools

_T = TypeVar("_T")

UNSHRUNK: Final = (Phase.explicit, Phase.reuse, Phase.generate)
# pytest --hypothesis-profile=unshrunk: where it matters that a property fails, and not how simply
settings.register_profile("unshrunk", phases=UNSHRUNK)

PATIENCE: Final = 30.0
"""Seconds after which a test says that something hangs; nothing is expected to take a tenth of it."""
AT_ONCE: Final = Limits(grace=0.0, keep_free=0, jobs=2, parallel=2)

_SCRIPT: Final = """#!/bin/sh
# the real program, when the test lets it
here=${{0%/*}}
case " $* " in *" -version "*) exec '{real}' "$@" ;; esac
echo >"$here/begun"
while [ -e "$here/hold" ]; do sleep 0.02; done
if [ -e "$here/fail" ]; then
    echo "made to fail" >&2
    exit 1
fi
case " $* " in
*" -progress "*)
    if [ -e "$here/slow" ]; then
        for part in 1 2 3 4 5 6 7 8 9; do
            # a tenth each of clips that have ten pictures; two of them in a film for the time
            printf 'frame=%d\\nout_time_us=%d\\nprogress=continue\\n' $part $((part * 80000))
            sleep 0.1
        done
    fi
    ;;
esac
exec '{real}' "$@"
"""


class Scripted:
    """Programs of which ffmpeg is a script: ``tools`` are for a service, the rest says what it shall do."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        path = folder / "ffmpeg"
        path.write_text(_SCRIPT.format(real=tools.ffmpeg.path), encoding="utf-8")
        path.chmod(0o755)
        self.path = path
        self.tools = replace(tools, ffmpeg=replace(tools.ffmpeg, path=str(path)))

    def reset(self) -> None:
        """Do as the real one does."""
        for name in ("hold", "fail", "slow", "begun"):
            (self._folder / name).unlink(missing_ok=True)

    def fail(self) -> None:
        """Whatever it is asked for from now on fails."""
        (self._folder / "fail").touch()

    def slow(self) -> None:
        """Encoding and joining take about a second, and tell each tenth of it."""
        (self._folder / "slow").touch()

    def hold(self) -> None:
        """Nothing begins until :meth:`release`."""
        (self._folder / "hold").touch()

    def release(self) -> None:
        """What was held goes on."""
        (self._folder / "hold").unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold whatever begins in the block."""
        self.hold()
        try:
            yield
        finally:
            self.release()

    async def begun(self) -> None:
        """Wait until a child has begun since the last :meth:`reset`."""
        async with asyncio.timeout(PATIENCE):
            while not (self._folder / "begun").exists():
                await asyncio.sleep(0.005)


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A data folder that holds clips already, to be copied: a test begins with them in no time."""

    folder: Path
    clips: tuple[str, ...]

    def copy(self, place: Path) -> Path:
        """A data folder of one's own, beneath ``place``."""
        return shutil.copytree(self.folder, place / secrets.token_hex(8))


async def stocked(folder: Path, tools: Tools, paths: Sequence[Path]) -> Library:
    """A library of clips, each file uploaded as often as it is named."""
    clips: list[str] = []
    async with open_service(folder, tools, AT_ONCE) as service:
        for path in paths:
            async with service.receive(path.name) as incoming:
                await incoming.write(path.read_bytes())
                clips.append((await service.add(incoming)).id)
    return Library(folder=folder, clips=tuple(clips))


@contextlib.asynccontextmanager
async def staged(
    place: Path, library: Library, script: Scripted, *, limits: Limits = AT_ONCE
) -> AsyncIterator[Serving]:
    """A service on a fresh copy of a library, under ``place``; its ffmpeg begins as the real one."""
    script.reset()
    data = library.copy(place)
    try:
        async with serving(data, script.tools, limits=limits) as running:
            yield running
    finally:
        shutil.rmtree(data, ignore_errors=True)


async def half_an_upload(url: str, folder: Path) -> asyncio.StreamWriter:
    """Send the first part of a clip, and no more; returns when the server has written some of it down."""
    host, _, port = url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {API}/clips HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 30}\r\n"
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + bytes(3 << 20)
    writer.write(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + form)
    await writer.drain()
    while not list((folder / "incoming").iterdir()):
        await asyncio.sleep(0.005)
    return writer


def play(scene: Coroutine[Any, Any, _T]) -> _T:
    """Play a scene in a loop of its own; one that hangs fails."""

    async def bounded() -> _T:
        async with asyncio.timeout(PATIENCE):
            return await scene

    return asyncio.run(bounded())


def few(examples: int) -> settings:
    """Settings for properties of the real service: an example takes long, so there are few, and none is shrunk."""
    return settings(
        max_examples=examples,
        deadline=None,
        report_multiple_bugs=False,
        phases=UNSHRUNK,
        suppress_health_check=list(HealthCheck),
    )
