"""Closed by default: names, origins and packed bodies are refused on every route, and every answer is strict."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeClip
from rawhttp import UPGRADE, ask, request, wire
from serving import API, Serving, serving

from vcompose import assets
from vcompose.media.tools import Tools
from vcompose.web.application import build
from vcompose.web.guard import host_name
from vcompose.web.operation import Options


def routes(service: Serving) -> Iterator[tuple[str, str]]:
    """Every method and path that the application answers, with something in the place of each part."""
    app = build(service.service, Options(), static=assets.static(), version="0")
    for route in app.router.routes():
        assert route.resource is not None
        yield route.method, re.sub(r"\{[^}]+\}", "x", route.resource.canonical)


def shaken(path: str) -> bytes:
    """The handshake's headers where a path is a socket's."""
    return UPGRADE.removesuffix(b"\r\n") if path.endswith("/ws") else b"X-Nothing: 1"


async def test_every_route_is_guarded(service: Serving) -> None:
    listed = list(routes(service))
    assert {f"{API}/clips", f"{API}/ws", "/", "/docs", "/metrics", "/openapi.json", "/static/x"} <= {
        p for _, p in listed
    }
    assert len(listed) > 25
    for method, path in listed:
        shake = shaken(path)
        refusals = (
            (421, await ask(service.url, method, path, shake, host=b"evil.example")),
            (403, await ask(service.url, method, path, shake, b"Origin: https://evil.example")),
            (415, await ask(service.url, method, path, shake, b"Content-Encoding: gzip")),
        )
        for status, reply in refusals:
            assert reply.status == status, f"{method} {path}: {reply}"
            reply.assert_strict()
        allowed = await ask(service.url, method, path, shake, b"Origin: http://localhost:8080")
        assert allowed.status not in {403, 415, 421} or (method == "POST" and allowed.status == 415), (method, path)
        allowed.assert_strict()


async def test_also_where_there_is_no_route(service: Serving) -> None:
    for path in ("/nothing", f"{API}/nothing", "//api/v1/clips", "/static"):
        (await ask(service.url, "GET", path, host=b"evil.example")).assert_problem(421, "host_not_allowed")
        (await ask(service.url, "GET", path)).assert_problem(404, "not_found")


GOOD_HOSTS = (
    b"127.0.0.1", b"127.0.0.1:80", b"localhost", b"localhost:8080", b"LocalHost:8080", b"localhost.", b"localhost.:80",
    b"[::1]", b"[::1]:8080", b"films.example.org", b"FILMS.Example.Org:443", b"films.example.org.",
    b"[2001:DB8::7]:9000",
)  # fmt: skip
BAD_HOSTS = (
    b"", b"evil.example", b"127.0.0.1.evil.example", b"localhost.evil.example", b"evil.example:80",
    b"localhost@evil.example", b"evil.example@localhost", b"localhost:80:80", b"localhost:port", b"localhost:",
    b"localhost:123456", b"[::1", b"::1", b"::1]", b"[::1]evil", b"[::1].evil.example", b"0.0.0.0", b"127.0.0.2",
    b"127.1", b"2130706433", b"0x7f000001", b"[0:0:0:0:0:0:0:1]", b"[::ffff:127.0.0.1]", b"localhost,evil.example",
    b"localhost..", b".localhost", b"localhost/", b"http://localhost", b"\xef\xbd\x8cocalhost", b"localhost\xff",
    b"example.org", b"x.films.example.org", b"films.example.org.evil.example",
)  # fmt: skip


async def test_hosts(tmp_path: Path, tools: Tools) -> None:
    options = Options(hosts=frozenset(map(host_name, ("Films.example.org", "2001:db8::7"))))
    async with serving(tmp_path / "data", tools, options=options) as service:
        for host in GOOD_HOSTS:
            assert (await ask(service.url, "GET", "/healthz", host=host)).status == 200, host
        for host in BAD_HOSTS:
            reply = await ask(service.url, "GET", "/healthz", host=host)
            # the parser refuses what can be in no header before the guard sees it
            reply.assert_problem(*((421, "host_not_allowed") if reply.status == 421 else (400, "bad_request")))
        for twice in (b"Host: localhost", b"Host: evil.example", b"hOST: localhost"):
            assert (await ask(service.url, "GET", "/healthz", twice)).status in {400, 421}, twice
        assert (await ask(service.url, "GET", "/healthz", host=None)).status in {400, 421}
        async with wire(service.url) as old:
            await old.send(b"GET /healthz HTTP/1.0\r\n\r\n")
            (await old.reply()).assert_problem(421, "host_not_allowed")
        async with wire(service.url) as absolute:  # a proxy's form: the header counts all the same
            await absolute.send(b"GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            (await absolute.reply()).assert_problem(421, "host_not_allowed")


GOOD_ORIGINS = (
    b"http://localhost", b"http://localhost:8080", b"https://127.0.0.1", b"http://[::1]:8080",
    b"https://films.example.org", b"HTTPS://Films.Example.Org", b"http://localhost.",
)  # fmt: skip
BAD_ORIGINS = (
    b"null", b"", b"https://evil.example", b"http://127.0.0.1.evil.example", b"http://localhost.evil.example",
    b"http://localhost@evil.example", b"http://evil.example@localhost", b"http://user:pw@localhost",
    b"http://localhost:80@evil.example", b"http://evil.example#@localhost", b"http://evil.example?localhost",
    b"http://evil.example/localhost", b"http://evil.example\\@localhost", b"http://localhost\\.evil.example",
    b"ftp://localhost", b"file://localhost", b"ws://localhost", b"chrome-extension://localhost", b"localhost",
    b"//localhost", b"http:localhost", b"http:/localhost", b"http:///localhost", b"javascript://localhost", b"http://",
    b"http://[", b"http://]", b"http://[x]", b"http://[::1", b"http://[::1]]", b"http://lo\tcalhost",
    b"ht\ttp://localhost", b"http://localhost http://evil.example", b"http://localhost, http://evil.example",
    b"http://localhost/", b"http://localhost/path", b"http://localhost?x", b"http://localhost#x",
    b"http://\xef\xbd\x8cocalhost", b"http://localhost\xff", b"http://%6cocalhost", b"http://localhost%00.evil.example",
)  # fmt: skip


async def test_origins(tmp_path: Path, tools: Tools) -> None:
    options = Options(hosts=frozenset({"films.example.org"}))
    async with serving(tmp_path / "data", tools, options=options) as service:
        for origin in GOOD_ORIGINS:
            assert (await ask(service.url, "GET", "/healthz", b"Origin: " + origin)).status == 200, origin
        for origin in BAD_ORIGINS:
            reply = await ask(service.url, "GET", "/healthz", b"Origin: " + origin)
            reply.assert_problem(*((400, "bad_request") if b"\xff" in origin else (403, "origin_not_allowed")))
        both = (b"Origin: http://localhost", b"Origin: https://evil.example")
        for headers in (both, both[::-1]):
            assert (await ask(service.url, "GET", "/healthz", *headers)).status in {400, 403}


async def test_a_socket_from_elsewhere_is_refused_and_ones_own_is_not(service: Serving) -> None:
    shake = UPGRADE.removesuffix(b"\r\n")
    for path in (f"{API}/ws", f"{API}/ws?since=0"):
        for origin in (b"null", b"https://evil.example", b"ws://localhost"):
            reply = await ask(service.url, "GET", path, shake, b"Origin: " + origin)
            reply.assert_problem(403, "origin_not_allowed")
        reply = await ask(service.url, "GET", path, shake, host=b"evil.example")
        reply.assert_problem(421, "host_not_allowed")
        for headers in ((), (b"Origin: http://localhost:1",)):
            reply = await ask(service.url, "GET", path, shake, *headers)
            assert reply.status == 101
            reply.assert_strict()


async def test_packed_bodies_stay_packed(service: Serving) -> None:
    bomb = gzip.compress(b'{"clips": [], "x": "' + b"a" * 20_000_000 + b'"}')
    for encoding in (b"gzip", b"GZIP", b"deflate", b"br", b"zstd", b"gzip, identity", b"identity, gzip", b"x-gzip"):
        lines = (b"Content-Type: application/json", b"Content-Encoding: " + encoding)
        reply = await ask(service.url, "POST", f"{API}/compositions/plan", *lines, body=bomb)
        reply.assert_problem(415, "compressed_body")
    twice = (b"Content-Type: application/json", b"Content-Encoding: identity", b"Content-Encoding: gzip")
    assert (await ask(service.url, "POST", f"{API}/compositions/plan", *twice, body=bomb)).status in {400, 415}
    # what only pretends not to be packed is read as it lies there
    lines = (b"Content-Type: application/json", b"Content-Encoding: identity")
    (await ask(service.url, "POST", f"{API}/compositions/plan", *lines, body=bomb)).assert_problem(400, "bad_json")


async def test_every_kind_of_answer_is_strict(service: Serving, make_clip: MakeClip) -> None:
    clip = (await service.upload(make_clip()))["id"]
    content = f"{API}/clips/{clip}/content"
    tag = (await ask(service.url, "HEAD", "/")).header("etag") or ""
    mine = (await ask(service.url, "HEAD", content)).header("etag") or ""
    assert tag
    assert mine
    script = next(path.name for path in assets.static().glob("*.js"))
    for expected, method, path, *headers in (
        (200, "GET", "/"),
        (200, "HEAD", "/"),
        (304, "GET", "/", f"If-None-Match: {tag}"),
        (200, "GET", f"/static/{script}"),
        (200, "HEAD", f"/static/{script}"),
        (404, "GET", "/static/none.js"),
        (404, "HEAD", "/static/none.js"),
        (404, "HEAD", "/nothing"),
        (405, "PUT", "/healthz"),
        (405, "DELETE", "/"),
        (200, "GET", "/openapi.json"),
        (200, "GET", "/metrics"),
        (200, "GET", "/docs"),
        (400, "GET", f"{API}/clips?limit=x"),
        (200, "GET", content),
        (206, "GET", content, "Range: bytes=0-0"),
        (304, "GET", content, f"If-None-Match: {mine}"),
        (412, "GET", content, 'If-Match: "other"'),
        (416, "GET", content, "Range: bytes=99999999-"),
        (417, "POST", f"{API}/clips", "Expect: a miracle"),
        (426, "GET", f"{API}/ws"),
        (204, "DELETE", f"{API}/clips/{clip}"),
    ):
        assert isinstance(method, str)
        assert isinstance(path, str)
        reply = await ask(service.url, method, path, *(str(header).encode() for header in headers))
        assert reply.status == expected, (method, path, headers, reply)
        reply.assert_strict()
        if expected >= 400 and method != "HEAD":
            assert reply.header("content-type") == "application/problem+json; charset=utf-8", (method, path, reply)
            assert reply.document["status"] == expected


async def test_files_of_the_page_and_no_others(service: Serving) -> None:
    static = assets.static()
    for climb in (
        "..%2fpyproject.toml", "../pyproject.toml", "%2e%2e/pyproject.toml", "%2e%2e%2fpyproject.toml", "/etc/passwd",
        "%2fetc%2fpasswd", "..%5cpyproject.toml", "..%00", "index.html%00.js", "%252e%252e%252fpyproject.toml",
        "....//pyproject.toml", "./index.html/..%2f..%2fpyproject.toml", "%c0%ae%c0%ae/pyproject.toml", "index.html/",
        "a" * 5000, "", ".", "..", "%2e", "vendor", "vendor/", "~root", "*", "index.html;.js", "%ED%A0%80",
    ):  # fmt: skip
        reply = await ask(service.url, "GET", f"/static/{climb}")
        assert reply.status in {403, 404}, (climb, reply)
        reply.assert_strict()
        assert b"[project]" not in reply.body
        assert b"root:" not in reply.body
    for path in sorted(static.rglob("*")):
        if path.is_file():
            reply = await ask(service.url, "GET", f"/static/{path.relative_to(static).as_posix()}")
            assert (reply.status, reply.body) == (200, path.read_bytes())
            reply.assert_strict()


async def test_a_refused_body_is_not_waited_for(service: Serving) -> None:
    async with wire(service.url) as connection:
        head = request("POST", f"{API}/clips", b"Content-Length: 1000000000", host=b"evil.example", length=False)
        await connection.send(head + b"x")
        (await connection.reply()).assert_problem(421, "host_not_allowed")


@pytest.mark.parametrize(
    ("written", "name"),
    [("films.example.org", "films.example.org"), ("Films.Example.Org.", "films.example.org"), ("::1", "[::1]"),
     ("[2001:DB8::7]", "[2001:db8::7]"), ("2001:db8::7", "[2001:db8::7]"), ("films:8080", "films")],
)  # fmt: skip
def test_names_as_operators_write_them(written: str, name: str) -> None:
    assert host_name(written) == name


@pytest.mark.parametrize("written", ["", "*", "*.example.org", "http://films", "films/x", "a b", "ﬁlms", "a@b", "[::1"])
def test_names_that_are_none(written: str) -> None:
    with pytest.raises(ValueError, match="is no host name"):
        host_name(written)
