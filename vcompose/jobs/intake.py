"""Bytes that come in: written and hashed as they come, in bounded memory, off the loop.

What is being received is no clip yet: its file lies in the folder of incoming ones, and goes when its receiver goes,
by whatever way, unless the shelf has taken it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import unicodedata
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final

from vcompose.jobs.folders import Folders
from vcompose.jobs.job import ClipRefused, NoSpace
from vcompose.media.tasks import settled

_BLOCK: Final = 1 << 20
_LONGEST_NAME: Final = 255


class TooLarge(ClipRefused):
    """An upload is larger than the operator allows; ``limit`` in bytes."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__("too_large", f"{name} is larger than the {limit} bytes that this server takes", name)
        self.limit = limit


class Incoming:
    """A file that is being received. Made by :func:`receive`."""

    def __init__(self, path: Path, file: BinaryIO, name: str, folders: Folders, limit: int) -> None:
        self.path = path
        self.name = name
        self.size = 0
        self._file = file
        self._hash = hashlib.sha256()
        self._folders = folders
        self._limit = limit
        self._waiting = bytearray()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """The next bytes. Raises TooLarge, NoSpace."""
        self.size += len(data)
        if self.size > self._limit:
            raise TooLarge(self.name, self._limit)
        self._waiting += data
        if len(self._waiting) >= _BLOCK:
            await self._flush()

    async def finish(self) -> str:
        """All bytes are there, and on the disk when this returns; gives their SHA-256. Raises NoSpace."""
        await self._flush()
        await self._thread(lambda: os.fsync(self._file.fileno()))
        return self._hash.hexdigest()

    async def _flush(self) -> None:
        block = bytes(self._waiting)
        self._waiting.clear()
        self._folders.need(len(block))

        def put() -> None:
            self._hash.update(block)
            rest = memoryview(block)
            while rest:  # a disk that is nearly full may take a part
                rest = rest[self._file.write(rest) :]

        await self._thread(put)

    async def _thread(self, work: Callable[[], object]) -> None:
        try:
            # to its end: a thread that outlived its receiver would write into a closed file
            _, cancelled = await settled(asyncio.create_task(asyncio.to_thread(work)))
            if cancelled:
                raise asyncio.CancelledError
        except OSError as error:
            raise NoSpace(f"{self.name} cannot be written to the server's disk: {error.strerror}") from error


@contextlib.asynccontextmanager
async def receive(folders: Folders, name: str, *, limit: int) -> AsyncIterator[Incoming]:
    """Receive one file of at most ``limit`` bytes; on the way out what the shelf did not take is gone."""
    path = folders.incoming / f"{secrets.token_hex(16)}.part"
    try:
        # here, not in a thread: one that outlived a cancel would leave the file, open, to nobody
        file = path.open("xb", buffering=0)
    except OSError as error:
        raise NoSpace(f"nothing can be written to the server's disk: {error.strerror}") from error
    try:
        yield Incoming(path, file, clean_name(name), folders, limit)
    finally:
        file.close()
        path.unlink(missing_ok=True)


def clean_name(name: str) -> str:
    """A person's name for a file, as text alone: no folders, no control characters, nothing that is no text."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    text = "".join(c for c in last if unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"}).strip()
    return text[:_LONGEST_NAME] if text.strip(". ") else "clip"
