"""What keeps a stranger's file from being more than a video: options for every input of ffmpeg and ffprobe."""

from __future__ import annotations

from typing import Final

from vcompose.media import codecs

MOST_STREAMS: Final = 32
MOST_PIXELS: Final = 35_389_440
"""8192 x 4320; a larger picture is refused before it is decoded."""


def guards(demuxer: str, formats: str) -> tuple[str, ...]:
    """Input options that keep a stranger's file from being read as anything but what its bytes say."""
    return (
        "-f", demuxer, "-protocol_whitelist", "file", "-format_whitelist", formats, *codecs.GUARDS,
        "-max_streams", str(MOST_STREAMS), "-max_pixels", str(MOST_PIXELS),
    )  # fmt: skip
