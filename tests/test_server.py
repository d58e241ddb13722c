"""Beneath the application: headers and bodies that never end, what is no HTTP at all, and a server that stops."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from rawhttp import PATIENCE, UPGRADE, ask, request, wire
from scripted import Library
from serving import API, Serving, serving

from vcompose.jobs.service import Limits
from vcompose.media.tools import Tools
from vcompose.web.operation import Options

HEADER = 0.6
"""Seconds that a header may take in these tests."""
IDLE = 0.8
"""Seconds that a body may stand still."""
PART = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
FORM = b"Content-Type: multipart/form-data; boundary=XX"
JSON = b"Content-Type: application/json"


@pytest.fixture
async def hasty(tmp_path: Path, tools: Tools) -> Any:
    """A service that does not wait long."""
    async with serving(tmp_path / "data", tools, options=Options(body_idle=IDLE), header_seconds=HEADER) as running:
        yield running


async def drip(service: Serving, first: bytes, drop: bytes, *, patience: float = PATIENCE) -> tuple[float, bytes]:
    """Send a beginning, then a drop each twentieth of a second; gives after which time it was closed, and what came."""
    async with wire(service.url) as connection:
        begun = time.monotonic()
        await connection.send(first)
        closed = asyncio.create_task(connection.closed(patience))
        while not closed.done():
            if drop:
                await connection.send(drop)
            await asyncio.wait([closed], timeout=0.05)
        return time.monotonic() - begun, closed.result()


async def test_a_header_that_never_ends_is_closed(hasty: Serving) -> None:
    begun = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    ways = {
        "silence": (b"", b""),
        "an endless address": (b"GET /", b"a"),
        "an endless list": (begun, b"X: y\r\n"),
        "an endless value": (begun + b"X: ", b"y"),
        "only line ends": (b"\r\n", b"\r\n"),
        "a handshake": (b"GET /api/v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n", b"X: y\r\n"),
        "after one that was answered": (begun + b"\r\n" + begun, b"X: y\r\n"),
        "kept open": (begun + b"\r\n", b""),
    }
    results = await asyncio.gather(*(drip(hasty, *way) for way in ways.values()))
    for name, (seconds, came) in zip(ways, results, strict=True):
        assert HEADER * 0.9 < seconds < HEADER + 5, f"{name}: {seconds:.2f} s"
        assert came.startswith(b"HTTP/1.1 200") or not came, f"{name}: {came[:100]!r}"
    assert (await ask(hasty.url, "GET", "/healthz")).status == 200


async def test_a_body_that_stops_is_refused(hasty: Serving) -> None:
    async def stalls(path: str, *headers: bytes, begun: bytes) -> None:
        async with wire(hasty.url) as connection:
            started = time.monotonic()
            await connection.send(request("POST", path, *headers, length=False) + begun)
            reply = await connection.reply()
            reply.assert_problem(408, "request_timeout")
            assert reply.header("connection") == "close"
            assert IDLE * 0.9 < time.monotonic() - started < IDLE + 5

    long = b"Content-Length: 100000"
    chunked = b"Transfer-Encoding: chunked"
    await asyncio.gather(
        stalls(f"{API}/compositions", JSON, long, begun=b""),
        stalls(f"{API}/compositions", JSON, long, begun=b'{"clips":'),
        stalls(f"{API}/compositions/plan", JSON, chunked, begun=b'9\r\n{"clips":\r\n'),
        stalls(f"{API}/clips", FORM, long, begun=b""),
        stalls(f"{API}/clips", FORM, long, begun=PART[:20]),
        stalls(f"{API}/clips", FORM, long, begun=PART + b"x" * 5000),
        stalls(f"{API}/clips", FORM, chunked, begun=b"%x\r\n" % len(PART) + PART + b"\r\n"),
    )
    assert not list((hasty.folder / "incoming").iterdir())


async def test_a_slow_steady_body_is_never_cut(hasty: Serving) -> None:
    async def slowly(path: str, *headers: bytes, body: bytes) -> tuple[int, float]:
        async with wire(hasty.url) as connection:
            begun = time.monotonic()
            await connection.send(request("POST", path, *headers, b"Content-Length: %d" % len(body), length=False))
            pieces = 16
            size = -(-len(body) // pieces)
            for at in range(0, len(body), size):
                await connection.send(body[at : at + size])
                await asyncio.sleep(IDLE / 4)
            return (await connection.reply()).status, time.monotonic() - begun

    text = b'{"clips": []}' + b" " * 100
    form = PART + b"no video\n" * 300 + b"\r\n--XX--\r\n"
    (one, seconds), (other, _) = await asyncio.gather(
        slowly(f"{API}/compositions", JSON, body=text), slowly(f"{API}/clips", FORM, body=form)
    )
    assert seconds > 3 * IDLE
    assert (one, other) == (400, 422)


async def test_bytes_that_come_one_by_one_are_no_silence(hasty: Serving) -> None:
    boundary = b"------------------------a-boundary-longer-than-what-comes-in-time"
    form = PART.replace(b"XX", boundary) + b"no\r\n--" + boundary + b"--\r\n"
    async with wire(hasty.url) as connection:
        length = b"Content-Length: %d" % len(form)
        kind = b"Content-Type: multipart/form-data; boundary=" + boundary
        await connection.send(request("POST", f"{API}/clips", kind, length, length=False) + form[:-40])
        for byte in form[-40:]:
            await connection.send(bytes([byte]))
            await asyncio.sleep(IDLE / 16)
        assert (await connection.reply()).status == 422


NO_REQUESTS = {
    "no header": b"GET / HTTP/1.1\r\nHost: localhost\r\nno header\r\n\r\n",
    "a space in a name": b"GET / HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: y\r\n z\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "odd method": b"FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bytes in the address": b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no address": b"GET http://[/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "TLS": bytes.fromhex("16030100f0010000ec0303") + b"x" * 64,
    "another version": b"GET / HTTP/3.7\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "negative length": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "no chunk": b"POST /api/v1/clips HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
}


@pytest.mark.parametrize("data", NO_REQUESTS.values(), ids=NO_REQUESTS)
async def test_what_is_no_request(service: Serving, data: bytes) -> None:
    async with wire(service.url) as connection:
        await connection.send(data)
        reply = await connection.reply()
        reply.assert_problem(400, "bad_request")
        await connection.closed(5)


READ_HEADERS = (
    "If-Modified-Since", "If-Unmodified-Since", "If-None-Match", "If-Match", "If-Range", "Range", "Accept-Language",
    "Accept-Encoding", "Accept", "Origin", "Host", "Content-Type", "Content-Encoding", "Connection", "Upgrade",
    "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Expect",
    "Idempotency-Key", "User-Agent", "X-Forwarded-For", "Transfer-Encoding", "Content-Length", "Date",
)  # fmt: skip


NO_TEXTS = (b"\xff", b'"\xe5"', b"Tue, \xdf4 Nov 2026 11:41:00 GMT", b"bytes=\xb0-1", "\u6d77".encode(), b"\x80" * 99)


async def test_bytes_that_are_no_text_in_headers(tmp_path: Path, tools: Tools, library: Library) -> None:
    async with serving(library.copy(tmp_path / "data"), tools) as service:
        content = f"{API}/clips/{library.clips[0]}/content"
        shake = UPGRADE.removesuffix(b"\r\n").split(b"\r\n")
        for name in READ_HEADERS:
            for value in (
                b"\xff",
                b'"\xe5"',
                b"Tue, \xdf4 Nov 2026 11:41:00 GMT",
                b"bytes=\xb0-1",
                "\u6d77".encode(),
                b"\x80" * 99,
            ):
                line = name.encode() + b": " + value
                for path, lines in ((content, []), (content, [b"Range: bytes=0-1"]), (f"{API}/ws", shake)):
                    kept = [one for one in lines if not one.lower().startswith(name.lower().encode() + b":")]
                    async with wire(service.url) as connection:
                        host = None if name == "Host" else b"localhost"
                        await connection.send(request("GET", path, line, *kept, host=host))
                        reply = await connection.reply()
                        assert reply.status < 500, (name, value, path, reply)
                        reply.assert_strict()


GOOD = (
    request("GET", f"{API}/clips?limit=5&cursor=7", b"Accept-Language: zh", b"Origin: http://localhost:80"),
    request("POST", f"{API}/compositions/plan", JSON, b"Idempotency-Key: k",
            body=b'{"clips":[{"clip":"c_a","start":1.5},{"clip":"c_b"}],"output":{"fps":"30/1"}}'),
    request("POST", f"{API}/clips", FORM, body=PART + b"no video" * 20 + b"\r\n--XX--\r\n"),
    request("POST", f"{API}/clips", FORM, b"Expect: 100-continue", body=PART + b"\r\n--XX--\r\n"),
    request("GET", f"{API}/clips/CLIP/content?download=1", b"Range: bytes=0-99", b'If-Range: "x"',
            b'If-None-Match: "y"', b"If-Modified-Since: Tue, 24 Nov 2026 11:41:00 GMT"),
    request("GET", f"{API}/ws?since=0", UPGRADE.removesuffix(b"\r\n"))
    + b"\x81\x85\0\0\0\0hello\x89\x80\0\0\0\0",
    request("GET", f"{API}/compositions/j_x?after=1&wait=0.01"),
    request("GET", "/static/style.css", b'If-None-Match: "z"'),
    request("POST", f"{API}/compositions", JSON, b"Transfer-Encoding: chunked", length=False)
    + b'5\r\n{"cli\r\n3\r\nps"\r\n0\r\n\r\n',
)  # fmt: skip
"""Requests as they should be."""
ODD = (
    b"%00", b"%ff", b"%0d%0a", b"..%2f", b"\r\n", b"A" * 9000, b"\xed\xa0\x80", "\u6d77".encode(), b"-1", b"9" * 30,
    b'"', b"*", b"NaN", b"%", b"+", b"\0", b"\n", b";", b",", b"\xff", b" ",
)  # fmt: skip


def noisy(random: Random) -> bytes:
    """A request with a few bytes of it changed."""
    data = bytearray(random.choice(GOOD))
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        at = random.randrange(min(len(data), random.choice((300, 100_000))) + 1)
        match random.randrange(6):
            case 0:
                data[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                data[at:at] = random.choice(ODD)
            case 2:
                del data[at : at + random.randrange(1, 20)]
            case 3:
                start = random.randrange(len(data) + 1)
                data[at:at] = data[start : start + random.randrange(1, 60)]
            case 4 if data:
                data[at - 1] ^= 1 << random.randrange(8)
            case _:
                del data[at:]
    return bytes(data)


async def test_noise(tmp_path: Path, tools: Tools, library: Library) -> None:
    options = Options(body_idle=0.3)
    async with serving(library.copy(tmp_path / "data"), tools, options=options, header_seconds=0.3) as service:

        async def send(seed: int) -> None:
            data = noisy(Random(seed)).replace(b"CLIP", library.clips[0].encode())
            async with wire(service.url) as connection:
                await connection.send(data)
                came = b""
                with contextlib.suppress(TimeoutError):
                    came = await connection.closed(0.7)
            answers = re.findall(rb"HTTP/1\.[01] (\d\d\d) [A-Z]", came)
            assert not [status for status in answers if status >= b"500"], (seed, data, came[:500])
            assert b"aiohttp" not in came, (seed, data)

        for begin in range(0, 480, 60):
            await asyncio.gather(*(send(seed) for seed in range(begin, begin + 60)))
        assert (await ask(service.url, "GET", "/readyz")).status == 200
        async with asyncio.timeout(10):
            while service.service.watchers or list((service.folder / "incoming").iterdir()):
                await asyncio.sleep(0.05)


async def test_headers_have_a_size(service: Serving) -> None:
    too_much = (
        request("GET", "/" + "a" * 20_000),
        request("GET", "/healthz?" + "a" * 20_000),
        request("GET", "/healthz", b"X: " + b"a" * 20_000),
        request("GET", "/healthz", b"X" * 20_000 + b": a"),
        request("GET", "/healthz", *(b"X%d: a" % number for number in range(1000))),
        request("GET", "/healthz", *(b"Cookie: a" for number in range(1000))),
    )
    for data in too_much:
        async with wire(service.url) as connection:
            await connection.send(data)
            reply = await connection.reply()
            assert reply.status in {400, 431}, data[:50]
            reply.assert_problem(reply.status, "header_too_large" if reply.status == 431 else "bad_request")
            assert len(reply.body) < 1000
    assert (await ask(service.url, "GET", "/healthz", *(b"X%d: a" % number for number in range(60)))).status == 200


async def test_broken_chunks_are_the_clients_fault(hasty: Serving) -> None:
    for path, kind, first in (
        ("compositions", JSON, b'{"clips": '),
        ("compositions/plan", JSON, b"["),
        ("clips", FORM, PART),
        ("clips", FORM, PART + b"x" * 5000),
        ("clips", FORM, PART[:10]),
    ):
        async with wire(hasty.url) as connection:
            head = request("POST", f"{API}/{path}", kind, b"Transfer-Encoding: chunked", length=False)
            await connection.send(head + b"%x\r\n" % len(first) + first + b"\r\n")
            await asyncio.sleep(0.1)
            await connection.send(b"no chunk\r\n")
            reply = await connection.reply()
            # the parser does not tell the body's reader, so it may be the silence that is noticed
            assert reply.status in {400, 408}, reply
            reply.assert_problem(reply.status, reply.document["code"])
    assert not list((hasty.folder / "incoming").iterdir())


async def test_an_answer_comes_before_the_body_is_asked_for(tmp_path: Path, tools: Tools) -> None:
    limits = Limits(grace=0.0, keep_free=0, upload=1000)
    async with serving(tmp_path / "data", tools, limits=limits) as service:

        async def expecting(*headers: bytes, path: str = "clips", host: bytes = b"localhost") -> int:
            async with wire(service.url) as connection:
                lines = (b"Expect: 100-continue", *headers)
                await connection.send(request("POST", f"{API}/{path}", *lines, host=host, length=False))
                return (await connection.reply()).status

        length = b"Content-Length: 900"
        assert await expecting(FORM, length) == 100
        assert await expecting(JSON, length, path="compositions") == 100
        assert await expecting(FORM, length, host=b"evil.example") == 421
        assert await expecting(FORM, length, b"Origin: null") == 403
        assert await expecting(FORM, length, b"Content-Encoding: gzip") == 415
        assert await expecting(FORM, b"Content-Length: 100000000000") in {413, 507}
    async with serving(tmp_path / "full", tools, limits=Limits(grace=0.0, keep_free=1 << 60)) as service:
        assert await expecting(FORM, length) == 507


@pytest.mark.serial
async def test_it_stops_promptly_whoever_is_there(tmp_path: Path, tools: Tools) -> None:
    async with aiohttp.ClientSession() as session:
        async with serving(tmp_path / "data", tools) as service:
            sockets = [await session.ws_connect(f"{service.url}{API}/ws") for _ in range(5)]
            for socket in sockets:
                assert (await socket.receive_json())["type"] == "snapshot"
            mute = wire(service.url, receive=4096)
            held = wire(service.url)
            kept = wire(service.url)
            silent = await mute.__aenter__()
            await silent.send(request("GET", f"{API}/ws", UPGRADE.removesuffix(b"\r\n")))
            uploading = await held.__aenter__()
            await uploading.send(request("POST", f"{API}/clips", FORM, b"Content-Length: 9999", length=False) + PART)
            idle = await kept.__aenter__()
            await idle.send(request("GET", "/healthz"))
            assert (await idle.reply()).status == 200

            async def poll() -> tuple[int, Any]:
                url = f"{service.url}{API}/events"
                async with session.get(url, params={"after": "1000", "wait": "60"}) as answer:
                    return answer.status, await answer.json()

            async def farewell(socket: aiohttp.ClientWebSocketResponse) -> tuple[Any, float]:
                while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
                return message.data, time.monotonic()

            polls = [asyncio.create_task(poll()) for _ in range(5)]
            farewells = [asyncio.create_task(farewell(socket)) for socket in sockets]
            while service.service.watchers < 11:
                await asyncio.sleep(0.01)
            begun = time.monotonic()
        assert time.monotonic() - begun < 3.0
        for code, when in await asyncio.gather(*farewells):
            assert code == aiohttp.WSCloseCode.GOING_AWAY
            assert when - begun < 3.0
        assert await asyncio.gather(*polls) == [(200, {"items": [], "next": 1000})] * 5
        for manager in (mute, held, kept):
            await manager.__aexit__(None, None, None)
