"""What packets tell: recorded ffprobe output in ``tests/data``, cut anywhere; rates from time stamps."""

from __future__ import annotations

import itertools
import random
from array import array
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vcompose.media import packets
from vcompose.media.packets import COMMON_RATES, Pacing, Scanner, Stream, TooManyPackets, pace

RECORDED = sorted((Path(__file__).parent / "data").glob("packets-*.csv"))
NTSC = Fraction(30000, 1001)
FILM = Fraction(24000, 1001)


def scan(pieces: Iterable[bytes], pictures: frozenset[int] = frozenset({0})) -> dict[int, Stream]:
    scanner = Scanner(pictures)
    for piece in pieces:
        scanner.feed(piece)
    return scanner.streams


def recorded(name: str) -> dict[int, Stream]:
    return scan([(Path(__file__).parent / "data" / f"packets-{name}.csv").read_bytes()])


def lines(*packet: str) -> bytes:
    return "".join(f"{line}\n" for line in packet).encode()


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


def even(rate: Fraction, base: Fraction, count: int, first: int = 0) -> list[int]:
    """A constant rate, as a muxer rounds it to ticks."""
    ticks = 1 / rate / base
    return [first + (2 * i * ticks.numerator + ticks.denominator) // (2 * ticks.denominator) for i in range(count)]


def measured(times: Sequence[int], base: Fraction, declared: Fraction | None = None, last: int = 0) -> Pacing:
    return pace(array("q", times), base, declared, last)


# ---- the scanner -------------------------------------------------------------------------------------------------


def test_a_plain_clip() -> None:
    streams = recorded("plain")
    picture, sound = streams[0], streams[1]
    assert (picture.count, picture.first, picture.last, picture.last_duration) == (25, 0, 24 * 512, 512)
    assert sorted(picture.pictures) == [i * 512 for i in range(25)]
    assert (picture.hidden, picture.key_first, picture.open_gop) == (0, True, False)
    # the priming is hidden: it is no part of what is heard, and neither is its skip
    assert (sound.count, sound.hidden, sound.first, sound.skip, sound.padding) == (24, 1, 0, 0, 0)
    assert (sound.last, sound.last_duration) == (23_552, 448)
    assert not sound.pictures


def test_packets_that_an_edit_list_hides() -> None:
    picture = recorded("cut")[0]
    assert picture.hidden == 6
    assert picture.first == 0
    assert picture.key_first is False
    assert min(picture.pictures) == 0


def test_sound_cut_within_a_packet_is_heard_from_the_cut_on() -> None:
    sound = recorded("cut")[1]
    assert sound.first is not None
    # 11,072 samples are skipped from -11,072 on, also in the packet that is only partly hidden
    assert sound.first + sound.skip == 0


def test_skipped_and_padded_samples() -> None:
    sound = recorded("opus")[0]
    assert (sound.skip, sound.padding, sound.first, sound.last, sound.last_duration) == (0, 0, -7, 94, 7)
    sound = scan([(Path(__file__).parent / "data" / "packets-opus.csv").read_bytes()], frozenset())[0]
    assert (sound.skip, sound.padding, sound.first, sound.last, sound.last_duration) == (312, 648, -7, 94, 7)


def test_only_the_last_padding_counts() -> None:
    streams = scan([lines("1,0,0,20,K__,0,100", "1,20,20,20,K__")], frozenset())
    assert streams[1].padding == 0


def test_only_the_first_heard_packet_skips() -> None:
    assert scan([b"1,0,0,20,K__,7,0\n1,20,20,20,K__,312,0\n"], frozenset())[1].skip == 7


def test_open_gop() -> None:
    assert recorded("open-gop")[0].open_gop
    assert not recorded("plain")[0].open_gop


@pytest.mark.parametrize(
    ("times", "is_open"),
    [
        ([(0, "K"), (3, "_"), (1, "_"), (2, "_"), (4, "K"), (5, "_")], False),
        ([(0, "K"), (3, "_"), (1, "_"), (2, "_"), (6, "K"), (4, "_"), (5, "_")], True),
        ([(2, "K"), (0, "_"), (1, "_")], True),
        ([(3, "_"), (1, "_"), (4, "K"), (5, "_")], False),
        ([(0, "K"), (4, "K"), (3, "K")], False),
    ],
)
def test_pictures_shown_before_their_key(times: list[tuple[int, str]], is_open: bool) -> None:
    streams = scan([lines(*(f"0,{time},{time},1,{flag}__" for time, flag in times))])
    assert streams[0].open_gop is is_open
    assert streams[0].key_first is (times[0][1] == "K")


def test_no_pts_takes_the_dts() -> None:
    streams = scan([lines("0,N/A,0,1,K__", "0,N/A,1,1,___", "0,N/A,N/A,1,___")])
    assert list(streams[0].pictures) == [0, 1]


def test_the_last_is_the_latest_shown_not_the_latest_sent() -> None:
    stream = scan([lines("0,0,0,10,K__", "0,30,10,11,___", "0,10,20,12,___", "0,20,30,13,___")])[0]
    assert (stream.last, stream.last_duration) == (30, 11)


@pytest.mark.parametrize("garbage", ["", ",", ",,,,", "a,b,c,d,e", "0,1,2", "x,0,0,1,K__", "0,?,0,1,K__", "\xff\x00"])
def test_lines_that_are_no_packets(garbage: str) -> None:
    assert scan([garbage.encode("latin-1"), b"\n0,5,5,1,K__\n"]) == scan([b"0,5,5,1,K__\n"])


def test_windows_line_ends_and_odd_durations() -> None:
    stream = scan([b"0,5,5,N/A,K__\r\n0,6,6,-3,___\r\n"])[0]
    assert (stream.count, stream.first, stream.last, stream.last_duration) == (2, 5, 6, 0)


@settings(deadline=None)
@given(path=st.sampled_from(RECORDED), places=st.lists(st.integers(0, 1400), max_size=12))
def test_cut_anywhere(path: Path, places: list[int]) -> None:
    data = path.read_bytes()
    assert scan(cut(data, places)) == scan([data])


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_fed_byte_by_byte(path: Path) -> None:
    data = path.read_bytes()
    assert scan(data[i : i + 1] for i in range(len(data))) == scan([data]) != {}


@settings(deadline=None)
@given(data=st.lists(st.binary(max_size=30), max_size=20).map(b"\n".join), places=st.lists(st.integers(0, 600)))
def test_garbage_cut_anywhere(data: bytes, places: list[int]) -> None:
    assert scan(cut(data, places)) == scan([data])


def test_the_end_of_an_overlong_line_is_no_packet() -> None:
    data = b"x" * 5000 + b"\n0,1,1,1,K__\n"
    whole = scan([b"9," + b"x" * 5000 + b"0,7,7,1,K__\n"])
    assert scan([b"9," + b"x" * 5000, b"0,7,7,1,K__\n"]) == whole == {}
    assert scan([data]) == scan([data[:4999], data[4999:]]) == scan([b"0,1,1,1,K__\n"])


def test_too_many_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "MOST_PICTURES", 10)
    scan([lines(*(f"0,{i},{i},1,K__" for i in range(10)))])
    scan([lines(*(f"1,{i},{i},1,K__" for i in range(50)))])
    with pytest.raises(TooManyPackets):
        scan([lines(*(f"0,{i},{i},1,K__" for i in range(11)))])


# ---- pacing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [FILM, Fraction(30), Fraction(60000, 1001), NTSC, Fraction(25)])
@pytest.mark.parametrize("base", [Fraction(1, 1000), Fraction(1, 600), Fraction(1, 90_000)])
def test_a_grid_rounded_to_ticks(rate: Fraction, base: Fraction) -> None:
    pacing = measured(even(rate, base, 500), base)
    assert (pacing.rate, pacing.variable, pacing.last) == (rate, False, 1 / rate)
    assert abs(pacing.longest - 1 / rate) <= base


BASES = tuple(Fraction(1, ticks) for ticks in (1000, 90_000, 30_000, 600))


@settings(deadline=None)
@given(
    rate=st.sampled_from(COMMON_RATES),
    base=st.sampled_from(BASES),
    count=st.integers(20, 400),
    first=st.integers(-(10**6), 10**9),
)
def test_any_common_rate_that_the_header_tells(rate: Fraction, base: Fraction, count: int, first: int) -> None:
    assume(1 / rate >= 2 * base)
    times = even(rate, base, count, first)
    random.Random(count).shuffle(times)
    pacing = measured(times, base, rate)
    assert (pacing.rate, pacing.variable, pacing.last) == (rate, False, 1 / rate)


@settings(deadline=None)
@given(rate=st.sampled_from(COMMON_RATES), base=st.sampled_from(BASES), count=st.integers(20, 2000))
def test_any_common_rate_that_the_header_does_not_tell(rate: Fraction, base: Fraction, count: int) -> None:
    assume(1 / rate >= 2 * base)
    pacing = measured(even(rate, base, count), base)
    assert not pacing.variable
    length = (count - 1) / rate
    # two rates a thousandth apart are told apart once a tick is less than half of that
    if base / length < Fraction(1, 2500):
        assert pacing.rate == rate
    else:
        assert abs(pacing.rate / rate - 1) <= 2 * base / length + Fraction(1, 1000)


@settings(deadline=None)
@given(
    rate=st.sampled_from((Fraction(10), FILM, Fraction(25), NTSC)), count=st.integers(20, 300), at=st.integers(1, 18)
)
def test_a_lost_picture_makes_the_rate_vary(rate: Fraction, count: int, at: int) -> None:
    base = Fraction(1, 90_000)
    times = even(rate, base, count)
    del times[at]
    pacing = measured(times, base, rate)
    assert pacing.variable
    assert pacing.rate == rate
    assert abs(pacing.longest - 2 / rate) <= base


def test_variable_rate_of_a_phone() -> None:
    chance = random.Random(4)
    times = list(itertools.accumulate(chance.choice((2990, 3003, 3010, 3030, 6010)) for _ in range(300)))
    pacing = measured(times, Fraction(1, 90_000), Fraction(90_000), 3003)
    assert pacing.variable
    assert pacing.rate in {NTSC, Fraction(30)}
    assert pacing.last == Fraction(3003, 90_000)
    assert pacing.longest == Fraction(6010, 90_000)


def test_the_last_picture_of_an_uneven_stream_lasts_the_usual_step_where_nothing_is_said() -> None:
    pacing = measured([0, 40, 80, 120, 900], Fraction(1, 1000))
    assert pacing.variable
    assert pacing.last == Fraction(40, 1000)
    assert pacing.longest == Fraction(780, 1000)


def test_an_uneven_stream_far_too_fast_is_shown_at_sixty() -> None:
    chance = random.Random(1)
    times = list(itertools.accumulate(chance.randint(1, 400) for _ in range(300)))
    assert measured(times, Fraction(1, 90_000)).rate == 60


@settings(deadline=None)
@given(times=st.lists(st.integers(0, 10_000), min_size=1, max_size=60), again=st.integers(0, 59))
def test_duplicates_and_order_say_nothing(times: list[int], again: int) -> None:
    base = Fraction(1, 1000)
    assert measured([*times, times[again % len(times)]], base) == measured(sorted(times), base)


@pytest.mark.parametrize(
    ("declared", "last", "rate", "shown"),
    [
        (Fraction(30), 0, Fraction(30), Fraction(1, 30)),
        (None, 0, Fraction(25), Fraction(1, 25)),
        (Fraction(90_000), 0, Fraction(25), Fraction(1, 25)),
        (Fraction(1, 2), 0, Fraction(25), Fraction(1, 25)),
        (Fraction(30), 5000, Fraction(30), Fraction(5)),
        (Fraction(30), 3_600_000, Fraction(30), Fraction(10)),
    ],
)
@pytest.mark.parametrize("times", [[], [70], [70, 70, 70]])
def test_a_single_picture(
    times: list[int], declared: Fraction | None, last: int, rate: Fraction, shown: Fraction
) -> None:
    pacing = measured(times, Fraction(1, 1000), declared, last)
    assert pacing == Pacing(rate=rate, variable=False, last=shown, longest=Fraction(0))


def test_an_unusual_rate_is_kept() -> None:
    rate = Fraction(17)
    assert measured(even(rate, Fraction(1, 90_000), 200), Fraction(1, 90_000)).rate == rate


def test_a_rate_that_the_header_tells_is_believed_only_where_the_time_stamps_agree() -> None:
    base = Fraction(1, 90_000)
    assert measured(even(NTSC, base, 100), base, Fraction(25)).rate == NTSC
    assert measured(even(Fraction(17), base, 100), base, Fraction(17)).rate == 17


@pytest.mark.parametrize("hours", [1, 24, 1000])
def test_two_pictures_hours_apart(hours: int) -> None:
    pacing = measured([0, hours * 3600 * 1000], Fraction(1, 1000))
    assert pacing.longest == hours * 3600
    assert pacing.rate > 0


@settings(max_examples=100, deadline=None)
@given(
    times=st.lists(st.integers(-(2**62), 2**62), max_size=30),
    base=st.sampled_from((*BASES, Fraction(1), Fraction(1, 10**9))),
    declared=st.none() | st.fractions(Fraction(1, 1000), 10**6),
    last=st.integers(0, 2**40),
)
def test_any_time_stamps_are_measured(times: list[int], base: Fraction, declared: Fraction | None, last: int) -> None:
    pacing = measured(times, base, declared, last)
    assert pacing.rate > 0
    assert pacing.last >= 0
    assert pacing.longest >= 0
