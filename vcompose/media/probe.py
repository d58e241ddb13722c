"""Look into a file: three limited children (header, packets, one decoded picture) under one bounded time.

The container is known from the bytes before any child sees the file; everything that the header claims about time
is measured from the packets instead.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from vcompose.media import codecs, packets
from vcompose.media.child import Command, Limits, run
from vcompose.media.clip import Clip
from vcompose.media.container import HEAD, Container, sniff
from vcompose.media.errors import ChildFailed, ChildStalled, ClipError
from vcompose.media.guards import MOST_PIXELS, MOST_STREAMS, guards
from vcompose.media.header import (
    LONGEST_WAIT,
    MOST_SECONDS,
    Header,
    choose_picture,
    cut_off,
    holds,
    picture_of,
    seconds,
    sound_of,
    too_long,
)
from vcompose.media.packets import Scanner, Stream, TooManyPackets
from vcompose.media.tools import Tool, Tools

_HEADER_SECONDS: Final = 30.0
_PACKET_SECONDS: Final = 600.0
_PICTURE_SECONDS: Final = 60.0
_HEADER_BYTES: Final = 4 << 20
_OUR_NAME: Final = re.compile(r"(file:)?/dev/fd/\d+")
_ADDRESS: Final = re.compile(r"[a-z]{2,8}:/")
_FOREIGN: Final = re.compile(r"Codec \((\w+)\) not on whitelist")
_PIXELS: Final = re.compile(r"Picture size (\d+x\d+) exceeds specified max pixel count")
_LIMITS: Final = Limits(memory=2 << 30, file_size=1 << 20)


async def probe(path: Path, tools: Tools, *, name: str | None = None) -> Clip:
    """What the plan needs to know about a file.

    ``name`` is what errors call it (default: the path as given). Raises ClipError with the code and a sentence;
    see :class:`~vcompose.media.errors.ClipError` for the codes.
    """
    name = name if name is not None else str(path)
    file = _open(path, name)  # here: a cancelled thread would leave it open
    try:
        head = await asyncio.to_thread(os.pread, file, HEAD, 0)
        status = os.fstat(file)
        container = sniff(head, name=name)
        look = _Look(name, container, file, tools)
        header = await look.header()
        _refuse_by_header(header, name)
        videos = [s for s in header.streams if s.codec_type == "video" and s.disposition.get("attached_pic") != 1]
        if not videos:
            raise ClipError(
                f"{name} has no moving picture: it holds only {holds(header)}. Give a file with a video track",
                code="no_video_stream",
                clip=name,
            )
        usable = [s for s in videos if codecs.is_known_video(s.codec_name) and s.width > 0 and s.height > 0]
        if not usable:
            raise _undecodable(name, f"its video is in a format that vcompose does not decode ({videos[0].codec_name})")
        streams = await look.packets(frozenset(s.index for s in usable))
        chosen = choose_picture(usable, streams)
        if chosen is None:
            raise _undecodable(name, "its video track holds no pictures")
        await look.picture(chosen.index)
    finally:
        os.close(file)
    picture, warnings = picture_of(chosen, streams[chosen.index], name)
    if cut_off(header, chosen, picture, streams):
        warnings = (*warnings, "cut_off")
    clip = Clip(
        name=name,
        path=str(path.absolute()),
        identity=identity(status),
        size=status.st_size,
        container=container.title,
        demuxer=container.demuxer,
        formats=container.formats,
        start=seconds(header.format.start_time),
        picture=picture,
        sound=sound_of(header, streams),
        warnings=warnings,
    )
    if clip.length > MOST_SECONDS or clip.end - clip.picture.end > LONGEST_WAIT:
        raise too_long(name, "sound that ends hours after its picture")
    return clip


def identity(status: os.stat_result) -> str:
    """A text that changes when the file does: device, inode, size and time of change."""
    return f"{status.st_dev:x}-{status.st_ino:x}-{status.st_size}-{status.st_mtime_ns}"


class _Look:
    """The three children that look into one file. They get it open, so no name of it reaches them, and all three
    see the file that was sniffed, whatever happens to its name meanwhile.
    """

    def __init__(self, name: str, container: Container, file: int, tools: Tools) -> None:
        self._name = name
        self._file = file
        self._tools = tools
        self._input = (*guards(container.demuxer, container.formats), "-i", f"file:/dev/fd/{file}")

    async def header(self) -> Header:
        said = bytearray()

        def keep(data: bytes) -> None:
            said.extend(data)
            if len(said) > _HEADER_BYTES:
                raise ClipError(f"{self._name} has a header that never ends", code="undecodable", clip=self._name)

        arguments = (
            "-of",
            "json",
            "-show_data_hash",
            "sha256",
            "-show_format",
            "-show_streams",
            *self._input,
        )
        try:
            ended = await run(self._command(self._tools.ffprobe, arguments, _HEADER_SECONDS), keep)
            self._refuse_by_words(ended.stderr)
            return Header.model_validate_json(said)
        except ChildFailed as error:
            self._refuse_by_words(error.stderr)
            why = _reason(error.stderr)
            raise _undecodable(self._name, f"its header cannot be read ({why})") from error
        except ValidationError as error:
            raise _undecodable(self._name, "its header makes no sense") from error
        except ChildStalled as error:
            raise self._late(error) from error

    async def packets(self, pictures: frozenset[int]) -> dict[int, Stream]:
        scanner = Scanner(pictures)
        arguments = ("-of", "csv=p=0", "-show_packets", "-show_entries", packets.ENTRIES, *self._input)
        try:
            await run(self._command(self._tools.ffprobe, arguments, _PACKET_SECONDS), scanner.feed)
        except ChildFailed as error:
            if not any(stream.count for stream in scanner.streams.values()):
                raise _undecodable(self._name, f"nothing in it can be read ({_reason(error.stderr)})") from error
        except ChildStalled as error:
            raise self._late(error) from error
        except TooManyPackets as error:
            raise too_long(self._name, f"more than {packets.MOST_PICTURES:,} pictures") from error
        return scanner.streams

    async def picture(self, index: int) -> None:
        """Prove that at least one picture can be decoded."""
        arguments = (
            "-nostdin", "-threads", "1", *self._input, "-map", f"0:{index}", "-frames:v", "1",
            "-f", "rawvideo", "-pix_fmt", "gray", "-vf", "scale=16:16", "pipe:1",
        )  # fmt: skip
        size = 0

        def count(data: bytes) -> None:
            nonlocal size
            size += len(data)

        try:
            await run(self._command(self._tools.ffmpeg, arguments, _PICTURE_SECONDS), count)
        except ChildFailed as error:
            raise _undecodable(self._name, f"its pictures cannot be decoded ({_reason(error.stderr)})") from error
        except ChildStalled as error:
            raise self._late(error) from error
        if size == 0:
            raise _undecodable(self._name, "not one of its pictures can be decoded")

    def _refuse_by_words(self, stderr: str) -> None:
        """Bounds that the programs watch over themselves: they say so, whatever their exit status is."""
        if "exceeds max_streams" in stderr:
            raise _too_many_streams(self._name)
        if (size := _PIXELS.search(stderr)) is not None:
            raise _too_large(self._name, size[1])

    def _command(self, tool: Tool, arguments: Sequence[str], deadline: float) -> Command:
        return Command(
            argv=(tool.path, "-hide_banner", "-v", "error", *arguments),
            folder=Path("/"),
            files=(self._file,),
            guard=self._tools.guard,
            limits=_LIMITS,
            deadline=deadline,
        )

    def _late(self, error: ChildStalled) -> ClipError:
        return ClipError(
            f"looking into {self._name} took too long ({error.detail}): is it complete, and is its disk well?",
            code="probe_timeout",
            clip=self._name,
        )


def _open(path: Path, name: str) -> int:
    """A descriptor of a regular file. Raises ClipError."""
    try:
        # not blocking: the open of a named pipe would wait for a writer
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        what = (
            "is an address, not a file: download it first" if _ADDRESS.match(name) else "does not exist: check the name"
        )
        raise ClipError(f"{name} {what}", code="not_found", clip=name) from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is no file name"
        raise ClipError(f"{name} cannot be read: {why}", code="not_readable", clip=name) from error
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode):
        return file
    os.close(file)
    what = "a folder: give the videos in it" if stat.S_ISDIR(mode) else "no ordinary file: copy it to one first"
    raise ClipError(f"{name} is {what}", code="not_a_file", clip=name)


def _refuse_by_header(header: Header, name: str) -> None:
    if len(header.streams) > MOST_STREAMS:
        raise _too_many_streams(name)
    for stream in header.streams:
        if stream.codec_type == "video" and stream.width * stream.height > MOST_PIXELS:
            raise _too_large(name, f"{stream.width}x{stream.height}")


def _reason(stderr: str) -> str:
    """ffmpeg's last words without the addresses in brackets, and without our name for the file."""
    lines = [line.rpartition("] ")[2].strip() for line in stderr.splitlines() if line.strip()]
    foreign = next((match[1] for line in lines if (match := _FOREIGN.search(line))), None)
    if foreign is not None:
        return f"it holds {foreign}, a format that vcompose does not decode"
    useful = [line for line in lines if "Last message repeated" not in line]
    text = (useful or ["it said nothing"])[-1]
    return _OUR_NAME.sub("the file", text)[:200]


def _undecodable(name: str, why: str) -> ClipError:
    return ClipError(
        f"{name} cannot be used: {why}. Is it complete? Play it once, and copy or convert it again",
        code="undecodable",
        clip=name,
    )


def _too_large(name: str, size: str) -> ClipError:
    return ClipError(
        f"{name} has a picture of {size}, more than 8192x4320: make it smaller first",
        code="too_large_picture",
        clip=name,
    )


def _too_many_streams(name: str) -> ClipError:
    return ClipError(
        f"{name} has more than {MOST_STREAMS} streams: keep the video and one sound",
        code="too_many_streams",
        clip=name,
    )
