"""Clips over HTTP: forms of every kind, names as people and attackers write them, and bytes that lie there once."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import struct
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import psutil
import pytest
from conftest import MakeClip
from filmmaker import Filmmaking
from rawhttp import Reply, ask, request, wire
from scripted import Library
from serving import API, Serving, serving

from vcompose.jobs.service import Limits
from vcompose.media.tools import Tools
from vcompose.web.operation import Options

CLIPS: Final = f"{API}/clips"
FORM: Final = b"Content-Type: multipart/form-data; boundary=XX"
END: Final = b"--XX--\r\n"


def part(content: bytes, *, head: bytes = b'form-data; name="file"; filename="a.mp4"', lines: bytes = b"") -> bytes:
    """One part of a form; ``lines`` are further headers."""
    return b"--XX\r\nContent-Disposition: " + head + b"\r\n" + lines + b"\r\n" + content + b"\r\n"


async def post(service: Serving, body: bytes, *, kind: bytes = FORM) -> Reply:
    """Post a form as it is."""
    reply = await ask(service.url, "POST", CLIPS, kind, body=body)
    reply.assert_strict()
    return reply


async def nothing_left(service: Serving) -> None:
    """What is not wanted leaves no bytes."""
    async with asyncio.timeout(10):
        while list((service.folder / "incoming").iterdir()):
            await asyncio.sleep(0.02)


def stored(service: Serving) -> list[Path]:
    """The files on the shelf."""
    return [path for path in (service.folder / "clips").rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def video(make_clip: MakeClip) -> bytes:
    """A small clip's bytes."""
    return make_clip("1.mp4", seed=1, size="64x64", seconds=0.4).read_bytes()


@pytest.fixture
async def stocked(tmp_path: Path, tools: Tools, library: Library) -> AsyncIterator[Serving]:
    """A service that knows :func:`video` already, so that nothing needs to be probed."""
    async with serving(library.copy(tmp_path / "data"), tools, options=Options(body_idle=2.0)) as running:
        yield running


NAMES: Final = {
    'filename="海滩 😀.mp4"': "海滩 😀.mp4",
    'filename="%E6%B5%B7.mp4"': "海.mp4",
    'filename="50%25.mp4"': "50%25.mp4",
    'filename="100%.mp4"': "100%.mp4",
    'filename="a%22b.mp4"': 'a"b.mp4',
    'filename="a\\"b.mp4"': 'a"b.mp4',
    'filename="a%0d%0aX: y.mp4"': "a%0d%0aX: y.mp4",
    'filename="../../etc/passwd"': "passwd",
    'filename="..%2f..%2fetc%2fpasswd"': "..%2f..%2fetc%2fpasswd",
    'filename="%E6%B5%B7%2F..%2Fa.mp4"': "a.mp4",
    'filename="/etc/passwd"': "passwd",
    'filename="C:\\\\x\\\\y.mp4"': "y.mp4",
    'filename="a\u202e4pm.mp4"': "a\u202e4pm.mp4",
    'filename="a\u2028b.mp4"': "ab.mp4",
    'filename="<img src=x onerror=alert(1)>.mp4"': "<img src=x onerror=alert(1)>.mp4",
    'filename="$(reboot).mp4"': "$(reboot).mp4",
    'filename="-i \'; rm -rf ~"': "-i '; rm -rf ~",
    "filename*=UTF-8''%e2%82%ac.mp4": "€.mp4",
    "filename=\"x.mp4\"; filename*=UTF-8''%e6%b5%b7.mp4": "海.mp4",
    'filename=""': "clip",
    'filename="   "': "clip",
    'filename="/"': "clip",
    'filename="' + "長" * 400 + '.mp4"': "長" * 255,
    "filename=plain.mp4": "plain.mp4",
    'filename="%ED%A0%80.mp4"': "%ED%A0%80.mp4",
    'filename="{detail}{clip}%s.mp4"': "{detail}{clip}%s.mp4",
}


async def test_names_are_text(stocked: Serving, video: bytes) -> None:
    for given, name in NAMES.items():
        reply = await post(stocked, part(video, head=f'form-data; name="file"; {given}'.encode()) + END)
        assert reply.status == 201, (given, reply)
        document = reply.document
        assert document["name"] == name, given
        assert reply.header("location") == f"{CLIPS}/{document['id']}"
        for attach in ("", "?download=1"):
            told = await ask(stocked.url, "HEAD", f"{CLIPS}/{document['id']}/content{attach}")
            disposition = told.header("content-disposition") or ""
            assert disposition.isascii()
            assert disposition.startswith("attachment; " if attach else "inline; ")
            assert "/" not in disposition
            assert "\\" not in disposition
            assert disposition.count('"') == 2
    for raw in (b'filename="\xff\xfe.mp4"', b'filename="\xed\xa0\x80.mp4"'):  # no text at all
        reply = await post(stocked, part(video, head=b'form-data; name="file"; ' + raw) + END)
        assert reply.document["name"] == ".mp4"
    assert len(stored(stocked)) == 3
    await nothing_left(stocked)


@pytest.mark.parametrize("dots", [".", "..", "...", " .. "])
async def test_a_name_of_dots_names_no_folder(stocked: Serving, video: bytes, dots: str) -> None:
    head = f'form-data; name="file"; filename="{dots}"'.encode()
    document = (await post(stocked, part(video, head=head) + END)).document
    assert document["name"].strip(". "), document["name"]


def nested(content: bytes) -> bytes:
    inner = part(content).replace(b"XX", b"YY") + b"--YY--\r\n"
    return (
        b'--XX\r\nContent-Type: multipart/mixed; boundary=YY\r\nContent-Disposition: form-data; name="f"\r\n\r\n'
        + inner
    )


FIELD: Final = part(b"hello", head=b'form-data; name="x"')
BROKEN: Final[dict[str, Callable[[bytes], bytes]]] = {
    "nothing": lambda _: b"",
    "only the end": lambda _: END,
    "no file": lambda _: FIELD + END,
    "a part without headers": lambda _: b"--XX\r\n\r\nabc\r\n" + END,
    "no header": lambda v: b"--XX\r\nnonsense\r\n\r\n" + v + b"\r\n" + END,
    "a long header": lambda v: b"--XX\r\nX: " + b"a" * 100_000 + b"\r\n\r\n" + v + b"\r\n" + END,
    "many headers": lambda v: b"--XX\r\n" + b"X: a\r\n" * 2000 + b"\r\n" + v + b"\r\n" + END,
    "many fields": lambda v: FIELD * 50 + part(v) + END,
    "a long field": lambda v: part(b"a" * 200_000, head=b'form-data; name="x"') + part(v) + END,
    "two files": lambda v: part(v) + part(v) + END,
    "a second file that is empty": lambda v: part(v) + part(b"") + END,
    "a form in the form": lambda v: nested(v) + END,
    "another form behind": lambda v: part(v) + nested(v) + END,
    "no end": part,
    "cut in the file": lambda v: part(v)[:-50],
    "cut in the boundary": lambda v: part(v) + b"--X",
    "another boundary": lambda v: (part(v) + END).replace(b"XX", b"YY"),
    "a length for a file": lambda v: v,
}


async def test_forms_that_are_broken(stocked: Serving, video: bytes) -> None:
    for what, form in BROKEN.items():
        reply = await post(stocked, form(video))
        assert reply.status == 400, (what, reply)
        reply.assert_problem(400, "bad_multipart")
        assert reply.header("connection") == "close"
    await nothing_left(stocked)
    assert (await stocked.call("GET", "/clips"))[1]["items"][0]["name"] == "other.mp4"


async def test_forms_without_a_boundary(stocked: Serving, video: bytes) -> None:
    body = part(video) + END
    for boundary in (
        b"",
        b"; boundary",
        b'; boundary=""',
        b"; boundary=" + b"x" * 200,
        b"; boundary=X\xc3\xa9X",
        b"; boundary=YY",
    ):
        reply = await post(stocked, body, kind=b"Content-Type: multipart/form-data" + boundary)
        assert reply.status == 400, (boundary, reply)
        reply.assert_problem(400, "bad_multipart")
    for kind in (b"multipart/mixed; boundary=XX", b"application/json", b"application/octet-stream", b"video/mp4"):
        reply = await post(stocked, body, kind=b"Content-Type: " + kind)
        reply.assert_problem(415, "unsupported_media_type")
    await nothing_left(stocked)


TAKEN: Final[dict[str, Callable[[bytes], bytes]]] = {
    "alone": lambda v: part(v) + END,
    "behind a field": lambda v: FIELD + part(v) + END,
    "before a field": lambda v: part(v) + FIELD + END,
    "behind words": lambda v: b"To whom it may concern\r\n" * 50 + part(v) + END,
    "before words": lambda v: part(v) + END + b"yours truly" * 500,
    "with a type": lambda v: part(v, lines=b"Content-Type: video/mp4\r\n") + END,
    "with another type": lambda v: part(v, lines=b"Content-Type: text/html; charset=utf-16\r\n") + END,
    "with a length": lambda v: part(v, lines=b"Content-Length: %d\r\n" % len(v)) + END,
    "with a false length": lambda v: part(v, lines=b"Content-Length: 7\r\n") + END,
    "as if packed": lambda v: part(v, lines=b"Content-Encoding: gzip\r\n") + END,
    "as if in letters": lambda v: part(v, lines=b"Content-Transfer-Encoding: base64\r\n") + END,
}


async def test_forms_that_are_taken(stocked: Serving, video: bytes) -> None:
    for what, form in TAKEN.items():
        reply = await post(stocked, form(video))
        assert reply.status == 201, (what, reply)
        assert reply.document["size"] == len(video), what
    assert len(stored(stocked)) == 3


async def test_bytes_like_a_boundary_are_bytes(service: Serving, video: bytes) -> None:
    like = b"\r\n--X\r\n--xx\r\n-XX\r\n--X--\r\n--\r\n" + b"y--XX" * 20_000 + b"\r\n--X"
    free = struct.pack(">I4s", 8 + len(like), b"free") + like
    body = part(video + free) + END
    clip = ""
    for chunk in (len(body), 1000, 37):
        async with wire(service.url) as connection:
            await connection.send(request("POST", CLIPS, FORM, b"Content-Length: %d" % len(body), length=False))
            for at in range(0, min(len(body), 20 * chunk), chunk):
                await connection.send(body[at : at + chunk])
            await connection.send(body[20 * chunk :])
            reply = await connection.reply()
        assert reply.status == 201
        clip = reply.document["id"]
    back = await ask(service.url, "GET", f"{CLIPS}/{clip}/content")
    assert back.body == video + free
    assert len(stored(service)) == 1


NO_VIDEOS: Final = {
    b"": "empty_file",
    b"hello\n" * 100: "not_a_video",
    b"\0" * 5000: "not_a_video",
    b"#EXTM3U\nhttp://127.0.0.1/x.ts\n": "playlist_refused",
    b"ffconcat version 1.0\nfile /etc/passwd\n": "playlist_refused",
    b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>": "playlist_refused",
    b"\x89PNG\r\n\x1a\n" + b"\0" * 100: "not_a_video",
    b"PK\x03\x04" + b"\0" * 100: "not_a_video",
    b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\xff" * 1000: None,
}


async def test_what_is_no_video_is_refused_by_name(service: Serving) -> None:
    for content, code in NO_VIDEOS.items():
        head = 'form-data; name="file"; filename="我的 <b>视频.mp4"'.encode()
        for language in (b"en", b"zh"):
            form = part(content, head=head) + END
            reply = await ask(service.url, "POST", CLIPS, FORM, b"Accept-Language: " + language, body=form)
            problem = reply.assert_problem(422, code or reply.document["code"])
            assert "我的 <b>视频.mp4" in problem["detail"], problem
            assert str(service.folder) not in reply.body.decode()
            assert ".part" not in reply.body.decode()
    await nothing_left(service)
    assert not stored(service)
    assert (await service.call("GET", "/clips"))[1] == {"items": [], "next": None}


async def test_the_same_bytes_lie_there_once(service: Serving, video: bytes, tmp_path: Path) -> None:
    path = tmp_path / "one.mp4"
    path.write_bytes(video)
    one, other = await asyncio.gather(service.upload(path, name="one.mp4"), service.upload(path, name="other.mp4"))
    assert one["id"] != other["id"]
    assert (one["sha256"], one["name"], other["name"]) == (other["sha256"], "one.mp4", "other.mp4")
    assert [file.read_bytes() for file in stored(service)] == [video]
    assert (await service.call("DELETE", f"/clips/{one['id']}"))[0] == 204
    assert (await service.call("GET", f"/clips/{other['id']}/content"))[1] == video
    assert len(stored(service)) == 1
    for _ in range(2):
        assert (await service.call("DELETE", f"/clips/{one['id']}"))[0] == 404
    assert (await service.call("DELETE", f"/clips/{other['id']}"))[0] == 204
    assert not stored(service)
    again = await service.upload(path)
    assert again["id"] not in {one["id"], other["id"]}
    assert len(stored(service)) == 1


async def test_deletions_and_uploads_of_the_same_bytes_at_once(stocked: Serving, video: bytes) -> None:
    async def come_and_go() -> None:
        for _ in range(6):
            clip = (await post(stocked, part(video) + END)).document["id"]
            assert (await stocked.call("GET", f"/clips/{clip}/content"))[1] == video
            assert (await stocked.call("DELETE", f"/clips/{clip}"))[0] == 204

    first = [clip["id"] for clip in (await stocked.call("GET", "/clips"))[1]["items"] if clip["size"] == len(video)]
    for clip in first:
        await stocked.call("DELETE", f"/clips/{clip}")
    await asyncio.gather(*(come_and_go() for _ in range(4)))
    assert len(stored(stocked)) == 2
    await nothing_left(stocked)


async def test_a_clip_that_a_job_needs_stays(
    tmp_path: Path, tools: Tools, library: Library, make_clip: MakeClip
) -> None:
    films = Filmmaking(make_clip(), held=True)
    async with serving(library.copy(tmp_path / "data"), tools, filmmaker=films) as service:
        one, other, spare = library.clips
        job = await service.submit(one, other)
        for clip in (one, other):
            status, problem = await service.call("DELETE", f"/clips/{clip}")
            assert (status, problem["code"]) == (409, "clip_in_use")
            assert job["id"] in problem["detail"]
        assert (await service.call("DELETE", f"/clips/{spare}"))[0] == 204
        films.let()
        done = await service.ended(job["id"])
        assert (await service.call("DELETE", f"/clips/{one}"))[0] == 204
        assert (await service.call("GET", f"/compositions/{job['id']}"))[1] == done
        assert (await service.call("GET", f"/compositions/{job['id']}/output"))[0] == 200
        status, problem = await service.call("POST", "/compositions", json={"clips": [{"clip": one}, {"clip": other}]})
        assert (status, problem["code"], problem["clip"]) == (422, "clip_not_found", one)


async def test_pages_of_clips(stocked: Serving, video: bytes) -> None:
    made = [(await post(stocked, part(video) + END)).document["id"] for _ in range(7)]
    everything = (await stocked.call("GET", "/clips"))[1]
    assert everything["next"] is None
    newest_first = [clip["id"] for clip in everything["items"]]
    assert newest_first[:7] == made[::-1]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        status, page = await stocked.call("GET", "/clips", params={"limit": "4", **cursor})
        assert status == 200
        found += [clip["id"] for clip in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
        assert len(page["items"]) == 4
        await post(stocked, part(video) + END)  # what comes meanwhile is newer than all pages
        await stocked.call("DELETE", f"/clips/{found[-1]}")  # and what goes moves none
    assert found == newest_first
    assert everything["items"][0] == (await stocked.call("GET", f"/clips/{made[-1]}"))[1]


async def test_uploads_have_a_size(tmp_path: Path, tools: Tools, video: bytes) -> None:
    limits = Limits(grace=0.0, keep_free=0, upload=len(video))
    async with serving(tmp_path / "data", tools, limits=limits) as service:
        assert (await post(service, part(video) + END)).status == 201
        problem = (await post(service, part(video + b"x") + END)).assert_problem(413, "too_large")
        assert "a.mp4" in problem["detail"]
        assert str(len(video)) in problem["detail"]
        for announced in (b"Content-Length: 100000000", b"Content-Length: 9223372036854775807"):
            async with wire(service.url) as connection:  # refused by what is announced
                await connection.send(request("POST", CLIPS, FORM, announced, length=False) + part(video)[:200])
                (await connection.reply()).assert_problem(413, "too_large")
        async with wire(service.url) as connection:  # nothing is announced
            await connection.send(request("POST", CLIPS, FORM, b"Transfer-Encoding: chunked", length=False))
            form = part(video + b"x" * 3_000_000)
            await connection.send(b"%x\r\n" % len(form) + form + b"\r\n")
            (await connection.reply()).assert_problem(413, "too_large")
        async with wire(service.url) as connection:
            await connection.send(request("POST", CLIPS, FORM, b"Transfer-Encoding: chunked", length=False))
            for piece in (part(video)[:100], part(video)[100:], END):
                await connection.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            await connection.send(b"0\r\n\r\n")
            assert (await connection.reply()).status == 201
        await nothing_left(service)
        assert len(stored(service)) == 1


async def test_a_full_disk_is_told_before_it_is_full(
    tmp_path: Path, tools: Tools, library: Library, video: bytes
) -> None:
    limits = Limits(grace=0.0, keep_free=1 << 60)
    async with serving(library.copy(tmp_path / "data"), tools, limits=limits) as service:
        for language, words in ((b"en", "room"), (b"zh", "空间")):
            line = b"Accept-Language: " + language
            reply = await ask(service.url, "POST", CLIPS, FORM, line, body=part(video) + END)
            assert words in reply.assert_problem(507, "no_space")["detail"]
        clips = [{"clip": clip} for clip in library.clips[:2]]
        status, problem = await service.call("POST", "/compositions", json={"clips": clips})
        assert (status, problem["code"]) == (507, "no_space")
        assert (await service.call("POST", "/compositions/plan", json={"clips": clips}))[0] == 200
        assert (await service.call("GET", "/compositions"))[1]["items"] == []
        ready = await ask(service.url, "GET", "/readyz")
        assert (ready.status, ready.document["checks"]["disk"]) == (503, "full")
        assert (await ask(service.url, "GET", "/healthz")).status == 200
        await nothing_left(service)


@pytest.mark.parametrize("sent", [0, 1, 60, 200, 5000, 3_000_000])
async def test_who_goes_in_the_middle_leaves_nothing(service: Serving, video: bytes, sent: int) -> None:
    form = part(video * 200 + b"x" * 3_000_000)
    for wait in (0.0, 0.01, 0.1):
        async with wire(service.url) as connection:
            head = request("POST", CLIPS, FORM, b"Content-Length: 9999999", length=False)
            await connection.send(head + form[:sent])
            await asyncio.sleep(wait)
    await asyncio.sleep(0.1)  # an open that was on its way is over by then
    await nothing_left(service)
    held = [file.path for file in psutil.Process().open_files() if "/incoming/" in file.path]
    assert not held
    assert not stored(service)


class Peak(threading.Thread):
    """Watches how large the process becomes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process()
        self._done = threading.Event()
        self.before = self._process.memory_info().rss
        self.highest = self.before

    def run(self) -> None:
        """Until :meth:`grown` is asked."""
        while not self._done.wait(0.01):
            self.highest = max(self.highest, self._process.memory_info().rss)

    def grown(self) -> int:
        """By how many bytes it grew."""
        self._done.set()
        self.join()
        return self.highest - self.before


async def test_a_large_upload_is_not_held_in_memory(stocked: Serving, video: bytes, tmp_path: Path) -> None:
    size = 300 << 20
    path = tmp_path / "large.mp4"
    with path.open("wb") as file:
        file.write(video + struct.pack(">I4s", size, b"free"))
        file.truncate(len(video) + size)
    head = part(b"")[:-2]
    length = len(head) + len(video) + size + len(b"\r\n" + END)
    await post(stocked, part(video) + END)  # what is imported and allocated once does not count
    peak = Peak()
    peak.start()
    async with wire(stocked.url) as connection:
        await connection.send(request("POST", CLIPS, FORM, b"Content-Length: %d" % length, length=False) + head)
        with path.open("rb") as file:
            await asyncio.get_running_loop().sendfile(connection.writer.transport, file)
        await connection.send(b"\r\n" + END)
        reply = await connection.reply()
    grown = peak.grown()
    assert (reply.status, reply.document["size"]) == (201, len(video) + size)
    assert grown < 30 << 20, f"{grown >> 20} MB"
    peak = Peak()
    peak.start()
    async with wire(stocked.url) as connection:
        await connection.send(request("GET", f"{CLIPS}/{reply.document['id']}/content"))
        await connection.reader.readuntil(b"\r\n\r\n")
        left = len(video) + size
        while left:
            data = await connection.reader.read(1 << 20)
            assert data
            left -= len(data)
    grown = peak.grown()
    assert grown < 30 << 20, f"{grown >> 20} MB"


async def test_a_server_that_stops_takes_nothing_new(service: Serving, video: bytes) -> None:
    await service.service.stop()
    reply = await post(service, part(video) + END)
    reply.assert_problem(503, "stopping")
    assert reply.header("retry-after")
    assert (await ask(service.url, "GET", "/readyz")).status == 503
    assert (await ask(service.url, "GET", "/healthz")).status == 200
    await nothing_left(service)


async def test_clips_that_another_version_looked_at(tmp_path: Path, tools: Tools, library: Library) -> None:
    data = library.copy(tmp_path / "data")
    async with serving(data, tools) as service:
        before = (await service.call("GET", "/clips"))[1]
    with contextlib.closing(sqlite3.connect(data / "vcompose.sqlite")) as database, database:
        database.execute("""UPDATE clip SET looked = '{"form": 7}'""")
    async with serving(data, tools) as service:
        assert (await service.call("GET", "/clips"))[1] == before
        job = await service.submit(*library.clips[:2])
        assert (await service.ended(job["id"]))["state"] == "completed"
    with contextlib.closing(sqlite3.connect(data / "vcompose.sqlite")) as database, database:
        database.execute("""UPDATE clip SET looked = '{"form": 8}'""")
        lost = database.execute("SELECT sha256 FROM clip WHERE id = ?", library.clips[:1]).fetchone()[0]
    (data / "clips" / lost[:2] / lost).unlink()
    async with serving(data, tools) as service:  # one cannot be looked at again: it spoils nothing for the others
        status, listed = await service.call("GET", "/clips")
        assert status == 200, listed
        assert set(library.clips[1:]) <= {clip["id"] for clip in listed["items"]}
        status, problem = await service.call(
            "POST", "/compositions/plan", json={"clips": [{"clip": library.clips[0]}] * 2}
        )
        assert 400 <= status < 500, problem
        assert (await service.call("DELETE", f"/clips/{library.clips[0]}"))[0] == 204
