"""Whole films, judged by their decoded samples: real clips by strangers, and clips made for the purpose."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from conftest import MakeClip
from judge import Expected, Eyes, Verdict, judge

import vcompose
from vcompose.library import Film, wanted
from vcompose.media.errors import ClipError, StepError
from vcompose.media.plan import Treatment
from vcompose.media.tools import Tools

DOZEN: Final = (
    "ax_sample.mp4",
    "ax_portrait_native.mp4",
    "ax_rot270.mp4",
    "mp_phone_rot180_vfr.mp4",
    "iphone_sideways movie.mov",
    "rails_vp9_opus.webm",
    "mp_no_duration.webm",
    "ax_divx.avi",
    "fl_5fps_1024x768.avi",
    "ax_mpeg2.ts",
    "tc_h264_10bit.mp4",
    "te[s]t_ video ' _ .flv",
)
"""Phones held sideways and upside down, uneven rates, a browser's recording, old AVIs, a broadcast, hostile names."""


@pytest.fixture(scope="session")
def eyes(tools: Tools) -> Eyes:
    return Eyes(ffmpeg=tools.ffmpeg.path, ffprobe=tools.ffprobe.path)


def judged(film: Film, eyes: Eyes) -> Verdict:
    """What the judge says of a film, every clip expected where the plan put it."""
    places = [
        Expected(
            path=Path(one.clip.path), begin=float(one.begin), length=float(one.length), origin=float(one.clip.begin)
        )
        for one in film.plan.clips
    ]
    return judge(eyes, film.path, places, expected_sound=film.plan.sound_rate is not None)


def true_length(shared: Path, name: str) -> tuple[float, float]:
    """How long a clip is by the manifest's own measurements, after the rule for overhanging sound, and how sure that
    is: a codec's own delay, and where the rate is uneven nobody knows how long the last picture stands.
    """
    with (shared / "MANIFEST.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["file"] == name)
    first, end = float(row["v_first_s"]), float(row["v_end_s"])
    sure = max(0.08, float(row["longest_frame_s"]) if row["frame_timing"] == "VFR" else 0.0)
    if not row["a_end_s"]:
        return end - first, sure
    sound_end = float(row["a_end_s"])
    last = sound_end if sound_end - end >= 0.1 else end
    return last - min(first, first + float(row["a_v_start_offset_s"])), sure


@pytest.mark.parametrize("name", DOZEN)
def test_a_strangers_clip_between_plain_ones(
    name: str, shared: Path, make_clip: MakeClip, eyes: Eyes, tmp_path: Path
) -> None:
    plain, other = make_clip(size="640x360", rate="30", seed=5), make_clip(size="640x360", rate="30", seed=6)
    film = vcompose.join([plain, shared / name, other], tmp_path / "film.mp4")
    length, sure = true_length(shared, name)
    assert abs(float(film.plan.clips[1].length) - length) < sure
    verdict = judged(film, eyes)
    assert not verdict.findings, verdict


@pytest.mark.timeout(300)
def test_all_strangers_in_one_film(shared: Path, make_clip: MakeClip, eyes: Eyes, tmp_path: Path) -> None:
    clips = [make_clip(size="640x360", rate="30", seed=5), *(shared / name for name in DOZEN)]
    film = vcompose.join(clips, tmp_path / "film.mp4")
    assert abs(float(film.plan.length) - sum(float(one.clip.length) for one in film.plan.clips)) < 0.05
    verdict = judged(film, eyes)
    assert not verdict.findings, verdict


def test_sound_alone_is_refused(shared: Path, make_clip: MakeClip, tmp_path: Path) -> None:
    with pytest.raises(ClipError) as caught:
        vcompose.join([make_clip(), shared / "rails_audio_only.mp4"], tmp_path / "film.mp4")
    assert caught.value.code == "no_video_stream"
    assert list(tmp_path.iterdir()) == []


def packet_hashes(path: Path, tools: Tools) -> list[str]:
    """The hash of every video packet of a file, in order."""
    said = subprocess.run(
        [tools.ffmpeg.path, "-v", "error", "-i", path, "-map", "0:v", "-c", "copy", "-f", "framehash", "-"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [line.rpartition(",")[2].strip() for line in said.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("sound", [44_100, None], ids=["with sound", "silent"])
def test_conforming_clips_are_copied(
    sound: int | None, make_clip: MakeClip, tools: Tools, eyes: Eyes, tmp_path: Path
) -> None:
    reordered = ("-bf", "3", "-g", "12", "-preset", "veryfast")
    clips = [make_clip(rate="30000/1001", seconds=2.002, sound=sound, seed=n, extra=reordered) for n in range(10)]
    film = vcompose.join(clips, tmp_path / "film.mp4")
    assert {one.treatment for one in film.plan.clips} == {Treatment.COPY}
    assert packet_hashes(film.path, tools) == [packet for clip in clips for packet in packet_hashes(clip, tools)]
    verdict = judged(film, eyes)
    assert not verdict.findings, verdict


def test_every_fit(make_clip: MakeClip, eyes: Eyes, tmp_path: Path) -> None:
    clips = [make_clip(), make_clip(size="180x320", seed=2)]
    for fit in ("contain", "cover", "stretch"):
        film = vcompose.join(clips, tmp_path / f"{fit}.mp4", wanted=wanted(size="320x240", fit=fit))
        places = [
            Expected(path=Path(one.clip.path), begin=float(one.begin), length=float(one.length))
            for one in film.plan.clips
        ]
        verdict = judge(eyes, film.path, places, fit=fit)
        assert not verdict.findings, (fit, verdict)


def test_silence_where_silence_belongs(make_clip: MakeClip, eyes: Eyes, tmp_path: Path) -> None:
    clips = [make_clip(seed=1), make_clip(seed=2, sound=None), make_clip(seed=3, channels=1, sound=22_050)]
    film = vcompose.join(clips, tmp_path / "film.mp4")
    verdict = judged(film, eyes)
    assert not verdict.findings, verdict


def test_short_and_long_sound(make_clip: MakeClip, ffmpeg: Callable[..., None], eyes: Eyes, tmp_path: Path) -> None:
    """Sound that ends early is followed by silence, sound that goes on holds the last picture."""
    source = make_clip(size="640x360", rate="30", seed=5)
    short, long = tmp_path / "short.mp4", tmp_path / "long.mp4"
    cut = ("-c:v", "copy", "-c:a", "aac")
    ffmpeg("-i", source, "-af", "atrim=end=1.2", *cut, short)
    ffmpeg("-t", "1.2", "-i", source, "-i", make_clip(seed=9), "-map", "0:v", "-map", "1:a", *cut, long)
    film = vcompose.join([short, long, source], tmp_path / "film.mp4")
    lengths = [float(one.length) for one in film.plan.clips]
    assert lengths == pytest.approx([2.0, 2.0, 2.0], abs=0.05)
    verdict = judged(film, eyes)
    assert not verdict.findings, verdict


@pytest.mark.parametrize("way", ["cover", "blur", "contain"])
def test_a_size_that_changes_half_way(way: str, ffmpeg: Callable[..., None], tools: Tools, tmp_path: Path) -> None:
    """The picture grows smaller in the middle: no filter may go on reading where the larger one was."""
    parts = []
    for number, size in enumerate(("640x360", "160x120")):
        part = tmp_path / f"{number}.ts"
        color = f"color=red:size={size}:rate=25:duration=1"
        late = ("-output_ts_offset", str(number))
        ffmpeg("-f", "lavfi", "-i", color, "-c:v", "libx264", "-preset", "ultrafast", *late, part)
        parts.append(part.read_bytes())
    changing = tmp_path / "changing.ts"
    changing.write_bytes(b"".join(parts))
    film = vcompose.join([changing, changing], tmp_path / "film.mp4", wanted=wanted(size="360x360", fit=way))
    said = subprocess.run(
        [tools.ffmpeg.path, "-v", "error", "-ss", "1.5", "-i", film.path, "-frames:v", "1", "-vf", "crop=200:100",
         "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    pixels = np.frombuffer(said, np.uint8).reshape(-1, 3).astype(int)
    assert (pixels[:, 0] > 200).all(), pixels.min(axis=0)
    assert (pixels[:, 1:] < 60).all(), pixels.max(axis=0)


def test_parameter_sets_inside_a_clip(make_clip: MakeClip, ffmpeg: Callable[..., None], tmp_path: Path) -> None:
    """Equal configurations in front, but one clip changes its own in the middle: copied, all after it is rubbish."""
    source = make_clip(sound=None, seconds=1.0)
    encode = ("-an", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-x264-params")
    first, second, both = tmp_path / "1.ts", tmp_path / "2.ts", tmp_path / "both.ts"
    ffmpeg("-i", source, *encode, "cabac=0:8x8dct=0", first)
    ffmpeg("-i", source, *encode, "cabac=1:8x8dct=1:chroma-qp-offset=4", "-output_ts_offset", "1", second)
    both.write_bytes(first.read_bytes() + second.read_bytes())
    changing, plain = tmp_path / "changing.mp4", tmp_path / "plain.mp4"
    ffmpeg("-i", both, "-c", "copy", changing)
    ffmpeg("-i", first, "-c", "copy", "-bsf:v", "filter_units=remove_types=6-9", plain)
    told: list[int] = []
    film = vcompose.join([changing, plain], tmp_path / "film.mp4", tell=lambda report: told.append(report.percent))
    ffmpeg("-xerror", "-i", film.path, "-f", "null", "-")
    assert told == sorted(told), "progress went back when the copy was given up"


def test_private_tags_do_not_pass(make_clip: MakeClip, ffmpeg: Callable[..., None], tmp_path: Path) -> None:
    tagged = tmp_path / "tagged.mov"
    place = ("-metadata", "location=+48.8584+002.2945/", "-metadata", "title=secret-title")
    ffmpeg("-i", make_clip(), "-c", "copy", *place, "-movflags", "use_metadata_tags", tagged)
    assert b"secret-title" in tagged.read_bytes()
    for clips in ([tagged, make_clip(seed=2)], [tagged, make_clip(size="160x120")]):
        film = vcompose.join(clips, tmp_path / "film.mp4", overwrite=True)
        data = film.path.read_bytes()
        assert b"secret-title" not in data
        assert b"48.8584" not in data


def digests(paths: Sequence[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def test_inputs_are_untouched(make_clip: MakeClip, tmp_path: Path) -> None:
    clips = [make_clip(), make_clip(size="160x120")]
    before = digests(clips)
    vcompose.join(clips, tmp_path / "film.mp4")
    assert digests(clips) == before


def test_a_full_disk_is_told(make_clip: MakeClip, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], check=True)
    try:
        with pytest.raises(StepError) as caught:
            vcompose.join([make_clip(), make_clip(size="640x480", seconds=4.0)], small / "film.mp4")
        assert caught.value.code == "no_space"
        assert str(small) in caught.value.detail
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
