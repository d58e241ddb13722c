"""Decoding for the judge: small upright pictures and plain samples, on one true timeline per file.

Every instant is in seconds on the file's own presentation timeline (edit lists, late starts and codec
priming already applied by the decoder), so picture and sound of one file can be compared directly.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Seconds = NDArray[np.float64]

GRID = 48
"""Cells along each side of a decoded picture: every picture is squeezed to a GRID x GRID square."""
RATE = 16_000
"""Samples a second of decoded sound."""

_FRAME = re.compile(
    r"\bpts_time:(?P<at>\S+) +duration:.*?duration_time:(?P<lasts>\S+) .*?"
    r"\bsar:(?P<sar_n>\d+)/(?P<sar_d>\d+) s:(?P<width>\d+)x(?P<height>\d+)"
)
_FIRST_SAMPLES = re.compile(r"\bn:0 pts:\S+ pts_time:(?P<at>\S+)")
_HDR = {"smpte2084", "arib-std-b67"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Eyes:
    """Paths of the two programs the judge decodes and probes with."""

    ffmpeg: str
    ffprobe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Every shown frame of a file, upright.

    times: (n,) seconds, ascending; end: seconds at which the last frame ends;
    frames: (n, cells, cells, 3) RGB levels 0..255; shown and stored: width / height with and without the
    pixels' own aspect.
    """

    times: Seconds
    end: float
    frames: NDArray[np.uint8]
    shown: float
    stored: float
    hdr: bool

    def at(self, instants: Seconds) -> NDArray[np.intp]:
        """Index of the frame shown at each instant (the first frame before it begins)."""
        found = np.searchsorted(self.times, instants + 1e-6, side="right") - 1
        return np.clip(found, 0, None).astype(np.intp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """Every sample of a file: (n, 1 or 2) of -1..1, the first at `start` seconds, `rate` a second.

    channels: how many the file itself has (more than two are mixed down to two in `samples`).
    """

    start: float
    rate: int
    channels: int
    samples: Floats

    @property
    def end(self) -> float:
        return self.start + len(self.samples) / self.rate

    def cut(self, begin: float, length: float) -> Floats:
        """Samples from `begin` seconds for `length` seconds, zeros where there are none."""
        count = round(length * self.rate)
        first = round((begin - self.start) * self.rate)
        out = np.zeros((count, self.samples.shape[1]), dtype=np.float32)
        lo, hi = max(first, 0), min(first + count, len(self.samples))
        if hi > lo:
            out[lo - first : hi - first] = self.samples[lo:hi]
        return out


def probe(eyes: Eyes, path: Path) -> list[dict[str, Any]]:
    """The streams a file declares."""
    return _probe(eyes, path, path.stat().st_mtime_ns)


def is_picture(stream: dict[str, Any]) -> bool:
    """Whether a stream is moving picture rather than cover art."""
    return stream["codec_type"] == "video" and not stream.get("disposition", {}).get("attached_pic")


def pictures(eyes: Eyes, path: Path, *, grid: int = GRID) -> Pictures | None:
    """The first video stream of a file, or None where it has none."""
    return _pictures(eyes, path, grid, path.stat().st_mtime_ns)


def sound(eyes: Eyes, path: Path, *, rate: int = RATE) -> Sound | None:
    """The first audio stream of a file, or None where it has none (or none that decodes)."""
    return _sound(eyes, path, rate, path.stat().st_mtime_ns)


@lru_cache(maxsize=24)
def _probe(eyes: Eyes, path: Path, _changed: int) -> list[dict[str, Any]]:
    command = [eyes.ffprobe, "-v", "error", "-show_streams", "-of", "json", f"file:{path}"]
    done = subprocess.run(command, capture_output=True, check=True)
    streams: list[dict[str, Any]] = json.loads(done.stdout)["streams"]
    return streams


@lru_cache(maxsize=24)
def _pictures(eyes: Eyes, path: Path, grid: int, _changed: int) -> Pictures | None:
    stream = next(filter(is_picture, probe(eyes, path)), None)
    if stream is None:
        return None
    scale = f"scale={grid}:{grid}:flags=area+accurate_rnd+full_chroma_int{_matrix(stream)}"
    raw, log = _decode(
        eyes, path, "0:V:0", "-vf", f"showinfo=checksum=0,{scale},format=rgb24", "-fps_mode", "passthrough"
    )
    shown = list(_FRAME.finditer(log))
    frames = np.frombuffer(raw, dtype=np.uint8).reshape(-1, grid, grid, 3)
    if not shown or len(shown) != len(frames):
        raise ValueError(f"{path.name}: {len(shown)} frames announced, {len(frames)} decoded")
    times = np.array([float(match["at"]) for match in shown])
    order = np.argsort(times, kind="stable")
    last = shown[order[-1]]
    lasts = _number(last["lasts"]) or (float(np.median(np.diff(times[order]))) if len(times) > 1 else 0.0)
    stored = int(last["width"]) / int(last["height"])
    aspect = int(last["sar_n"]) / int(last["sar_d"]) if int(last["sar_n"]) and int(last["sar_d"]) else 1.0
    return Pictures(
        times=times[order],
        end=float(times[order[-1]]) + lasts,
        frames=frames[order],
        shown=stored * aspect,
        stored=stored,
        hdr=stream.get("color_transfer") in _HDR,
    )


@lru_cache(maxsize=24)
def _sound(eyes: Eyes, path: Path, rate: int, _changed: int) -> Sound | None:
    stream = next((one for one in probe(eyes, path) if one["codec_type"] == "audio"), None)
    if stream is None:
        return None
    channels = int(stream["channels"])
    kept = min(channels, 2)
    # Gaps and overlaps of more than 20 ms in the time stamps become silence and cuts, as a player has it.
    chain = f"ashowinfo,aresample={rate}:async=1:min_hard_comp=0.02"
    raw, log = _decode(eyes, path, "0:a:0", "-af", chain, "-ac", str(kept), "-c:a", "pcm_f32le", kind="f32le")
    first = _FIRST_SAMPLES.search(log)
    if first is None:
        return None
    samples = np.frombuffer(raw, dtype="<f4").reshape(-1, kept).astype(np.float32)
    return Sound(start=float(first["at"]), rate=rate, channels=channels, samples=samples)


def _decode(eyes: Eyes, path: Path, stream: str, *options: str, kind: str = "rawvideo") -> tuple[bytes, str]:
    """Decoded bytes of one stream with its time stamps untouched, and the log that tells them."""
    command = [eyes.ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-copyts", "-i", f"file:{path}"]
    command += ["-map", stream, *options, "-f", kind, "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return done.stdout, done.stderr.decode("utf-8", "replace")


def _matrix(stream: dict[str, Any]) -> str:
    """The colour matrix to assume where the file names none: HD is BT.709, smaller is BT.601."""
    if stream.get("color_space", "unknown") != "unknown" or "rgb" in stream.get("pix_fmt", ""):
        return ""
    large = int(stream["width"]) >= 1280 or int(stream["height"]) > 576
    return ":in_color_matrix=" + ("bt709" if large else "bt601")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
