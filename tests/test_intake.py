"""Bytes that come in: names that are text alone, files that are whole or gone, whatever interrupts."""

from __future__ import annotations

import asyncio
import hashlib
import unicodedata
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcompose.jobs.folders import Folders
from vcompose.jobs.intake import TooLarge, clean_name, receive
from vcompose.jobs.job import NoSpace

MANY = 1 << 40


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """An empty data folder."""
    made = Folders(root=tmp_path, keep_free=0)
    made.make()
    return made


def left(folders: Folders) -> list[Path]:
    """What lies among the incoming."""
    return list(folders.incoming.iterdir())


def opened() -> list[str]:
    """Files of uploads that are open in this process."""
    return [file.path for file in psutil.Process().open_files() if file.path.endswith(".part")]


async def test_what_comes_is_written_and_hashed(folders: Folders) -> None:
    data = bytes(range(256)) * 20_000
    async with receive(folders, "a/b\\c.mp4", limit=len(data)) as incoming:
        for at in range(0, len(data), 70_001):
            await incoming.write(memoryview(data)[at : at + 70_001])
        sha256 = await incoming.finish()
        assert incoming.path.read_bytes() == data
        assert (incoming.size, incoming.name) == (len(data), "c.mp4")
        assert sha256 == hashlib.sha256(data).hexdigest()
        assert incoming.path.name.endswith(".part")
        assert "c.mp4" not in incoming.path.name
    assert not left(folders)
    async with receive(folders, "", limit=0) as empty:
        assert await empty.finish() == hashlib.sha256(b"").hexdigest()
        assert empty.name == "clip"


@pytest.mark.parametrize("pieces", [[b"x" * 101], [b"x" * 100, b"x"], [b"x"] * 101])
async def test_more_than_the_limit(folders: Folders, pieces: list[bytes]) -> None:
    async def upload() -> None:
        async with receive(folders, "a.mp4", limit=100) as incoming:
            for piece in pieces:
                await incoming.write(piece)

    with pytest.raises(TooLarge, match=r"a\.mp4 is larger than the 100 bytes") as refused:
        await upload()
    assert (refused.value.code, refused.value.clip, refused.value.limit) == ("too_large", "a.mp4", 100)
    assert not left(folders)


async def test_two_of_one_name_are_two(folders: Folders) -> None:
    async with receive(folders, "a.mp4", limit=MANY) as one, receive(folders, "a.mp4", limit=MANY) as other:
        assert one.path != other.path
        await one.write(b"one")
        await other.write(b"other")
        await asyncio.gather(one.finish(), other.finish())
        assert (one.path.read_bytes(), other.path.read_bytes()) == (b"one", b"other")


async def test_a_disk_that_is_full(folders: Folders, tmp_path: Path) -> None:
    async with receive(folders, "a.mp4", limit=MANY) as incoming:
        incoming._file.close()
        with Path("/dev/full").open("wb", buffering=0) as full:
            incoming._file = full
            await incoming.write(b"x" * 100)  # waits for more
            with pytest.raises(NoSpace, match=r"a\.mp4 cannot be written to the server's disk: No space left"):
                await incoming.finish()
    assert not left(folders)
    strict = Folders(root=tmp_path, keep_free=1 << 60)
    async with receive(strict, "a.mp4", limit=MANY) as incoming:
        with pytest.raises(NoSpace, match="no room"):
            await incoming.write(b"x" * (2 << 20))
    assert not left(folders)
    folders.incoming.rmdir()
    with pytest.raises(NoSpace, match="nothing can be written"):
        await receive(folders, "a.mp4", limit=MANY).__aenter__()


class Short:
    """A file on a disk that takes only some of what it is given."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        """Some of it."""
        return int(self._file.write(bytes(data)[: len(data) // 3 + 1]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


async def test_a_short_write_loses_nothing(folders: Folders) -> None:
    data = bytes(range(251)) * 10_000
    async with receive(folders, "a.mp4", limit=MANY) as incoming:
        incoming._file = Short(incoming._file)  # type: ignore[assignment]
        await incoming.write(data)
        sha256 = await incoming.finish()
        assert incoming.path.read_bytes() == data
        assert sha256 == hashlib.sha256(data).hexdigest()


async def test_whatever_interrupts_nothing_is_left(folders: Folders) -> None:
    async def upload(begun: asyncio.Event) -> None:
        async with receive(folders, "a.mp4", limit=MANY) as incoming:
            begun.set()
            while True:
                await incoming.write(b"x" * 700_000)

    for wait in (0, 1, 2, 5, 9):
        begun = asyncio.Event()
        task = asyncio.create_task(upload(begun))
        if wait:
            await begun.wait()
        for _ in range(wait):
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not left(folders), wait
        assert not opened()


async def test_a_fault_of_who_receives_leaves_nothing(folders: Folders) -> None:
    async def upload() -> None:
        async with receive(folders, "a.mp4", limit=MANY) as incoming:
            await incoming.write(b"x" * 3_000_000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await upload()
    assert not left(folders)
    assert not opened()


async def test_what_the_shelf_took_stays(folders: Folders, tmp_path: Path) -> None:
    async with receive(folders, "a.mp4", limit=MANY) as incoming:
        await incoming.write(b"x")
        await incoming.finish()
        incoming.path.replace(tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == b"x"
    assert not left(folders)


@pytest.mark.parametrize(
    ("given", "name"),
    [("a.mp4", "a.mp4"), ("海滩 😀.mp4", "海滩 😀.mp4"), ("", "clip"), ("   ", "clip"), ("/", "clip"), ("a/", "clip"),
     ("../../a", "a"), ("C:\\x\\y.mp4", "y.mp4"), ("..", "clip"), (".", "clip"), ("...", "clip"), (". .", "clip"),
     ("a\0b", "ab"), ("a\r\nX: y", "aX: y"), ("\ud800a", "a"), ("a\u2028b\u2029c\x85d", "abcd"), ("\x1b[31ma", "[31ma"),
     (" a ", "a"), ("a" * 300, "a" * 255), (".hidden", ".hidden"), ("-rf", "-rf")],
)  # fmt: skip
def test_names(given: str, name: str) -> None:
    assert clean_name(given) == name


@given(st.text(alphabet=st.characters(codec=None), max_size=600))
def test_any_name_becomes_text(given: str) -> None:
    name = clean_name(given)
    assert 1 <= len(name) <= 255
    assert name.encode()
    assert name.strip(". ")
    assert not set(name) & set("/\\")
    assert not [c for c in name if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}]
    assert clean_name(name) == name
