"""Ten conforming clips, about 100 MB: the join beside ``cat`` of the same bytes, and beside ffmpeg's concat demuxer.

    ./dev bench joining [--runs N] [--folder FOLDER]

Every run is printed. The join is timed inside a started process, from the call to its return; ``cat`` is a copy of the
same bytes by the kernel, flushed to disk. The ways take turns, so that a slow minute hits all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vcompose.media.tools import Tools, find_tools
from vcompose.settings import search_path

CLIPS: Final = 10
SECONDS: Final = 10
BITS: Final = "8500k"

TIMED_JOIN: Final = """
import sys, time, vcompose
begun = time.monotonic()
film = vcompose.join(sys.argv[2:], sys.argv[1], overwrite=True)
print(time.monotonic() - begun, film.plan.copies)
"""


def make_clips(folder: Path, tools: Tools) -> list[Path]:
    """Ten different clips of one kind, 1080p with stereo sound; kept from one call to the next."""
    clips: list[Path] = []
    for number in range(CLIPS):
        path = folder / f"clip-{number}.mp4"
        clips.append(path)
        if path.exists():
            continue
        picture = f"testsrc2=size=1920x1080:rate=30:duration={SECONDS},noise=alls=12:allf=t:all_seed={number}"
        sound = f"anoisesrc=duration={SECONDS}:sample_rate=48000:amplitude=0.2:seed={number}:color=pink"
        part = path.with_suffix(".part.mp4")
        subprocess.run(
            [
                tools.ffmpeg.path, "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", picture,
                "-f", "lavfi", "-i", sound, "-ac", "2", "-pix_fmt", "yuv420p",
                "-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "open-gop=0",
                "-b:v", BITS, "-maxrate", BITS, "-bufsize", "8M", "-c:a", "aac", "-b:a", "192k", str(part),
            ],
            check=True,
        )  # fmt: skip
        part.rename(path)
    return clips


def ours(clips: list[Path], folder: Path) -> float:
    """The library call, timed inside its process."""
    said = subprocess.run(
        [sys.executable, "-c", TIMED_JOIN, str(folder / "film.mp4"), *map(str, clips)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert said[1] == "True", "something was encoded"
    return float(said[0])


def cat(clips: list[Path], folder: Path) -> float:
    """The limit: the same bytes, copied and flushed."""
    begun = time.monotonic()
    with (folder / "cat.bin").open("wb") as out:
        for clip in clips:
            with clip.open("rb") as data:
                left = clip.stat().st_size
                while left:
                    left -= os.copy_file_range(data.fileno(), out.fileno(), left)
        os.fsync(out.fileno())
    return time.monotonic() - begun


def demuxer(clips: list[Path], folder: Path, tools: Tools) -> float:
    """ffmpeg's concat demuxer, as people use it; its sound drifts by 27 ms a seam."""
    listing = folder / "list.txt"
    listing.write_text("".join(f"file '{clip.absolute()}'\n" for clip in clips))
    begun = time.monotonic()
    subprocess.run(
        [
            tools.ffmpeg.path, "-v", "error", "-nostdin", "-y", "-f", "concat", "-safe", "0", "-i", str(listing),
            "-c", "copy", "-movflags", "+faststart", str(folder / "demuxer.mp4"),
        ],
        check=True,
    )  # fmt: skip
    return time.monotonic() - begun


def main(arguments: list[str]) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="./dev bench joining", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    wanted = parser.parse_args(arguments)
    wanted.folder.mkdir(exist_ok=True)
    tools = asyncio.run(find_tools(search_path=search_path()))
    clips = make_clips(wanted.folder, tools)
    size = sum(clip.stat().st_size for clip in clips)
    ways: dict[str, Callable[[], float]] = {
        "cat + fsync": lambda: cat(clips, wanted.folder),
        "vcompose": lambda: ours(clips, wanted.folder),
        "ffmpeg concat copy": lambda: demuxer(clips, wanted.folder, tools),
    }
    print(f"{CLIPS} conforming clips, {size / 1e6:.0f} MB, {CLIPS * SECONDS} s; load {os.getloadavg()[0]:.1f}")
    for way in ways.values():
        way()  # once uncounted: caches warm, bytecode written
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(wanted.runs):
        for name, way in ways.items():
            seconds[name].append(way())
            print(f"run {run + 1}: {name:20s} {seconds[name][-1]:7.3f} s")
    limit = statistics.median(seconds["cat + fsync"])
    print(f"\n{'':20s} {'median':>8s} {'min':>8s} {'max':>8s} {'x cat':>8s}")
    for name, all_runs in seconds.items():
        middle = statistics.median(all_runs)
        print(f"{name:20s} {middle:8.3f} {min(all_runs):8.3f} {max(all_runs):8.3f} {middle / limit:8.1f}")
    print(f"load at the end {os.getloadavg()[0]:.1f}")
