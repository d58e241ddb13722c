"""Files on their way out: ranges and conditions, and names that stay names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email.message import Message
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest
from conftest import MakeClip
from filmmaker import Filmmaking
from hypothesis import given
from hypothesis import strategies as st
from rawhttp import Reply, ask, wire
from scripted import Library
from serving import API, Serving, serving

from vcompose.media.tools import Tools
from vcompose.web.files import disposition

Served = tuple[Serving, str, bytes]


@pytest.fixture(params=["output", "content"])
async def served(
    request: pytest.FixtureRequest, tmp_path: Path, tools: Tools, library: Library, make_clip: MakeClip
) -> AsyncIterator[Served]:
    """A service, the path of a film or a clip on it, and the bytes that lie there."""
    film = make_clip("1.mp4", seed=1, size="64x64", seconds=0.4)
    async with serving(library.copy(tmp_path / "data"), tools, filmmaker=Filmmaking(film)) as running:
        if request.param == "output":
            done = await running.ended((await running.submit(*library.clips[:2]))["id"])
            yield running, done["output"]["url"], film.read_bytes()
        else:
            content = (await running.call("GET", f"/clips/{library.clips[0]}/content"))[1]
            yield running, f"{API}/clips/{library.clips[0]}/content", content


async def get(served: Served, *headers: str, method: str = "GET") -> Reply:
    """Ask for the file."""
    reply = await ask(served[0].url, method, served[1], *(header.encode("utf-8") for header in headers))
    reply.assert_strict()
    if reply.status >= 400:
        reply.assert_problem(reply.status, reply.document["code"])
    return reply


async def test_the_whole_and_parts_of_it(served: Served) -> None:
    data = served[2]
    size = len(data)
    whole = await get(served)
    assert (whole.status, whole.body, whole.header("accept-ranges")) == (200, data, "bytes")
    assert whole.header("content-length") == str(size)
    assert whole.header("content-type") == "video/mp4"
    assert whole.header("cache-control") == "private, no-cache"
    assert "sandbox" in (whole.header("content-security-policy") or "")
    for asked, first, last in (
        ("bytes=0-0", 0, 0),
        ("bytes=0-9", 0, 9),
        ("bytes=5-5", 5, 5),
        ("bytes=5-", 5, size - 1),
        ("bytes=0-", 0, size - 1),
        (f"bytes={size - 1}-", size - 1, size - 1),
        (f"bytes={size - 1}-{size + 100}", size - 1, size - 1),
        ("bytes=-1", size - 1, size - 1),
        ("bytes=-500", size - 500, size - 1),
        (f"bytes=-{size}", 0, size - 1),
        (f"bytes=-{size * 9}", 0, size - 1),
        ("bytes=0-99999999999999999", 0, size - 1),
    ):
        part = await get(served, f"Range: {asked}")
        assert part.status == 206, asked
        assert part.header("content-range") == f"bytes {first}-{last}/{size}", asked
        assert part.body == data[first : last + 1], asked
        assert part.header("content-length") == str(last - first + 1)
        assert part.header("etag") == whole.header("etag")


ODD_RANGES: Final = (
    "bytes=5-2", "bytes=-", "bytes=", "bytes", "bytes=a-b", "bytes=0-0,2-3", "bytes=0-,0-,0-", "items=0-1", "bytes=--1",
    "bytes=+1-2", "bytes=0x0-1", "bytes=\u0660-\u0669", "bytes=1-2-3", "0-1", "bytes=0 - 1", "", "bytes=1.0-2",
    "bytes=" + "0-0," * 900, f"bytes=0-{'9' * 4000}", f"bytes={'9' * 4000}-",
)  # fmt: skip


async def test_ranges_of_nothing(served: Served) -> None:
    size = len(served[2])
    for asked in (f"bytes={size}-", f"bytes={size}-{size + 5}", "bytes=99999999999-", "bytes=-0", "bytes=-00"):
        reply = await get(served, f"Range: {asked}")
        reply.assert_problem(416, "range_not_satisfiable")
        assert reply.header("content-range") == f"bytes */{size}", asked
    # what is no range of bytes may be refused, or passed over for the whole; never is something else sent
    for asked in ODD_RANGES:
        reply = await get(served, f"Range: {asked}")
        assert reply.status in {200, 206, 416}, (asked, reply)
        if reply.status == 200:
            assert reply.body == served[2]
        elif reply.status == 206:
            assert reply.header("content-range") == f"bytes 0-{size - 1}/{size}", asked
    assert (await get(served, "Range: items=0-1")).status == 200
    assert (await get(served, "Range: bytes=0-0,-1")).status in {200, 206}


async def test_conditions(served: Served) -> None:
    whole = await get(served)
    tag, changed = whole.header("etag") or "", whole.header("last-modified") or ""
    assert tag.startswith('"')
    before = formatdate(parsedate_to_datetime(changed).timestamp() - 100, usegmt=True)
    for status, *headers in (
        (304, f"If-None-Match: {tag}"),
        (304, f"If-None-Match: W/{tag}"),
        (304, f'If-None-Match: "x", {tag}'),
        (304, "If-None-Match: *"),
        (304, f"If-Modified-Since: {changed}"),
        (304, f"If-None-Match: {tag}", "Range: bytes=0-0"),
        (304, f"If-None-Match: {tag}", "Range: bytes=99999999-"),
        (200, 'If-None-Match: "x"'),
        (200, "If-None-Match: nonsense"),
        (200, f"If-Modified-Since: {before}"),
        (200, "If-Modified-Since: yesterday"),
        (200, 'If-None-Match: "x"', f"If-Modified-Since: {changed}"),
        (412, 'If-Match: "x"'),
        (200, f"If-Match: {tag}"),
        (200, "If-Match: *"),
        (412, f"If-Unmodified-Since: {before}"),
        (200, f"If-Unmodified-Since: {changed}"),
        (206, "Range: bytes=0-0", f"If-Range: {tag}"),
        (206, "Range: bytes=0-0", f"If-Range: {changed}"),
        (200, "Range: bytes=0-0", 'If-Range: "x"'),
        (200, "Range: bytes=0-0", f"If-Range: W/{tag}"),
        (200, "Range: bytes=0-0", f"If-Range: {before}"),
        (200, "Range: bytes=99999999-", 'If-Range: "x"'),
        (200, f"If-Range: {tag}"),
    ):
        reply = await get(served, *map(str, headers))
        assert reply.status == status, headers
        if status == 304:
            assert not reply.body
            assert reply.header("etag") == tag
            assert reply.header("content-disposition") is None or not reply.body
        elif status == 200:
            assert reply.body == served[2]


async def test_only_the_header(served: Served) -> None:
    whole = await get(served)
    for headers, status, length in (((), 200, len(served[2])), (("Range: bytes=0-9",), 206, 10)):
        async with wire(served[0].url) as connection:
            lines = "".join(f"{header}\r\n" for header in headers)
            question = f"HEAD {served[1]} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()
            await connection.send(question)
            reply = await connection.reply(head=True)
            assert (reply.status, reply.header("content-length")) == (status, str(length))
            assert reply.header("etag") == whole.header("etag")
            await connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await connection.reply()).status == 200  # no byte of a body came in between


async def test_no_packed_twin_is_taken_for_the_file(served: Served) -> None:
    folder = served[0].folder
    for path in [*(folder / "films").iterdir(), *(folder / "clips").rglob("*")]:
        if path.is_file():
            path.with_name(f"{path.name}.gz").write_bytes(b"packed")
            path.with_name(f"{path.name}.br").write_bytes(b"packed")
    reply = await get(served, "Accept-Encoding: gzip, br")
    assert (reply.status, reply.body, reply.header("content-encoding")) == (200, served[2], None)


async def test_a_file_that_is_gone(served: Served) -> None:
    folder = served[0].folder
    for path in [*(folder / "films").iterdir(), *(folder / "clips").rglob("*")]:
        if path.is_file():
            path.unlink()
    reply = await get(served)
    assert reply.status in {404, 409}
    assert str(folder) not in reply.body.decode()


async def test_who_goes_while_a_file_comes(served: Served) -> None:
    for _ in range(5):
        async with wire(served[0].url, receive=2048) as connection:
            await connection.send(f"GET {served[1]} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await asyncio.wait_for(connection.reader.read(1000), 10)
    assert (await get(served)).body == served[2]


FILENAMES: Final = (
    "海滩 😀.mp4", 'a"b.mp4', "a'b.mp4", "a;b.mp4", "a%22b.mp4", "a%0d%0aX-Evil: 1.mp4", "100%.mp4", "a=b.mp4",
    "x\u202e4pm.exe.mp4", "é" * 196 + ".mp4", "<script>alert(1).mp4", "~.mp4", "$(x).mp4",
    "attachment; filename=evil.mp4", "UTF-8''x.mp4", "CON.mp4", "-rf.mp4", "\u00a0.mp4", "a\ufeffb.mp4",
)  # fmt: skip
NO_FILENAMES: Final = (
    "", ".", "..", " ", "a", "a.exe", "a.mp4.exe", "../a.mp4", "a/b.mp4", "a\\b.mp4", "a\nb.mp4", "a\r\nX: y.mp4",
    "a\0.mp4", "a\x7fb.mp4", "a\u2028b.mp4", "a\u0085b.mp4", "a" * 197 + ".mp4", "a.mp4\n", "a.mp4 ",
)  # fmt: skip


async def test_names_of_films(tmp_path: Path, tools: Tools, library: Library, make_clip: MakeClip) -> None:
    film = make_clip("1.mp4", seed=1, size="64x64", seconds=0.4)
    async with serving(library.copy(tmp_path / "data"), tools, filmmaker=Filmmaking(film)) as service:
        one, other, _ = library.clips
        for name in FILENAMES:
            done = await service.ended((await service.submit(one, other, filename=name))["id"])
            assert done["output"]["filename"] == name
            for query, kind in (("", "inline"), ("?download=0", "inline"), ("?download=1", "attachment")):
                reply = await ask(service.url, "HEAD", done["output"]["url"] + query)
                assert_named(reply.header("content-disposition") or "", name, kind)
                assert not [key for key, _ in reply.headers if "evil" in key]
        wanted = {"clips": [{"clip": one}, {"clip": other}]}
        for name in NO_FILENAMES:
            status, problem = await service.call("POST", "/compositions", json={**wanted, "output": {"filename": name}})
            assert status == 400, name
            assert problem["code"] in {"bad_filename", "bad_request"}, name
        assert {path.suffix for path in (service.folder / "films").iterdir()} == {".mp4"}
        assert not list(tmp_path.glob("*.mp4"))


def assert_named(text: str, name: str, kind: str) -> None:
    """A Content-Disposition gives a name as one name, to old readers and to new ones."""
    assert text.isascii()
    assert text.isprintable()
    message = Message()
    message["Content-Disposition"] = text
    assert message.get_content_disposition() == kind
    parameters = dict(message.get_params(header="content-disposition") or [])
    assert set(parameters) <= {kind, "filename", "filename*"}, text
    full = text.partition("filename*=UTF-8''")[2]
    assert ";" not in full
    assert '"' not in full
    assert unquote(full) == name
    assert len(text) < 8000
    plain = text.partition('filename="')[2].partition('"')[0]
    assert not set(plain) & set('\\/%;"')


@given(name=st.text(max_size=255), attach=st.booleans())
def test_any_name_is_one_name(name: str, attach: bool) -> None:
    readable = name.encode("utf-8", "replace").decode()
    assert_named(disposition(name, attach=attach), readable, "attachment" if attach else "inline")
