"""ffmpeg's argument lists: guards in front of every input, our names alone, durations that do not drift."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import pytest
from builders import FOLDER, clip, composition, encode_step, target
from hypothesis import given, settings
from hypothesis import strategies as st

from vcompose.media import command
from vcompose.media.clip import Size
from vcompose.media.composition import Mode, Quality
from vcompose.media.container import MATROSKA, MP4
from vcompose.media.plan import plan
from vcompose.media.step import EncodeStep, JoinStep, Piece, SoundPiece, SoundStep, Source

GUARDS = ("-protocol_whitelist", "-format_whitelist", "-codec_whitelist:v", "-codec_whitelist:a", "-max_streams")


def source(link: str = "clip-1", index: int = 0) -> Source:
    return Source(link=link, identity="id", demuxer=MP4.demuxer, formats=MP4.formats, index=index)


def piece(link: str, length: Fraction) -> Piece:
    return Piece(clip=0, source=source(link), length=length)


def after(arguments: tuple[str, ...], option: str) -> list[str]:
    return [arguments[i + 1] for i, one in enumerate(arguments) if one == option]


def durations(text: str) -> list[int]:
    return [int(microseconds) for microseconds in re.findall(r"^duration (\d+)us$", text, re.MULTILINE)]


def joined(sound: str | None = "sound-1.m4a") -> JoinStep:
    return JoinStep(
        number=1,
        pictures=(piece("clip-1", Fraction(3)), piece("encode-2.mp4", Fraction(2))),
        sound=sound,
        length=Fraction(5),
        reserve=12_345,
        output="join-1.mp4",
    )


def guarded(arguments: tuple[str, ...]) -> None:
    """Every file that is read has its demuxer, its white-lists and its bounds in front of it."""
    inputs = [i for i, one in enumerate(arguments) if one == "-i"]
    begin = 0
    for at in inputs:
        assert arguments[at + 1].startswith("file:")
        options = arguments[begin:at]
        assert all(guard in options for guard in GUARDS)
        assert after(options, "-protocol_whitelist") == ["file"]
        (demuxer,), (formats,) = after(options, "-f"), after(options, "-format_whitelist")
        assert demuxer in formats.split(",")
        begin = at + 2
    assert inputs


def test_encode() -> None:
    step = encode_step(target=target(Size(640, 360)), frames=75)
    arguments = command.encode(step, "x.part", 2)
    guarded(arguments)
    assert arguments[-1] == "file:x.part"
    assert after(arguments, "-frames:v") == ["75"]
    assert after(arguments, "-map") == ["0:0"]
    assert after(arguments, "-threads") == ["2", "2"]
    assert after(arguments, "-video_track_timescale") == [str(step.target.time_scale)]
    assert after(arguments, "-g") == ["50"]
    assert "-nostdin" in arguments
    assert "-copyts" in arguments


@pytest.mark.parametrize(("quality", "crf"), [(Quality.LOW, "28"), (Quality.MEDIUM, "23"), (Quality.HIGH, "18")])
def test_quality(quality: Quality, crf: str) -> None:
    step = encode_step(target=replace(target(), quality=quality))
    assert after(command.encode(step, "x", 1), "-crf") == [crf]


def test_a_key_picture_comes_even_in_the_slowest_film() -> None:
    slow = encode_step(target=target(rate=Fraction(1, 10)))
    assert after(command.encode(slow, "x", 1), "-g") == ["1"]


def test_sound_in() -> None:
    stereo = SoundPiece(clip=0, source=source(index=1), channels=6, begin=Fraction(-1, 3), samples=9)
    arguments = command.sound_in(stereo, 44_100)
    guarded(arguments)
    assert after(arguments, "-map") == ["0:1"]
    (filters,) = after(arguments, "-af")
    assert filters.startswith("asetpts=PTS--0.333333333/TB,aformat=channel_layouts=stereo,aresample=44100:")
    (mono,) = after(command.sound_in(replace(stereo, channels=1), 44_100), "-af")
    assert "pan=stereo|c0=c0|c1=c0" in mono
    assert arguments[-2:] == ("f32le", "pipe:1")


def test_sound_out() -> None:
    step = SoundStep(number=1, pieces=(), rate=44_100)
    arguments = command.sound_out(step, "s.part")
    assert after(arguments, "-ar") == ["44100"]
    assert after(arguments, "-i") == ["pipe:0"]
    assert arguments[-1] == "file:s.part"
    assert "-nostdin" not in arguments  # it would not read its sound


def test_join() -> None:
    arguments = command.join(joined(), "x.list", "x.part")
    guarded(arguments)
    assert after(arguments, "-i") == ["file:x.list", "file:sound-1.m4a"]
    assert after(arguments, "-map") == ["0:0", "1:a"]
    assert after(arguments, "-moov_size") == ["12345"]
    assert after(arguments, "-c") == ["copy"]
    assert "-xerror" in arguments
    silent = command.join(joined(sound=None), "x.list", "x.part")
    guarded(silent)
    assert after(silent, "-map") == ["0:0"]


def test_join_allows_just_the_formats_of_its_pieces() -> None:
    step = joined(sound=None)
    other = replace(step.pictures[0].source, demuxer=MATROSKA.demuxer, formats=MATROSKA.formats)
    step = replace(step, pictures=(*step.pictures, replace(step.pictures[0], source=other)))
    (formats,) = after(command.join(step, "x.list", "x.part"), "-format_whitelist")
    assert formats == f"concat,{MP4.formats},{MATROSKA.formats}"


def test_listing() -> None:
    assert command.listing(joined().pictures) == (
        "ffconcat version 1.0\nfile clip-1\nduration 3000000us\nfile encode-2.mp4\nduration 2000000us\n"
    )


def test_ten_thousand_pieces_do_not_drift() -> None:
    pieces = [piece(f"clip-{i % 3}", Fraction(1001, 30000)) for i in range(10_000)]
    told = durations(command.listing(pieces))
    assert len(told) == 10_000
    assert sum(told) == round(Fraction(1001, 30000) * 10_000 * 1_000_000)
    assert set(told) == {33_366, 33_367}


@settings(deadline=None)
@given(st.lists(st.fractions(Fraction(1, 1000), 1000, max_denominator=30_000), min_size=1, max_size=60))
def test_every_piece_begins_within_a_microsecond_of_its_place(lengths: list[Fraction]) -> None:
    told = durations(command.listing([piece("clip-1", length) for length in lengths]))
    at, place = 0, Fraction(0)
    for microseconds, length in zip(told, lengths, strict=True):
        at, place = at + microseconds, place + length
        assert abs(at - place * 1_000_000) <= Fraction(1, 2)


@pytest.mark.parametrize("name", ["a.mp4", "it's ; rm -rf.mp4", "$(reboot).mp4", "a\nfile /etc/passwd.mp4", "-y.mp4"])
@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.ENCODE])
def test_names_of_people_are_in_no_argument(name: str, mode: Mode) -> None:
    film = plan(composition(clip(name), clip("b" + name), mode=mode), tool="ffmpeg 9.0.2")
    said: list[str] = []
    for step in film.steps:
        match step:
            case EncodeStep():
                said += command.encode(step, "x.part", 1)
            case SoundStep():
                said += command.sound_out(step, "x.part")
                said += [one for piece in step.pieces for one in command.sound_in(piece, step.rate)]
            case JoinStep():
                said += command.join(step, "x.list", "x.part")
                listing = command.listing(step.pictures)
                said.append(listing)
                own = r"ffconcat version 1\.0\n(file (clip-[0-9a-f]{24}|encode-[0-9a-f]{32}\.mp4)\nduration \d+us\n)+"
                assert re.fullmatch(own, listing)
    assert not [one for one in said if name in one or FOLDER in one]


def test_tool_key_tells_tools_apart() -> None:
    assert command.tool_key("9.0.2") == command.tool_key("9.0.2") != command.tool_key("9.0.3")
    assert command.PRESET in command.tool_key("9.0.2")
