"""ffmpeg's progress: recorded output in ``tests/data``, cut anywhere, and garbage."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcompose.media.progress import Block, Parser

RECORDED = sorted((Path(__file__).parent / "data").glob("progress-*.txt"))


def recorded(name: str) -> bytes:
    return (Path(__file__).parent / "data" / f"progress-{name}.txt").read_bytes()


def parse(pieces: Iterable[bytes]) -> list[Block]:
    parser = Parser()
    return [block for piece in pieces for block in parser.feed(piece)]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


def nothing(**said: object) -> Block:
    fields: dict[str, object] = {
        "frame": None, "seconds": None, "size": None, "speed": None, "dropped": None, "ended": False,
    }  # fmt: skip
    return Block(**{**fields, **said})  # type: ignore[arg-type]


def test_an_encode() -> None:
    blocks = parse([recorded("encode")])
    assert len(blocks) == recorded("encode").count(b"progress=")
    assert blocks[0] == Block(frame=0, seconds=0.02322, size=48, speed=0.0928, dropped=0, ended=False)
    frames = [block.frame for block in blocks]
    assert frames == sorted(frames, key=lambda frame: frame or 0)
    assert blocks[-1].frame == 180
    assert [block.ended for block in blocks] == [False] * (len(blocks) - 1) + [True]


def test_a_copy() -> None:
    last = parse([recorded("copy")])[-1]
    assert last.frame == 54_180
    assert last.seconds == pytest.approx(1812.972653)
    assert last.size == 697_230_331
    assert last.speed == 1820
    assert last.ended


def test_a_short_job_says_only_its_end() -> None:
    assert parse([recorded("short")]) == [Block(frame=5, seconds=0.12, size=3425, speed=27.0, dropped=0, ended=True)]


def test_a_flushing_encoder_says_not_available() -> None:
    blocks = parse([recorded("flush")])
    assert (blocks[0].frame, blocks[0].seconds, blocks[0].speed, blocks[0].size) == (0, None, None, 0)
    assert (blocks[-1].frame, blocks[-1].ended) == (45, True)


def test_a_job_without_a_file_or_pictures() -> None:
    last = parse([recorded("null")])[-1]
    assert (last.frame, last.size, last.seconds, last.speed) == (None, None, 900.0, 1470.0)


def test_a_child_that_was_ended_in_its_work() -> None:
    blocks = parse([recorded("terminated")])
    assert [block.frame for block in blocks] == [0, 0, 7]
    assert not any(block.ended for block in blocks)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_fed_byte_by_byte(path: Path) -> None:
    data = path.read_bytes()
    assert parse(data[i : i + 1] for i in range(len(data))) == parse([data]) != []


@settings(deadline=None)
@given(path=st.sampled_from(RECORDED), places=st.lists(st.integers(0, 2000), max_size=12))
def test_cut_anywhere(path: Path, places: list[int]) -> None:
    data = path.read_bytes()
    assert parse(cut(data, places)) == parse([data])


_LINE = st.one_of(
    st.binary(max_size=40),
    st.sampled_from((b"frame=7", b"out_time_us=N/A", b"out_time_us=-23220", b"speed=1.5x", b"progress=continue")),
    st.sampled_from((b"progress=end", b"total_size=9", b"x" * 4095, b"x" * 4096, b"x" * 4097, b"y" * 9000)),
    st.integers(4080, 4100).map(lambda length: b"frame=" + b"1".rjust(length - 6)),
)


@settings(deadline=None)
@given(
    lines=st.lists(_LINE, max_size=12),
    newline=st.sampled_from((b"\n", b"\r\n")),
    places=st.lists(st.integers(0, 60_000), max_size=8),
)
def test_garbage_is_cut_the_same_everywhere(lines: list[bytes], newline: bytes, places: list[int]) -> None:
    data = newline.join([*lines, b""])
    assert parse(cut(data, places)) == parse([data])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_garbage_before_a_block_costs_no_more_than_its_line(garbage: bytes) -> None:
    block = parse([garbage.replace(b"progress", b""), b"\nframe=3\nprogress=continue\n"])
    assert [one.frame for one in block] == [3]


def test_windows_line_ends() -> None:
    data = recorded("encode")
    assert parse([data.replace(b"\n", b"\r\n")]) == parse([data])


def test_missing_keys_are_not_carried_over() -> None:
    said = b"frame=10\nout_time_us=400000\nspeed=2x\nprogress=continue\nprogress=continue\n"
    assert parse([said]) == [nothing(frame=10, seconds=0.4, speed=2.0), nothing()]


def test_an_unfinished_block_is_not_given() -> None:
    assert parse([b"frame=10\nprogress=cont"]) == []


@pytest.mark.parametrize(
    ("line", "block"),
    [
        (b"frame=N/A", nothing()),
        (b"frame=  12", nothing(frame=12)),
        (b"frame=1.5", nothing()),
        (b"out_time_ms=5000000", nothing()),
        (b"out_time_us=5000000", nothing(seconds=5.0)),
        (b"out_time_us=-21333", nothing(seconds=-0.021333)),
        (b"speed=N/A", nothing()),
        (b"speed=1.49e+03x", nothing(speed=1490.0)),
        (b"speed=   0x", nothing(speed=0.0)),
        (b"speed=infx", nothing()),
        (b"speed=nanx", nothing()),
        (b"speed=-1x", nothing()),
        (b"drop_frames=4", nothing(dropped=4)),
        (b"frame", nothing()),
        (b"=", nothing()),
        (b"frame=\xff\xfe", nothing()),
    ],
)
def test_one_line(line: bytes, block: Block) -> None:
    assert parse([line, b"\nprogress=continue\n"]) == [block]


@pytest.mark.parametrize("key", [b"frame", b"out_time_us", b"total_size", b"speed", b"drop_frames"])
def test_a_number_too_long_to_be_one_is_ignored(key: bytes) -> None:
    (block,) = parse([key, b"=", b"9" * 400, b"\nprogress=continue\n"])
    assert not block.ended


def test_an_endless_line_takes_no_memory() -> None:
    parser = Parser()
    for _ in range(100):
        assert parser.feed(b"x" * 4000) == []
    assert len(parser._rest) <= 4096
    # the end of that line is no line
    assert parser.feed(b"frame=1\nspeed=2x\nprogress=end\n") == [nothing(speed=2.0, ended=True)]


@pytest.mark.parametrize(("length", "frame"), [(4096, 1), (4097, None)])
@pytest.mark.parametrize("place", [3, 4000, 4096, 4097])
def test_the_longest_line(length: int, frame: int | None, place: int) -> None:
    data = b"frame=" + b"1".rjust(length - 6) + b"\nprogress=continue\n"
    assert parse([data]) == parse(cut(data, [place])) == [nothing(frame=frame)]
