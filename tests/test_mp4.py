"""The index of MP4 files: as ffprobe tells it, and of broken ones nothing but a refusal."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import tempfile
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeClip
from hypothesis import given, settings
from hypothesis import strategies as st

from vcompose.media.mp4 import BrokenIndex, Edit, Index, Run, Track, read_index
from vcompose.media.tools import Tools


def index_of(path: Path) -> Index:
    with path.open("rb") as file:
        return read_index(file)


def index_in(data: bytes) -> Index:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        assert isinstance(file, io.BufferedRandom)
        return read_index(file)


def told(path: Path, tools: Tools) -> list[dict[str, Any]]:
    """The streams as ffprobe has them, each with its packets."""
    asked = ("-v", "error", "-of", "json", "-show_streams", "-show_packets", "-ignore_editlist", "1")
    out = subprocess.run([tools.ffprobe.path, *asked, path], check=True, capture_output=True).stdout
    found = json.loads(out)
    streams: list[dict[str, Any]] = found["streams"]
    for stream in streams:
        stream["packets"] = [p for p in found["packets"] if p["stream_index"] == stream["index"]]
    return streams


CLIPS: list[dict[str, Any]] = [
    {},
    {"extra": ("-movflags", "+faststart")},
    {"extra": ("-preset", "medium", "-bf", "3"), "rate": "30000/1001"},
    {"name": "clip.mov", "sound": 44_100, "channels": 1},
    {"sound": None},
    {"codec": "mpeg4"},
]


@pytest.mark.parametrize("arguments", CLIPS, ids=str)
def test_an_index_is_what_ffprobe_says(arguments: dict[str, Any], make_clip: MakeClip, tools: Tools) -> None:
    path = make_clip(**arguments)
    index = index_of(path)
    streams = told(path, tools)
    assert [track.handler for track in index.tracks] == [
        {"video": "vide", "audio": "soun"}[stream["codec_type"]] for stream in streams
    ]
    for track, stream in zip(index.tracks, streams, strict=True):
        packets = stream["packets"]
        assert track.format == stream["codec_tag_string"]
        assert Fraction(1, track.time_scale) == Fraction(stream["time_base"])
        assert track.samples == int(stream["nb_frames"]) == len(packets)
        # ffprobe counts from the first decoding time, which it may put before zero
        shift = int(packets[0]["dts"])
        shown = list(track.shown())
        assert [time - shown[0] for time in shown] == [int(p["pts"]) - int(packets[0]["pts"]) for p in packets]
        assert track.ticks == sum(int(p["duration"]) for p in packets)
        assert shift <= 0
        keys = [number for number, p in enumerate(packets, 1) if "K" in p["flags"]]
        assert keys == list(track.sync if track.sync is not None else range(1, track.samples + 1))
        assert abs(float(index.length(track)) - float(stream["duration"])) < 0.03
    assert index.front is ("+faststart" in arguments.get("extra", ()))
    assert len(index.of("vide")) == 1
    assert index.of("subt") == []


def test_configurations_tell_settings_apart(make_clip: MakeClip) -> None:
    def config(**arguments: Any) -> bytes:
        return index_of(make_clip(**arguments)).of("vide")[0].config

    assert b"avcC" in config()
    assert config() != config(size="160x120")


def test_an_empty_edit_and_one_that_hides(make_clip: MakeClip, ffmpeg: Callable[..., None], tmp_path: Path) -> None:
    plain = make_clip(seconds=3.0, extra=("-g", "25"))
    ffmpeg("-ss", "1.5", "-i", plain, "-c", "copy", tmp_path / "hidden.mp4")
    (edit,) = index_of(tmp_path / "hidden.mp4").of("vide")[0].edits
    assert edit.media > 0
    ffmpeg(
        "-i", plain, "-itsoffset", "1", "-i", plain, "-map", "0:a", "-map", "1:v", "-c", "copy", tmp_path / "late.mp4"
    )
    late = index_of(tmp_path / "late.mp4")
    first, *rest = late.of("vide")[0].edits
    assert first.media == -1
    assert Fraction(first.length, late.time_scale) == 1
    assert len(rest) == 1


# ---- by hand -----------------------------------------------------------------------------------------------------


def box(kind: bytes, *body: bytes) -> bytes:
    data = b"".join(body)
    return struct.pack(">I4s", len(data) + 8, kind) + data


def full(kind: bytes, *body: bytes, version: int = 0) -> bytes:
    return box(kind, bytes([version, 0, 0, 0]), *body)


def table(kind: bytes, layout: str, *entries: tuple[int, ...], version: int = 0) -> bytes:
    rows = b"".join(struct.pack(layout, *entry) for entry in entries)
    return full(kind, struct.pack(">I", len(entries)), rows, version=version)


def track(
    *,
    stts: bytes = table(b"stts", ">II", (3, 10)),
    more: bytes = b"",
    edits: bytes = b"",
    scale: bytes = full(b"mdhd", struct.pack(">IIIII", 0, 0, 1000, 30, 0)),
    stsd: bytes = table(b"stsd", ">0s") + b"",
) -> bytes:
    described = stsd if len(stsd) > 16 else full(b"stsd", struct.pack(">I", 1), box(b"avc1", bytes(8), b"config"))
    stbl = box(b"stbl", described, stts, more)
    media = box(b"mdia", scale, full(b"hdlr", bytes(4), b"vide", bytes(13)), box(b"minf", stbl))
    return box(b"trak", *([box(b"edts", edits)] if edits else []), media)


MVHD = full(b"mvhd", struct.pack(">IIIII", 0, 0, 600, 30, 0), bytes(80))
FTYP = box(b"ftyp", b"isom", bytes(4))


def movie(*tracks: bytes, mvhd: bytes = MVHD) -> bytes:
    return FTYP + box(b"moov", mvhd, *tracks) + box(b"mdat", bytes(30))


def only(data: bytes) -> Track:
    (found,) = index_in(data).tracks
    return found


def test_a_track_by_hand() -> None:
    shifts = table(b"ctts", ">Ii", (1, 20), (2, -5), version=1)
    sync = table(b"stss", ">I", (1,), (3,))
    edits = table(b"elst", ">IiI", (600, -1, 1 << 16), (1200, 20, 1 << 16))
    index = index_in(movie(track(more=shifts + sync, edits=edits)))
    (found,) = index.tracks
    assert index.time_scale == 600
    assert index.front
    assert (found.handler, found.format, found.time_scale) == ("vide", "avc1", 1000)
    assert found.config == bytes(8) + b"config"
    assert found.durations == (Run(count=3, value=10),)
    assert found.offsets == (Run(count=1, value=20), Run(count=2, value=-5))
    assert found.sync == (1, 3)
    assert found.edits == (Edit(length=600, media=-1), Edit(length=1200, media=20))
    assert list(found.shown()) == [20, 5, 15]
    assert (found.samples, found.ticks) == (3, 30)
    assert index.length(found) == 3


def test_wide_times_and_sizes() -> None:
    mvhd = full(b"mvhd", struct.pack(">QQIQI", 0, 0, 90_000, 30, 0), bytes(80), version=1)
    mdhd = full(b"mdhd", struct.pack(">QQIQI", 0, 0, 48_000, 30, 0), version=1)
    edits = table(b"elst", ">QqI", (1 << 33, -1, 1 << 16), version=1)
    body = mvhd + track(scale=mdhd, edits=edits)
    data = FTYP + struct.pack(">I4sQ", 1, b"moov", len(body) + 16) + body
    index = index_in(data)
    assert (index.time_scale, index.tracks[0].time_scale) == (90_000, 48_000)
    assert index.tracks[0].edits == (Edit(length=1 << 33, media=-1),)


def test_a_track_without_edits_lasts_as_long_as_its_samples() -> None:
    index = index_in(movie(track()))
    assert index.length(index.tracks[0]) == Fraction(30, 1000)
    assert list(index.tracks[0].shown()) == [0, 10, 20]
    assert index.tracks[0].sync is None


def test_media_before_its_index_and_a_last_box_that_says_no_length() -> None:
    moov = box(b"moov", MVHD, track())
    assert index_in(FTYP + box(b"mdat", bytes(9)) + struct.pack(">I", 0) + moov[4:]).front is False
    assert index_in(moov).front


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no index"),
        (b"short", "no index"),
        (b"just some text that is no film at all", "beyond"),
        (FTYP, "no index"),
        (FTYP + box(b"mdat", bytes(99)), "no index"),
        (FTYP + struct.pack(">I4s", 4, b"moov"), "beyond"),
        (FTYP + struct.pack(">I4sQ", 1, b"moov", 8), "beyond"),
        (FTYP + struct.pack(">I4sQ", 1, b"moov", 1 << 62), "beyond"),
        (movie(track())[:200], "beyond"),
        (movie(track(), mvhd=b""), "mvhd is missing"),
        (movie(track(), mvhd=struct.pack(">I4s", 4, b"mvhd") + MVHD), "mvhd"),
        (movie(track(), mvhd=full(b"mvhd", bytes(20))), "time scale is 0"),
        (movie(track(), mvhd=box(b"mvhd")), "too short"),
        (movie(track(), mvhd=full(b"mvhd", bytes(4))), "too short"),
        (movie(box(b"trak")), "mdia is missing"),
        (movie(track(stts=b"")), "stts is missing"),
        (movie(track(scale=b"")), "mdhd is missing"),
        (movie(track(stts=full(b"stts", struct.pack(">I", 9)))), "room"),
        (movie(track(stts=full(b"stts", struct.pack(">I", 2**32 - 1)))), "room"),
        (movie(track(stts=table(b"stts", ">II", (2**32 - 1, 1)))), "samples"),
        (movie(track(edits=table(b"elst", ">IiI", (1, 0, 0), version=1))), "room"),
        (movie(track(stsd=full(b"stsd", struct.pack(">I", 2), bytes(16)))), "2 sample descriptions"),
        (movie(track(stsd=full(b"stsd", struct.pack(">I", 1), struct.pack(">I4s", 99, b"avc1"), bytes(9)))), "longer"),
    ],
)  # fmt: skip
def test_broken(data: bytes, why: str) -> None:
    with pytest.raises(BrokenIndex, match=why):
        index_in(data)


def read_all(data: bytes) -> None:
    """Read whatever can be read of it; the only error may be BrokenIndex."""
    try:
        index = index_in(data)
    except BrokenIndex:
        return
    for found in index.tracks:
        assert sum(1 for _ in found.shown()) == found.samples
        assert index.length(found) >= 0
        assert isinstance(found.ticks, int)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_damaged_index_is_refused_or_read(data: st.DataObject) -> None:
    whole = bytearray(
        movie(
            track(
                more=table(b"ctts", ">Ii", (3, 7)) + table(b"stss", ">I", (1,)),
                edits=table(b"elst", ">IiI", (600, 0, 1 << 16)),
            ),
            track(stts=table(b"stts", ">II", (1, 1024), (1, 9))),
        )
    )
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4)):
        whole[place] = value
    read_all(bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_damaged_real_index_is_refused_or_read(data: st.DataObject, real: bytes) -> None:
    whole = bytearray(real)
    flips = st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 7))
    for place, bit in data.draw(st.lists(flips, min_size=1, max_size=6)):
        whole[place] ^= 1 << bit
    read_all(bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))]))


@pytest.fixture(scope="module")
def real(make_clip: MakeClip) -> bytes:
    """The front of a real film: all of its index."""
    data = make_clip(seconds=1.0, extra=("-movflags", "+faststart")).read_bytes()
    return data[: data.index(b"mdat") - 4] + box(b"mdat", bytes(8))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    read_all(data)
    read_all(FTYP + box(b"moov", data))
    read_all(FTYP + box(b"moov", MVHD, box(b"trak", data)))


def test_counts_that_nothing_backs_take_no_memory() -> None:
    claims = movie(
        *(
            track(more=full(b"ctts", struct.pack(">I", 2**31)) + full(b"stss", struct.pack(">I", 2**31)))
            for _ in range(9)
        )
    )
    runs = movie(track(stts=table(b"stts", ">II", *((0, 0),) * 9)), track(stts=table(b"stts", ">II", (19_000_000, 1))))
    tracemalloc.start()
    try:
        with pytest.raises(BrokenIndex):
            index_in(claims)
        assert [found.samples for found in index_in(runs).tracks] == [0, 19_000_000]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
