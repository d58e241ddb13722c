"""Which ffmpeg and ffprobe are run, with programs that only print a version."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from vcompose.media import tools
from vcompose.media.errors import ToolError
from vcompose.media.tools import Tool, Tools, find_tools
from vcompose.settings import search_path

Name = Literal["ffmpeg", "ffprobe"]


def program(folder: Path, name: str, version: str = "9.0.2", *, script: str | None = None) -> Path:
    """A program that prints the version line that ffmpeg would."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    line = f"{name} version {version} Copyright (c) 2000-2026 the FFmpeg developers"
    path.write_text("#!/bin/sh\n" + (script or f"echo '{line}'; echo 'built with gcc'") + "\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def unbundled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bundled programs."""
    monkeypatch.setattr(tools, "_bundled", lambda name: None)


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """An ffprobe that is new enough."""
    return program(tmp_path / "probe", "ffprobe")


async def found(ffmpeg: Path, probe: Path, *, allow_old: bool = False) -> Tool:
    both = await find_tools(search_path=search_path(), ffmpeg=ffmpeg, ffprobe=probe, allow_old=allow_old)
    return both.ffmpeg


async def refused(ffmpeg: Path, probe: Path, *, allow_old: bool = False) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await found(ffmpeg, probe, allow_old=allow_old)
    assert str(ffmpeg) in caught.value.detail
    return caught.value


# ---- versions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("5.1.10", "5.1.10"),
        ("6.1.6", "6.1.6"),
        ("7.1.5", "7.1.5"),
        ("8.1.2", "8.1.2"),
        ("9.0", "9.0.0"),
        ("10.2", "10.2.0"),
        ("n7.1.5-3-gabcdef", "7.1.5"),
        ("5.1.10-0+deb12u1", "5.1.10"),
        ("9.0.2-static https://example.org/", "9.0.2"),
        ("8.2", "8.2.0"),
        ("7.1.12", "7.1.12"),
    ],
)
async def test_new_enough(version: str, known: str, tmp_path: Path, probe: Path) -> None:
    path = program(tmp_path / "bin", "ffmpeg", version)
    assert await found(path, probe) == Tool(path=str(path), version=known, origin="setting")


OLD = ("5.1.9", "6.1.5", "7.1.4", "8.1.1", "4.4", "6.0", "7.0.2", "8.0", "5.1.9-0+deb12u1", "n6.1.5", "0.11", "5.0.99")
UNKNOWN = ("N-118000-g1234567", "git-2026-01-01", "2026-01-01-git-abcdef", "")


@pytest.mark.parametrize("version", [*OLD, *UNKNOWN])
async def test_too_old_or_unknown(version: str, tmp_path: Path, probe: Path) -> None:
    error = await refused(program(tmp_path / "bin", "ffmpeg", version), probe)
    assert error.code == "tool_too_old"
    assert version in error.detail
    assert "VCOMPOSE_ALLOW_OLD_FFMPEG" in error.detail
    assert "VCOMPOSE_FFMPEG" in error.detail


@pytest.mark.parametrize("version", [*OLD, *UNKNOWN])
async def test_allowed_all_the_same(version: str, tmp_path: Path, probe: Path) -> None:
    path = program(tmp_path / "bin", "ffmpeg", version)
    assert (await found(path, probe, allow_old=True)).path == str(path)


async def test_unknown_versions_are_told_apart(tmp_path: Path, probe: Path) -> None:
    # the version is part of every step's id
    one = await found(program(tmp_path / "1", "ffmpeg", "N-1-gaaa"), probe, allow_old=True)
    two = await found(program(tmp_path / "2", "ffmpeg", "N-2-gbbb"), probe, allow_old=True)
    assert one.version != two.version


async def test_an_old_ffprobe_is_refused_too(tmp_path: Path) -> None:
    old = program(tmp_path / "bin", "ffprobe", "5.1.9")
    with pytest.raises(ToolError, match="VCOMPOSE_FFPROBE") as caught:
        await found(program(tmp_path / "bin", "ffmpeg"), old)
    assert caught.value.code == "tool_too_old"


async def test_only_the_first_line_counts(tmp_path: Path, probe: Path) -> None:
    script = "echo 'ffmpeg version N-1'; echo 'libx264 version 9.0.2'"
    assert (await refused(program(tmp_path / "bin", "ffmpeg", script=script), probe)).code == "tool_too_old"


# ---- which one ---------------------------------------------------------------------------------------------------


def bundle(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(tools, "_bundled", lambda name: str(program(folder, name)))


async def located(system: Path, *, ffmpeg: Path | None = None) -> Tools:
    return await find_tools(search_path=f"{system}:{search_path()}", ffmpeg=ffmpeg)


async def test_a_setting_before_the_bundled_before_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "system"
    for name in ("ffmpeg", "ffprobe"):
        program(system, name)
    bundle(monkeypatch, tmp_path / "bundled")
    mine = program(tmp_path / "mine", "ffmpeg")
    both = await located(system, ffmpeg=mine)
    assert (both.ffmpeg.origin, both.ffmpeg.path) == ("setting", str(mine))
    # each program by itself
    assert (both.ffprobe.origin, both.ffprobe.path) == ("bundled", str(tmp_path / "bundled" / "ffprobe"))
    both = await located(system)
    assert (both.ffmpeg.origin, both.ffmpeg.path) == ("bundled", str(tmp_path / "bundled" / "ffmpeg"))
    monkeypatch.setattr(tools, "_bundled", lambda name: None)
    both = await located(system)
    assert (both.ffmpeg.origin, both.ffmpeg.path) == ("system", str(system / "ffmpeg"))
    assert (both.ffprobe.origin, both.ffprobe.path) == ("system", str(system / "ffprobe"))


@pytest.mark.usefixtures("unbundled")
async def test_the_first_on_the_path(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        program(folder, "ffmpeg")
        program(folder, "ffprobe")
    both = await find_tools(search_path=f"{first}:{second}:{search_path()}")
    assert both.ffmpeg.path == str(first / "ffmpeg")


@pytest.mark.usefixtures("unbundled")
async def test_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="install vcompose") as caught:
        await find_tools(search_path=str(tmp_path))
    assert caught.value.code == "tool_missing"


async def test_a_setting_that_names_nothing_is_not_passed_over(tmp_path: Path, probe: Path) -> None:
    error = await refused(tmp_path / "absent", probe)
    assert error.code == "tool_missing"
    assert "VCOMPOSE_FFMPEG" in error.detail
    assert (await refused(tmp_path, probe)).code == "tool_missing"


async def test_a_setting_relative_to_where_we_are(tmp_path: Path, probe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "ffmpeg")
    monkeypatch.chdir(tmp_path)
    assert (await found(Path("bin/ffmpeg"), probe)).path == str(tmp_path / "bin" / "ffmpeg")


# ---- programs that do not run ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script", ["echo 'ffmpeg version 9.0.2'; exit 1", "kill -9 $$", "exit 127", "exec /nowhere/at/all"]
)
@pytest.mark.parametrize("allow_old", [False, True])
async def test_a_program_that_fails(script: str, allow_old: bool, tmp_path: Path, probe: Path) -> None:
    error = await refused(program(tmp_path / "bin", "ffmpeg", script=script), probe, allow_old=allow_old)
    assert error.code == "tool_broken"


async def test_a_program_that_is_none(tmp_path: Path, probe: Path) -> None:
    path = tmp_path / "ffmpeg"
    path.write_bytes(b"\x7fELF nothing")
    path.chmod(0o755)
    assert (await refused(path, probe)).code == "tool_broken"
    path.chmod(0o644)
    assert (await refused(path, probe)).code == "tool_broken"


async def test_a_program_that_says_nothing(tmp_path: Path, probe: Path) -> None:
    error = await refused(program(tmp_path / "bin", "ffmpeg", script="true"), probe)
    assert error.code == "tool_too_old"
    assert "no version told" in error.detail


async def test_a_version_in_no_known_letters(tmp_path: Path, probe: Path) -> None:
    script = r"printf 'ffmpeg \377\376 version 9.0.2\n'"
    assert (await found(program(tmp_path / "bin", "ffmpeg", script=script), probe)).version == "9.0.2"


async def test_the_guards_are_found_where_the_path_says(tmp_path: Path) -> None:
    both = await find_tools(
        search_path=str(tmp_path), ffmpeg=program(tmp_path, "ffmpeg"), ffprobe=program(tmp_path, "ffprobe")
    )
    assert (both.guard.setpriv, both.guard.prlimit) == (None, None)


def test_the_programs_of_this_run_are_safe(tools: Tools) -> None:
    for tool in (tools.ffmpeg, tools.ffprobe):
        assert Path(tool.path).is_file()
        assert tool.version[0].isdigit()
