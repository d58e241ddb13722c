"""The command line as people and programs use it: a process, its exit code, what it prints."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeClip

import vcompose
from vcompose.media.errors import MediaError


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a call of the command line did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def run(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "vcompose", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **environment},
        timeout=100,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture
def pair(make_clip: MakeClip, tmp_path: Path) -> tuple[Path, Path]:
    """Two clips of different kinds."""
    one, other = tmp_path / "beach.mp4", tmp_path / "party (1).mp4"
    shutil.copy(make_clip(seconds=1.0), one)
    shutil.copy(make_clip(seconds=1.0, size="160x240", rate="30", seed=2), other)
    return one, other


def test_join_says_what_was_done(pair: tuple[Path, Path], tmp_path: Path) -> None:
    ran = run("join", *pair, "-o", tmp_path / "film.mp4")
    assert ran.code == 0
    assert (tmp_path / "film.mp4").is_file()
    assert str(tmp_path / "film.mp4") in ran.out
    assert "160x240 instead of 320x240" in ran.out
    assert "100 %" in ran.err
    assert "\r" not in ran.err  # plain lines where no terminal is
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beach.mp4", "film.mp4", "party (1).mp4"]


def test_join_as_json(pair: tuple[Path, Path], tmp_path: Path) -> None:
    ran = run("join", *pair, "-o", "film.mp4", "--json", cwd=tmp_path)
    assert ran.code == 0
    document = ran.document
    assert document["output"] == str(tmp_path / "film.mp4")
    assert document["bytes"] == (tmp_path / "film.mp4").stat().st_size
    assert abs(document["duration"] - 2) < 0.1
    assert [clip["clip"] for clip in document["clips"]] == [str(path) for path in pair]
    assert {clip["treatment"] for clip in document["clips"]} == {"encode"}
    assert document["clips"][1]["reasons"][0]["code"] == "other_size"
    assert ran.err == ""


def test_copies_what_fits(make_clip: MakeClip, tmp_path: Path) -> None:
    ran = run("join", make_clip(seed=3), make_clip(seed=4), "-o", tmp_path / "film.mp4")
    assert ran.code == 0
    assert ran.out.count("picture copied untouched") == 2


def test_plan_makes_nothing(pair: tuple[Path, Path], tmp_path: Path) -> None:
    ran = run("join", *pair, "-o", tmp_path / "film.mp4", "--plan", "--size", "640x480", "--fps", "29.97")
    assert ran.code == 0
    assert "640x480, 29.97 fps" in ran.out
    assert not (tmp_path / "film.mp4").exists()
    document = run("join", *pair, "-o", tmp_path / "film.mp4", "--plan", "--json").document
    assert [step["kind"] for step in document["steps"]] == ["encode", "encode", "sound", "join"]
    assert "beach" not in json.dumps(document["steps"])


def test_probe(pair: tuple[Path, Path]) -> None:
    ran = run("probe", *pair)
    assert ran.code == 0
    assert "h264 160x240" in ran.out
    document = run("probe", pair[1], "--json").document
    assert document["clips"][0]["video"]["shown_size"] == "160x240"
    assert document["clips"][0]["video"]["fps"] == "30/1"
    assert document["clips"][0]["audio"]["sample_rate"] == 48_000


@pytest.mark.parametrize(
    ("name", "options", "shown"),
    [
        ("contain", ("--fit", "contain"), "240x240"),
        ("cover", ("--fit", "cover"), "240x240"),
        ("blur", ("--fit", "blur", "--quality", "low"), "240x240"),
        ("stretch", ("--fit", "stretch", "--quality", "high"), "240x240"),
    ],
)
def test_options(name: str, options: tuple[str, ...], shown: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    film = tmp_path / f"{name}.mp4"
    assert run("join", *pair, "-o", film, "--size", shown, "--fps", "10", *options).code == 0
    video = run("probe", film, "--json").document["clips"][0]["video"]
    assert (video["shown_size"], video["fps"], video["sample_aspect"]) == (shown, "10/1", "1/1")


def test_help_teaches() -> None:
    assert "join" in run("--help").out
    text = run("join", "--help").out
    for word in ("--size", "--fps", "--fit", "--quality", "--plan", "--json", "Example", "130"):
        assert word in text
    assert run("--version").out == f"vcompose {vcompose.__version__}\n"


def bad_calls(folder: Path, clip: Path, other: Path) -> dict[str, tuple[list[str | Path], int, str, str]]:
    """Every wrong call: arguments, exit code, error code, and what the sentence must name."""
    text = folder / "notes.mp4"
    text.write_text("ffconcat version 1.0\nfile secret\n")
    empty = folder / "nothing.mov"
    empty.touch()
    there = folder / "there.mp4"
    there.write_bytes(b"precious")
    film = folder / "film.mp4"
    two: list[str | Path] = [clip, other]
    return {
        "one clip": ([clip, "-o", film], 2, "too_few_clips", "two"),
        "absent": ([clip, folder / "gone.mp4", "-o", film], 1, "not_found", "gone.mp4"),
        "folder": ([clip, folder, "-o", film], 1, "not_a_file", folder.name),
        "playlist": ([clip, text, "-o", film], 1, "playlist_refused", "notes.mp4"),
        "empty": ([clip, empty, "-o", film], 1, "empty_file", "nothing.mov"),
        "film exists": ([*two, "-o", there], 2, "output_exists", "there.mp4"),
        "film is a clip": ([*two, "-o", clip, "--overwrite"], 2, "output_is_input", clip.name),
        "no such folder": ([*two, "-o", folder / "no" / "film.mp4"], 2, "output_folder_missing", "no"),
        "other kind of film": ([*two, "-o", folder / "film.avi"], 2, "output_type", "film.mp4"),
        "no size": ([*two, "-o", film, "--size", "big"], 2, "bad_size", "1920x1080"),
        "odd size": ([*two, "-o", film, "--size", "641x480"], 2, "bad_size", "642x480"),
        "huge size": ([*two, "-o", film, "--size", "99998x2"], 2, "bad_size", "8192"),
        "no rate": ([*two, "-o", film, "--fps", "fast"], 2, "bad_fps", "25"),
        "endless rate": ([*two, "-o", film, "--fps", "1/0"], 2, "bad_fps", "25"),
        "cannot copy": ([*two, "-o", film, "--mode", "copy"], 2, "cannot_copy", other.name),
    }


BAD_CALLS = tuple(bad_calls(Path(tempfile.mkdtemp()), Path("one.mp4"), Path("other.mp4")))


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls_say_what_is_wrong(case: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "place"
    folder.mkdir()
    arguments, code, error_code, named = bad_calls(folder, *pair)[case]
    before = sorted(folder.rglob("*"))
    ran = run("join", *arguments, "--json")
    assert ran.code == code, ran
    error = ran.document["error"]
    assert error["code"] == error_code
    assert named in error["detail"]
    assert error["detail"] in ran.err
    assert sorted(folder.rglob("*")) == before, "something was left behind"
    assert (folder / "there.mp4").read_bytes() == b"precious"


def test_all_bad_clips_are_named_at_once(pair: tuple[Path, Path], tmp_path: Path) -> None:
    ran = run("join", pair[0], tmp_path / "gone.mp4", tmp_path / "lost.mp4", "-o", tmp_path / "film.mp4")
    assert ran.code == 1
    assert "gone.mp4" in ran.err
    assert "lost.mp4" in ran.err


def test_unknown_option_and_no_film() -> None:
    assert run("join", "a.mp4", "b.mp4").code == 2
    assert run("join", "a.mp4", "b.mp4", "-o", "c.mp4", "--fit", "squash").code == 2
    assert run("jion").code == 2


def test_overwrite_when_asked(pair: tuple[Path, Path], tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"old")
    assert run("join", *pair, "-o", film, "--overwrite").code == 0
    assert film.stat().st_size > 1000


def test_a_missing_program_is_told(pair: tuple[Path, Path], tmp_path: Path) -> None:
    ran = run("join", *pair, "-o", tmp_path / "film.mp4", "--json", VCOMPOSE_FFMPEG="/no/such/ffmpeg")
    assert ran.code == 1
    assert ran.document["error"]["code"] == "tool_missing"
    assert "VCOMPOSE_FFMPEG" in ran.err


def test_names_that_look_like_options(make_clip: MakeClip, tmp_path: Path) -> None:
    shutil.copy(make_clip(seconds=1.0), tmp_path / "-i.mp4")
    shutil.copy(make_clip(seconds=1.0, seed=2), tmp_path / "te[s]t ' \" %d.mp4")
    ran = run("join", "-o", "film.mp4", "--", "-i.mp4", "te[s]t ' \" %d.mp4", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "te[s]t ' \" %d.mp4" in ran.out


def test_bar_on_a_terminal(pair: tuple[Path, Path], tmp_path: Path) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vcompose", "join", *map(str, pair), "-o", str(tmp_path / "film.mp4")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=child,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(child)
    seen = b""
    while True:
        try:
            data = os.read(parent, 4096)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        seen += data
    os.close(parent)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 0
    assert "━" in seen.decode()
    assert b"encoding" in seen


def test_demo(tmp_path: Path) -> None:
    ran = run("demo", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert (tmp_path / "vcompose-demo" / "sample-film.mp4").is_file()
    assert "100 %" in ran.err
    assert run("demo", cwd=tmp_path).code == 0, "a second time"


def test_library_call(pair: tuple[Path, Path], tmp_path: Path, ffmpeg: Callable[..., None]) -> None:
    told: list[int] = []
    film = vcompose.join(pair, tmp_path / "film.mp4", tell=lambda report: told.append(report.percent))
    assert film.path == tmp_path / "film.mp4"
    assert told == sorted(told)
    assert told[-1] == 100
    assert told.count(100) == 1
    ffmpeg("-xerror", "-i", film.path, "-f", "null", "-")
    with pytest.raises(MediaError) as caught:
        vcompose.join(pair, tmp_path / "film.mp4")
    assert caught.value.code == "output_exists"
