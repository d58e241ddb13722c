"""What a process holds of the system: tasks, threads, children, descriptors, temporary files. To be compared."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_SOON: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """Names of all that is there; two are equal when nothing came and nothing stayed."""

    threads: frozenset[int]
    children: frozenset[int]
    descriptors: Counter[str]
    files: frozenset[str]

    @classmethod
    def now(cls) -> Remains:
        """What is there now; garbage is collected first, so that what it held is told as let go of."""
        gc.collect()
        return cls(
            threads=frozenset(one.ident for one in threading.enumerate() if one.ident is not None),
            children=children(),
            descriptors=descriptors(),
            files=frozenset(os.listdir(tempfile.gettempdir())),  # noqa: PTH208 - names, no paths
        )

    def soon(self) -> Remains:
        """What is there once it is this again, or after some seconds: a thread that has done its work may not be gone
        yet.
        """
        end = time.monotonic() + _SOON
        while (now := Remains.now()) != self and time.monotonic() < end:
            time.sleep(0.02)
        return now


def children() -> frozenset[int]:
    """Our children and theirs, zombies too."""
    return frozenset(one.pid for one in psutil.Process().children(recursive=True))


def descriptors() -> Counter[str]:
    """What our open files are; sockets and pipes without their numbers."""
    found: Counter[str] = Counter()
    for one in Path("/proc/self/fd").iterdir():
        try:
            found[one.readlink().name.partition(":")[0]] += 1
        except OSError:  # that of the question itself
            continue
    return found


async def settled(tasks: int) -> None:
    """Wait until no more than so many tasks are there; they only have their last turns to take."""
    end = time.monotonic() + _SOON
    while len(left := asyncio.all_tasks()) > tasks and time.monotonic() < end:
        await asyncio.sleep(0.005)
    assert len(left) <= tasks, f"{len(left) - tasks} tasks too many among {left}"


async def closed(open_files: Counter[str]) -> None:
    """Wait until no more than these descriptors are there: a connection's other end may have yet to close."""
    end = time.monotonic() + _SOON
    while (extra := descriptors() - open_files) and time.monotonic() < end:
        await asyncio.sleep(0.005)
    assert not extra


def strays(folder: Path, films: set[str]) -> list[Path]:
    """What lies in a data folder beside clips, the database, its lock, and the films of these jobs."""
    found = [path for name in ("work", "incoming", "children") for path in (folder / name).iterdir()]
    found += [path for path in (folder / "films").iterdir() if path.stem not in films]
    known = {"clips", "films", "work", "incoming", "children"}
    found += [path for path in folder.iterdir() if path.name not in known and not path.name.startswith("vcompose.")]
    return found
