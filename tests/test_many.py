"""Two hundred clips: nothing adds up at the seams, and neither memory nor descriptors grow with their number."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from judge import Eyes, seam_lags

from vcompose.media.tools import Tools

COUNT = 200
MARK = 0.52
"""Second of each clip at which it flashes and clicks."""


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The largest sums over vcompose and its children while it ran: bytes, open descriptors, children."""

    memory: int
    descriptors: int
    children: int


@pytest.fixture(scope="module")
def kinds(ffmpeg: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One second of black with a white flash and a click in it: one plain kind, and three that do not fit it."""
    folder = tmp_path_factory.mktemp("kinds")

    def make(name: str, size: str, rate: int, sound: int, channels: int, *codec: str) -> Path:
        path = folder / name
        flash = (
            f"color=black:size={size}:rate={rate}:duration=1,drawbox=color=white:t=fill:enable='between(t,.519,.559)'"
        )
        click = f"aevalsrc='0.9*between(t,0.52,0.525)':duration=1:sample_rate={sound}"
        ffmpeg(
            "-f", "lavfi", "-i", flash, "-f", "lavfi", "-i", click, "-ac", str(channels), "-pix_fmt", "yuv420p",
            "-c:v", *codec, path,
        )  # fmt: skip
        return path

    closed = ("libx264", "-preset", "ultrafast", "-x264-params", "open-gop=0")
    return [
        make("plain.mp4", "160x120", 25, 48_000, 2, *closed),
        make("mono.mp4", "160x120", 50, 44_100, 1, *closed),
        make("tall.mp4", "120x160", 25, 48_000, 2, *closed),
        make("old.mkv", "160x120", 25, 48_000, 2, "mpeg4", "-c:a", "pcm_s16le"),
    ]


def join(clips: list[Path], film: Path) -> Peak:
    """Join in a process of its own, and watch what it and its children take."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vcompose", "join", *map(str, clips), "-o", str(film), "--json"],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONMALLOC": "malloc"},
    )
    watched = psutil.Process(process.pid)
    memory = descriptors = children = 0
    while process.poll() is None:
        try:
            family = [watched, *watched.children(recursive=True)]
        except psutil.Error:
            break
        taken, opened = 0, 0
        for member in family:
            try:
                if member != watched and member.name() == watched.name():
                    continue  # a copy of ourselves between its fork and its exec
                taken += member.memory_info().rss
                opened += member.num_fds()
            except psutil.Error:
                continue  # it has just ended
        memory, descriptors, children = max(memory, taken), max(descriptors, opened), max(children, len(family) - 1)
        try:
            process.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
    assert process.wait() == 0
    return Peak(memory=memory, descriptors=descriptors, children=children)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mixed", [False, True], ids=["conforming", "mixed"])
def test_two_hundred_clips(mixed: bool, kinds: list[Path], tools: Tools, tmp_path: Path) -> None:
    clips: list[Path] = []
    for number in range(COUNT):
        kind = kinds[number % 4 if mixed else 0]
        clips.append(tmp_path / f"{number:03d}{kind.suffix}")
        shutil.copy(kind, clips[-1])
    # a short run is over before its peaks are sampled: several of them
    runs = [join(clips[:10], tmp_path / f"few-{run}.mp4") for run in range(4)]
    few = Peak(
        memory=max(run.memory for run in runs),
        descriptors=max(run.descriptors for run in runs),
        children=max(run.children for run in runs),
    )
    many = join(clips, tmp_path / "many.mp4")
    # decoders differ a little from clip to clip and the plan's values are kept: the same, within a tenth and 16 MB
    assert many.memory < few.memory * 1.1 + (16 << 20), (few, many)
    assert many.descriptors <= few.descriptors + 8, (few, many)
    assert many.children <= few.children + 1, (few, many)

    eyes = Eyes(ffmpeg=tools.ffmpeg.path, ffprobe=tools.ffprobe.path)
    lags = seam_lags(eyes, tmp_path / "many.mp4", [number + MARK for number in range(COUNT)])
    assert not np.isnan(lags.lag).any(), "a flash or a click is missing"
    assert np.abs(lags.lag).max() < 0.02, lags.lag
    # and each stands where it belongs, so picture and sound did not wander off together
    assert np.abs(np.asarray(lags.picture) - np.arange(COUNT) - MARK).max() < 0.045
    assert abs(lags.sound[-1] - (COUNT - 1 + MARK)) < 0.02
