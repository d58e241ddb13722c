"""What is found in a file, and what is refused: real files, the real programs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import MakeClip

from vcompose.media.clip import Clip, Fields, Size
from vcompose.media.errors import ClipError
from vcompose.media.probe import probe
from vcompose.media.tools import Tools

FFmpeg = Callable[..., None]
SOURCE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=1")


def look(path: Path, tools: Tools) -> Clip:
    return asyncio.run(probe(path, tools, name=path.name))


def refused(path: Path, tools: Tools) -> ClipError:
    """The refusal of a file: quick, and with a sentence that names it."""
    begun = time.monotonic()
    with pytest.raises(ClipError) as caught:
        look(path, tools)
    assert time.monotonic() - begun < 10
    assert caught.value.clip == path.name
    assert path.name in caught.value.detail
    assert "/dev/fd" not in caught.value.detail
    return caught.value


def test_plain_clip(make_clip: MakeClip, tools: Tools) -> None:
    path = make_clip(size="320x240", rate="30000/1001", seconds=2.002, sound=44_100, channels=1)
    clip = look(path, tools)
    assert clip.container == "MP4 or MOV"
    picture, sound = clip.picture, clip.sound
    assert (picture.codec, picture.stored, picture.shown) == ("h264", Size(320, 240), Size(320, 240))
    assert (picture.rate, picture.variable, picture.frames) == (Fraction(30000, 1001), False, 60)
    assert (picture.begin, picture.end) == (Fraction(0), Fraction(60 * 1001, 30000))
    assert picture.fields is Fields.PROGRESSIVE
    assert picture.pixel_format == "yuv420p"
    assert picture.key_first
    assert not picture.open_gop
    assert sound is not None
    assert (sound.codec, sound.rate, sound.channels) == ("aac", 44_100, 1)
    assert sound.begin == 0  # not the priming
    assert abs(float(sound.end) - 2.002) < 0.03
    assert clip.size == path.stat().st_size
    assert clip.warnings == ()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mkv", ("-c:v", "libx264")),
        ("a.webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")),
        ("a.avi", ("-c:v", "mpeg4")),
        ("a.flv", ("-c:v", "flv1")),
        ("a.wmv", ("-c:v", "wmv2")),
        ("a.ts", ("-c:v", "mpeg2video")),
        ("a.m2ts", ("-c:v", "libx264")),
        ("a.mpg", ("-c:v", "mpeg1video")),
        ("a.ogv", ("-c:v", "libtheora")),
        ("a.mxf", ("-c:v", "mpeg2video", "-pix_fmt", "yuv420p")),
        ("a.gif", ()),
        ("a.3gp", ("-c:v", "h263", "-s", "128x96", "-r", "25")),
    ],
)
def test_containers_by_their_bytes(
    name: str, options: tuple[str, ...], ffmpeg: FFmpeg, tools: Tools, tmp_path: Path
) -> None:
    made = tmp_path / name
    ffmpeg(*SOURCE, *options, made)
    disguised = made.rename(tmp_path / "holiday.txt")
    clip = look(disguised, tools)
    assert abs(float(clip.length) - 1) < 0.09, clip.length
    assert clip.picture.rate == 25
    assert clip.sound is None


@pytest.mark.parametrize(("degrees", "shown"), [(90, Size(48, 64)), (180, Size(64, 48)), (270, Size(48, 64))])
def test_turned(degrees: int, shown: Size, ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    flat = tmp_path / "flat.mp4"
    turned = tmp_path / "turned.mp4"
    ffmpeg(*SOURCE, flat)
    ffmpeg("-display_rotation", str(-degrees), "-i", flat, "-c", "copy", turned)
    picture = look(turned, tools).picture
    assert picture.rotation == degrees
    assert picture.shown == shown
    assert picture.stored == Size(64, 48)


def test_sample_aspect(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    ffmpeg(*SOURCE, "-vf", "setsar=3/2", path)
    picture = look(path, tools).picture
    assert (picture.aspect, picture.shown) == (Fraction(3, 2), Size(96, 48))


def test_interlaced(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "fields.mpg"
    ffmpeg(*SOURCE, "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-vf", "setfield=tff", path)
    assert look(path, tools).picture.fields is Fields.TOP_FIRST


def test_uneven_rate(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "uneven.mp4"
    uneven = "setpts='(N+4*floor(N/5))/25/TB'"
    ffmpeg(*SOURCE, "-vf", uneven, "-fps_mode", "vfr", path)
    clip = look(path, tools)
    assert clip.picture.variable
    assert clip.picture.rate == 25  # shows nearly every picture
    assert 1.6 < float(clip.length) < 1.85  # the file gives the last picture as long as the longest


def test_no_duration_in_the_header(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "live.webm"
    with path.open("wb") as file:
        arguments = [*SOURCE, "-c:v", "libvpx", "-f", "webm", "-live", "1", "pipe:1"]
        subprocess.run([tools.ffmpeg.path, "-v", "error", "-nostdin", *arguments], check=True, stdout=file)
    assert abs(float(look(path, tools).length) - 1) < 0.05


def test_late_picture_counts_from_the_sound(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    ffmpeg("-itsoffset", "0.5", *SOURCE, "-f", "lavfi", "-i", "sine=duration=1.5", "-c:v", "libx264", path)
    clip = look(path, tools)
    assert clip.sound is not None
    assert abs(float(clip.picture.begin - clip.sound.begin) - 0.5) < 0.03
    assert abs(float(clip.length) - 1.5) < 0.05


def test_open_gop(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "open.mp4"
    ffmpeg(*SOURCE, "-c:v", "libx264", "-x264-params", "open-gop=1:keyint=8:bframes=3:b-adapt=0:scenecut=0", path)
    assert look(path, tools).picture.open_gop


def test_cover_art_is_no_picture(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    cover, path = tmp_path / "cover.png", tmp_path / "art.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=red:size=500x500", "-frames:v", "1", cover)
    ffmpeg("-i", cover, *SOURCE, "-map", "0", "-map", "1", "-c:v:0", "png", "-disposition:v:0", "attached_pic", path)
    assert look(path, tools).picture.stored == Size(64, 48)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.mp4", b"", "empty_file"),
        ("text.mp4", b"Dear diary, today we filmed the sea.\n" * 50, "not_a_video"),
        ("list.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n", "playlist_refused"),
        ("hls.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:1/a.ts\n", "playlist_refused"),
        ("dash.mp4", b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>', "playlist_refused"),
        ("photo.mp4", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(2000), "not_a_video"),
        ("noise.mp4", bytes(range(1, 256)) * 20, "not_a_video"),
        ("box.mp4", b"\x00\x00\x00\x18ftypisom" + bytes(5000), "undecodable"),
        ("matroska.mkv", b"\x1a\x45\xdf\xa3" + bytes(5000), "undecodable"),
        ("cut.avi", b"RIFF\xff\xff\x00\x00AVI LIST", "undecodable"),
    ],
)
def test_refused_by_content(name: str, content: bytes, code: str, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refused(path, tools).code == code


def test_refused_by_kind_of_file(tools: Tools, tmp_path: Path) -> None:
    assert refused(tmp_path / "absent.mp4", tools).code == "not_found"
    assert refused(tmp_path, tools).code == "not_a_file"
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    assert refused(pipe, tools).code == "not_a_file"
    assert refused(Path("/dev/zero"), tools).code == "not_a_file"
    loop = tmp_path / "loop.mp4"
    loop.symlink_to(loop)
    assert refused(loop, tools).code == "not_readable"


def test_sound_alone(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    assert refused(path, tools).code == "no_video_stream"


def test_codec_that_is_not_on_the_list(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "magic.avi"
    ffmpeg(*SOURCE, "-c:v", "magicyuv", path)
    error = refused(path, tools)
    assert error.code == "undecodable"
    assert "magicyuv" in error.detail


def test_pictures_that_cannot_be_decoded(make_clip: MakeClip, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "garbage.mp4"
    data = bytearray(make_clip(sound=None).read_bytes())
    media = data.index(b"mdat") + 4
    data[media : data.index(b"moov") - 4] = os.urandom(data.index(b"moov") - 4 - media)
    path.write_bytes(data)
    assert refused(path, tools).code == "undecodable"


def test_cut_before_its_index(make_clip: MakeClip, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    whole = make_clip().read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refused(path, tools).code == "undecodable"


def test_bomb_of_pixels(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "huge.avi"
    ffmpeg("-f", "lavfi", "-i", "color=size=16000x16000:rate=1", "-frames:v", "1", "-c:v", "mjpeg", path)
    assert refused(path, tools).code == "too_large_picture"


def test_bomb_of_streams(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "many.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=32x32:duration=0.1", *["-map", "0"] * 301, "-c:v", "mjpeg", path)
    assert refused(path, tools).code == "too_many_streams"


def test_bomb_of_time(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "gap.mkv"
    ffmpeg(*SOURCE, "-vf", "setpts='PTS+gte(N,12)*86400/TB'", "-fps_mode", "vfr", path)
    assert refused(path, tools).code == "too_long"


def test_bomb_of_pictures(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "fast.mp4"
    picture = "testsrc2=size=64x48:rate=100000:duration=0.002"
    ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "libx264", "-video_track_timescale", "100000", path)
    assert refused(path, tools).code == "too_fast"


def test_bomb_of_sound(make_clip: MakeClip, ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "bomb.mkv"
    late = "setts=ts=if(gte(N\\,20)\\,PTS+40000000000\\,PTS)"
    ffmpeg("-i", make_clip(), "-c", "copy", "-bsf:a", late, path)
    assert refused(path, tools).code == "too_long"


@pytest.mark.parametrize("kind", ["ts", "mpg"])
def test_a_clock_that_starts_again(kind: str, ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    """``cat a.ts b.ts > c.ts``: half the film would be lost without a word."""
    one, both = tmp_path / f"one.{kind}", tmp_path / f"both.{kind}"
    ffmpeg(*SOURCE, "-c:v", "mpeg2video", one)
    both.write_bytes(one.read_bytes() * 2)
    assert refused(both, tools).code == "broken_times"


def test_a_copy_that_was_broken_off(make_clip: MakeClip, ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    ffmpeg("-i", make_clip(seconds=4.0, seed=8), "-c", "copy", "-movflags", "+faststart", whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    clip = look(cut, tools)
    assert clip.warnings == ("cut_off",)
    assert clip.length < 3


def test_the_last_picture_stands(ffmpeg: FFmpeg, tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "still.mp4"
    ffmpeg(
        *SOURCE, "-c:v", "libx264", "-bf", "0", "-bsf:v", "setts=duration=if(eq(N\\,24)\\,75*DURATION\\,DURATION)", path
    )
    assert abs(float(look(path, tools).length) - 3.96) < 0.1


def test_the_name_never_reaches_a_command_line(
    make_clip: MakeClip, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tmp_path / "-f lavfi -i color; $(touch x) 'quoted' %d #1\n.mp4"
    hostile.write_bytes(make_clip().read_bytes())
    seen: list[str] = []
    spawn = asyncio.create_subprocess_exec

    async def record(*argv: str, **options: object) -> asyncio.subprocess.Process:
        seen.extend(argv)
        return await spawn(*argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", record)
    assert look(hostile, tools).picture.codec == "h264"
    assert seen
    assert not any("quoted" in argument or "lavfi" in argument or str(tmp_path) in argument for argument in seen)
