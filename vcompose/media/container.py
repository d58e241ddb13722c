"""What a file is, by its bytes alone: never by its name, never by what a sender claims.

ffmpeg is always told the demuxer by name. Left to guess, it would take a text file called ``.mp4`` that begins
with ``ffconcat`` or ``#EXTM3U`` for a playlist, and read other files or open sockets for whoever wrote it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vcompose.media.errors import ClipError

HEAD: Final = 4096
"""Bytes of a file's beginning that :func:`sniff` wants to see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A kind of file: ffmpeg's demuxer, the names its white-list knows it by, what people call it."""

    demuxer: str
    formats: str
    title: str


MP4: Final = Container(demuxer="mov", formats="mov,mp4,m4a,3gp,3g2,mj2", title="MP4 or MOV")
MATROSKA: Final = Container(demuxer="matroska", formats="matroska,webm", title="Matroska or WebM")
AVI: Final = Container(demuxer="avi", formats="avi", title="AVI")
FLV: Final = Container(demuxer="flv", formats="flv", title="FLV")
ASF: Final = Container(demuxer="asf", formats="asf", title="ASF or WMV")
MPEG_TS: Final = Container(demuxer="mpegts", formats="mpegts", title="MPEG transport stream")
MPEG_PS: Final = Container(demuxer="mpeg", formats="mpeg", title="MPEG program stream")
OGG: Final = Container(demuxer="ogg", formats="ogg", title="Ogg")
MXF: Final = Container(demuxer="mxf", formats="mxf", title="MXF")
GIF: Final = Container(demuxer="gif", formats="gif", title="GIF")

_MP4_BOXES: Final = frozenset(
    {b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"sidx"}
)
_MAGIC: Final = (
    (b"\x1a\x45\xdf\xa3", MATROSKA),
    (b"FLV\x01", FLV),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ASF),
    (b"\x00\x00\x01\xba", MPEG_PS),
    (b"OggS\x00", OGG),
    (b"\x06\x0e\x2b\x34", MXF),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
)
_PLAYLIST: Final = re.compile(
    rb"ffconcat|#\s*EXTM3U|#EXT-X-|\[playlist\]|\[Reference\]|<\s*MPD\b|<\s*SmoothStreamingMedia\b|<\s*asx\b|<\s*smil\b"
    rb"|<\s*playlist\b|v=0\r?\no=",
    re.IGNORECASE,
)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\xff]")
_TEXT: Final = 512
"""A file without any control byte in so many bytes is text, however it begins."""
_PICTURES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\x00", b"MM\x00*")
_TS_PACKETS: Final = (188, 192, 204)
"""Bytes between two sync bytes: plain, with a time code in front (AVCHD, Blu-ray), with error correction."""

_TS_MARKS: Final = 8


def sniff(head: bytes, *, name: str) -> Container:
    """Tell a file's container from its first bytes (:data:`HEAD` of them, fewer in a short file).

    Raises ClipError, naming ``name``: ``empty_file``, ``playlist_refused``, ``not_a_video``.
    """
    if not head:
        raise ClipError(f"{name} is empty: copy it again from where it came", code="empty_file", clip=name)
    text = not _CONTROL.search(head[:_TEXT])
    for magic, container in _MAGIC:
        if head.startswith(magic):
            return container
    if head[4:8] in _MP4_BOXES and not text:
        return MP4
    if head.startswith(b"RIFF") and head[8:11] == b"AVI":
        return AVI
    if not text and _is_transport_stream(head):
        return MPEG_TS
    if _PLAYLIST.search(head[:1024].replace(b"\x00", b"")):
        raise ClipError(
            f"{name} is a playlist, a text that points to other files, not a video: give the files that it points to",
            code="playlist_refused",
            clip=name,
        )
    raise ClipError(f"{name} is not a video that vcompose knows: {_seems(head)}", code="not_a_video", clip=name)


def _is_transport_stream(head: bytes) -> bool:
    """Sync bytes a packet apart, all through the head; a recording may begin in the middle of a packet."""
    for size in _TS_PACKETS:
        first = head[4 if size == 192 else 0 :: size]
        if len(first) > 1 and all(mark == 0x47 for mark in first):
            return True
        for offset in range(min(size, len(head) - _TS_MARKS * size)):
            if all(mark == 0x47 for mark in head[offset::size]):
                return True
    return False


def _seems(head: bytes) -> str:
    if head.startswith(_PICTURES) or head[8:12] == b"WEBP":
        return "it seems to be a picture. Give a film, or make one of the picture first"
    if head.startswith((b"ID3", b"fLaC", b"RIFF")) or (head[0] == 0xFF and head[1:2] >= b"\xe0"):
        return "it seems to be sound alone. Give a file with moving pictures"
    if b"\x00" not in head[:512]:
        return "it seems to be text. Give the video file itself"
    return (
        "its first bytes are none of MP4, MOV, Matroska, WebM, AVI, FLV, WMV, MPEG, Ogg, MXF or GIF. "
        "Convert it to MP4 first"
    )
