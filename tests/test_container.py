"""What a file is by its bytes: every kind, and everything that only pretends to be one."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcompose.media.container import (
    ASF,
    AVI,
    FLV,
    GIF,
    HEAD,
    MATROSKA,
    MP4,
    MPEG_PS,
    MPEG_TS,
    MXF,
    OGG,
    Container,
    sniff,
)
from vcompose.media.errors import ClipError

NAME = "some clip.mp4"


def refusal(head: bytes) -> ClipError:
    """The error that refuses ``head``: it names the file, in its sentence and for programs."""
    with pytest.raises(ClipError) as caught:
        sniff(head, name=NAME)
    assert caught.value.clip == NAME
    assert caught.value.detail.startswith(NAME)
    return caught.value


def transport_stream(size: int, packets: int = 40) -> bytes:
    """Packets ``size`` bytes apart, with no sync byte but their own."""
    body = bytes(i % 60 for i in range(187))
    before, after = {188: (b"", b""), 192: (b"\x00\x01\x02\x03", b""), 204: (b"", bytes(16))}[size]
    return (before + b"\x47" + body + after) * packets


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00", MP4),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00", MP4),
        (b"\x00\x00\x00\x08wide\x00\x00\x12\x34mdat", MP4),
        (b"\x00\x00\x12\x34moov\x00\x00\x00\x6cmvhd", MP4),
        (b"\x00\x00\x00\x01mdat\x00\x00\x00\x01\x00\x00\x00\x00", MP4),
        (b"\x12\x34\x56\x78mdat\x00\x00\x00\x01\x67\x64", MP4),
        (b"\x00\x00\x00\x08skip\x00\x00\x00\x08", MP4),
        (b"\x00\x00\x00\x08free\x00\x00\x00\x08", MP4),
        (b"\x00\x00\x00\x18styp\x00\x00\x00\x00", MP4),
        (b"\x00\x00\x00\x18moof\x00\x00\x00\x00", MP4),
        (b"\x00\x00\x00\x2csidx\x00\x00\x00\x00", MP4),
        (b"\x00\x00\x00\x14pnot\x00\x00\x00\x00", MP4),
        (b"\x00\x00\x00\x20uuid\x00\x00\x00\x00", MP4),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01", MATROSKA),
        (b"RIFF\x00\x10\x00\x00AVI LIST", AVI),
        (b"RIFF\x00\x10\x00\x00AVIX", AVI),
        (b"FLV\x01\x05\x00\x00\x00\x09", FLV),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", ASF),
        (b"\x00\x00\x01\xba\x44\x00", MPEG_PS),
        (b"OggS\x00\x02\x00\x00", OGG),
        (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", MXF),
        (b"GIF89a\x10\x00\x10\x00", GIF),
        (b"GIF87a\x10\x00\x10\x00", GIF),
    ],
)
def test_magic(head: bytes, container: Container) -> None:
    assert sniff(head, name=NAME) is container
    assert sniff(head + bytes(HEAD), name=NAME) is container


def test_the_demuxer_is_among_the_formats_that_its_white_list_allows() -> None:
    for container in (MP4, MATROSKA, AVI, FLV, ASF, MPEG_TS, MPEG_PS, OGG, MXF, GIF):
        assert container.demuxer in container.formats.split(",")
        assert "concat" not in container.formats
        assert "hls" not in container.formats


@pytest.mark.parametrize("size", [188, 192, 204])
def test_transport_stream(size: int) -> None:
    assert sniff(transport_stream(size)[:HEAD], name=NAME) is MPEG_TS


@pytest.mark.parametrize("size", [188, 192, 204])
def test_transport_stream_of_two_packets(size: int) -> None:
    assert sniff(transport_stream(size, 2), name=NAME) is MPEG_TS


@settings(deadline=None)
@given(size=st.sampled_from((188, 192, 204)), lost=st.integers(0, 203))
def test_transport_stream_from_the_middle_of_a_packet(size: int, lost: int) -> None:
    stream = transport_stream(size)[lost % size :][:HEAD]
    assert sniff(stream, name=NAME) is MPEG_TS


def test_one_lost_sync_byte_is_no_transport_stream() -> None:
    stream = bytearray(transport_stream(188)[:HEAD])
    stream[188 * 9] = 0
    assert refusal(bytes(stream)).code == "not_a_video"


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile /etc/passwd\n",
    "m3u": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1/x.ts\n",
    "m3u without its first line": "#EXT-X-VERSION:3\n#EXTINF:10,\nx.ts\n",
    "m3u with a gap": "# EXTM3U\nx.ts\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>\n',
    "smooth streaming": '<?xml version="1.0"?><SmoothStreamingMedia MajorVersion="2">',
    "pls": "[playlist]\nFile1=http://127.0.0.1/x.mp4\n",
    "pls in capitals": "[PLAYLIST]\nFile1=x.mp4\n",
    "asx": '<asx version="3.0"><entry><ref href="x"/></entry></asx>',
    "asf reference": "[Reference]\nRef1=http://127.0.0.1/x?MSWMExt=.asf\n",
    "smil": '<smil><body><video src="x"/></body></smil>',
    "xspf": '<?xml version="1.0"?><playlist version="1">',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "sdp with windows line ends": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n\n  \t", b"\xef\xbb\xbf\r\n "])
def test_playlist(kind: str, before: bytes) -> None:
    assert refusal(before + PLAYLISTS[kind].encode()).code == "playlist_refused"


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32"])
def test_playlist_in_wide_letters(kind: str, encoding: str) -> None:
    assert refusal(PLAYLISTS[kind].encode(encoding)).code == "playlist_refused"


@settings(deadline=None)
@given(kind=st.sampled_from(sorted(PLAYLISTS)), blanks=st.integers(0, 5000))
def test_a_playlist_far_behind_blanks_is_refused_all_the_same(kind: str, blanks: int) -> None:
    refusal((b" " * blanks + PLAYLISTS[kind].encode())[:HEAD])


@pytest.mark.parametrize(
    ("head", "code", "seems"),
    [
        (b"", "empty_file", "is empty"),
        (b"Dear diary,\n", "not_a_video", "text"),
        ("\ufeffLiebes Tagebuch, schön!\n".encode(), "not_a_video", "text"),
        (b"<html><body>404 Not Found</body></html>", "not_a_video", "text"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "not_a_video", "a picture"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not_a_video", "a picture"),
        (b"BM\x36\x00\x0c\x00\x00\x00", "not_a_video", "a picture"),
        (b"II*\x00\x08\x00\x00\x00", "not_a_video", "a picture"),
        (b"MM\x00*\x00\x00\x00\x08", "not_a_video", "a picture"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "not_a_video", "a picture"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00", "not_a_video", "sound alone"),
        (b"\xff\xfb\x90\x44\x00\x00\x00\x00", "not_a_video", "sound alone"),
        (b"\xff\xf3\x40\xc4\x00\x00\x00\x00", "not_a_video", "sound alone"),
        (b"\xff\xf1\x50\x80\x2e\x7f\xfc\x00", "not_a_video", "sound alone"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00", "not_a_video", "sound alone"),
        (b"fLaC\x00\x00\x00\x22", "not_a_video", "sound alone"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "not_a_video", "none of MP4"),
        (b"PK\x03\x04\x14\x00\x00\x00", "not_a_video", "none of MP4"),
        (bytes(HEAD), "not_a_video", "none of MP4"),
        (b"\x00", "not_a_video", "none of MP4"),
    ],
)
def test_no_video(head: bytes, code: str, seems: str) -> None:
    error = refusal(head)
    assert error.code == code
    assert seems in error.detail


@pytest.mark.parametrize(
    "text",
    [
        "The wide world of sports\n",
        "Get free money now\n",
        "Let skip rope\n",
        "Get mdat read\n",
        "GIF8 is how a GIF begins.\n",
        "OggS begins a page of an Ogg file.\n",
        "G" * 200,
        "G" * HEAD,
    ],
    ids=lambda text: text[:8],
)
def test_prose_that_looks_like_a_magic_is_no_video(text: str) -> None:
    refusal(text.encode())


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=9, max_codepoint=126, exclude_characters="\x0b\x0c"), max_size=600))
def test_text_is_no_video(text: str) -> None:
    refusal(text.encode())


_PIECES = st.one_of(
    st.binary(max_size=64),
    st.sampled_from((b"\x47", b"RIFF", b"AVI ", b"ftyp", b"moov", b"\x1a\x45\xdf\xa3", b"GIF8", b"<MPD", b"ID3")),
    st.sampled_from((b"G" * 204, bytes(188), b"\x47" + bytes(187))),
)


@settings(deadline=None)
@given(st.lists(_PIECES, max_size=40).map(b"".join))
def test_any_bytes_are_a_container_or_refused(head: bytes) -> None:
    with contextlib.suppress(ClipError):
        assert isinstance(sniff(head[:HEAD], name=NAME), Container)
