"""What is asked: bodies and addresses, however they are made, are taken or refused with a code and a sentence."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rawhttp import ask, request, wire
from scripted import Library
from serving import API, Serving, serving

from vcompose.media.tools import Tools
from vcompose.web.operation import Options

PLAN = f"{API}/compositions/plan"
JSON = b"Content-Type: application/json"
Stocked = tuple[Serving, str]


@pytest.fixture
async def stocked(tmp_path: Path, tools: Tools, library: Library) -> AsyncIterator[Stocked]:
    """A service with clips, and one of their ids."""
    async with serving(library.copy(tmp_path / "data"), tools) as running:
        yield running, library.clips[0]


async def plan(service: Serving, body: bytes) -> tuple[int, str, dict[str, Any]]:
    """Ask for a plan; gives status, code ("" where it is no problem), document."""
    reply = await ask(service.url, "POST", PLAN, JSON, body=body)
    reply.assert_strict()
    if reply.status != 200:
        reply.assert_problem(reply.status, reply.document["code"])
    return reply.status, reply.document.get("code", ""), reply.document


def film(clip: str, **output: object) -> bytes:
    """A request of two clips with the wanted output."""
    return json.dumps({"clips": [{"clip": clip}] * 2, "output": output}).encode()


NO_JSON = (
    b"", b" ", b"{", b"nul", b"{]", b'{"clips": [],}', b"{'clips': []}", b'{"clips": []} x', b"\xef\xbb\xbf{}", b"\0",
    '{"clips": []}'.encode("utf-16"), '{"clips": []}'.encode("utf-32"), b'{"clips": "\xff"}', b'{"\xed\xa0\x80": 1}',
    b'{"clips": "\\ud800"}', b'{"\\ud800": 1}', b'{"clips": "\\udc00\\ud800"}', b'{"clips": 0x10}', b"[" * 200_000,
    b"[" * 200_000 + b"]" * 200_000, b'{"clips":' * 100_000, b'{"clips": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    b'{"clips": ' + b"1" * 900_000 + b"}", b'{"clips": 1' + b"0" * 5000 + b"}",
)  # fmt: skip


async def test_what_is_no_json(stocked: Stocked) -> None:
    for body in NO_JSON:
        status, code, _ = await plan(stocked[0], body)
        assert (status, code) == (400, "bad_json"), body[:40]


NUMBERS = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "true", "false", "[]", "{}", "9" * 400, "-1", "1e400", "-1e-9",
    "1e18",
)  # fmt: skip
NO_SIZES = (
    "0x0",
    "1x1",
    "99999999x2",
    "8193x8192",
    "641x481",
    "-640x480",
    "640",
    "x",
    "640x",
    "640x480x2",
    "6\uff140x480",
)


async def test_what_is_no_number_or_no_size(stocked: Stocked) -> None:
    service, clip = stocked
    for number in (*NUMBERS, '"2"'):
        for where in ("start", "end"):
            body = b'{"clips": [{"clip": "%s", "%s": %s}, {"clip": "%s"}]}'
            status, code, _ = await plan(
                service, body % (clip.encode(), where.encode(), number.encode(), clip.encode())
            )
            assert (status, code) == (400, "bad_request"), (where, number)
    for rate in (*NUMBERS, '""', '"x"', '"NaN"', '"1/0"', '"0/1"', '"-30"', '"1e999"', '"1_0"', '"0x1e"', "0", "0.1",
                 "241", '"30/1/1"', '"99999999999999999999"', '"30\\u0000"'):  # fmt: skip
        body = b'{"clips": [{"clip": "%s"}, {"clip": "%s"}], "output": {"fps": %s}}'
        status, code, told = await plan(service, body % (clip.encode(), clip.encode(), rate.encode()))
        assert status == 400, (rate, told)
        assert code in {"bad_request", "bad_fps"}, (rate, told)
        assert "function" not in json.dumps(told), told
        assert "_whole" not in json.dumps(told), told
    for size in NO_SIZES:
        status, code, told = await plan(service, film(clip, size=size))
        assert (status, code) == (400, "bad_size"), (size, told)
    for wrong in (True, 5, [640, 480], {"width": 640}, "1" * 21):
        assert (await plan(service, film(clip, size=wrong)))[:2] == (400, "bad_request")
    for fps in (30, 30.0, "30", "30000/1001", 29.97, 1e2, None):
        assert (await plan(service, film(clip, fps=fps)))[0] == 200, fps


async def test_the_forms_of_a_composition(stocked: Stocked) -> None:
    service, clip = stocked
    two = [{"clip": clip}] * 2
    for document, status, code in (
        (None, 400, "bad_request"),
        ([], 400, "bad_request"),
        ("x", 400, "bad_request"),
        (3, 400, "bad_request"),
        ({}, 400, "bad_request"),
        ({"clips": None}, 400, "bad_request"),
        ({"clips": {}}, 400, "bad_request"),
        ({"clips": "ab"}, 400, "bad_request"),
        ({"clips": [clip, clip]}, 400, "bad_request"),
        ({"clips": []}, 400, "too_few_clips"),
        ({"clips": two[:1]}, 400, "too_few_clips"),
        ({"clips": two * 500 + two[:1]}, 400, "bad_request"),
        ({"clips": [{"clip": "../x"}, *two]}, 400, "bad_request"),
        ({"clips": [{"clip": f"{clip}\n"}, *two]}, 400, "bad_request"),
        ({"clips": [{"clip": f"{clip}\0"}, *two]}, 400, "bad_request"),
        ({"clips": [{"clip": "x" * 65}, *two]}, 400, "bad_request"),
        ({"clips": [{"clip": 7}, *two]}, 400, "bad_request"),
        ({"clips": [{"clip": "c_nobody"}, *two]}, 422, "clip_not_found"),
        ({"clips": [{"clip": clip, "start": 2, "end": 1}, *two]}, 400, "bad_value"),
        ({"clips": [{"clip": clip, "speed": 2}, *two]}, 400, "bad_request"),
        ({"clips": two, "x": 1}, 400, "bad_request"),
        ({"clips": two, "__proto__": {}}, 400, "bad_request"),
        ({"clips": two, "\0": 1}, 400, "bad_request"),
        ({"clips": two, "output": {"mode": "COPY"}}, 400, "bad_request"),
        ({"clips": two, "output": {"fit": True}}, 400, "bad_request"),
        ({"clips": two, "output": None}, 400, "bad_request"),
        ({"clips": two, "transition": {"type": "custom"}}, 400, "bad_request"),
        ({"clips": two, "transition": {"type": "fade;movie=/etc/passwd"}}, 400, "bad_request"),
        ({"clips": two}, 200, ""),
        ({"clips": two * 500}, 200, ""),
    ):
        found = await plan(service, json.dumps(document).encode())
        assert found[:2] == (status, code), (str(document)[:80], found)
    assert (await ask(service.url, "POST", PLAN, JSON, body=b'{"clips": [], "clips": [{"clip": 1}]}')).status == 400


async def test_a_thousand_faults_do_not_hold_the_loop(stocked: Stocked) -> None:
    service, _ = stocked
    names = b"{" + b",".join(b'"k%d":1' % number for number in range(80_000)) + b"}"
    parts = b"{" + b",".join(b'"k%d":1' % number for number in range(110)) + b"}"
    for body in (
        names,
        b'{"clips":[' + b",".join([parts] * 1000) + b"]}",
        b'{"clips":[' + b",".join([b"{}"] * 300_000) + b"]}",
    ):
        assert 800_000 < len(body) < 1 << 20
        await plan(service, b"{}")
        begun = time.thread_time()  # of this thread, the loop's: others on the machine do not count
        reply = await ask(service.url, "POST", PLAN, JSON, body=body)
        spent = time.thread_time() - begun
        reply.assert_problem(400, "bad_request")
        assert len(reply.body) < 20_000
        assert spent < 0.35, f"{body[:30]!r}: {spent:.2f} s of the loop"


NO_TYPES = ("", "text/plain", "application/x-www-form-urlencoded", "application/problem+json", "application/jsonp", ",",
            "multipart/form-data; boundary=x", "application/json,", "json")  # fmt: skip


async def test_only_json_is_json(service: Serving) -> None:
    for given in NO_TYPES:
        reply = await ask(service.url, "POST", PLAN, f"Content-Type: {given}".encode(), body=b'{"clips": []}')
        reply.assert_problem(415, "unsupported_media_type")


async def test_json_by_any_spelling(service: Serving) -> None:
    for given in (b"application/json", b"Application/JSON", b"application/json; charset=utf-8", b"application/json;"):
        reply = await ask(service.url, "POST", PLAN, b"Content-Type: " + given, body=b'{"clips": []}')
        reply.assert_problem(400, "too_few_clips")
    (await ask(service.url, "POST", PLAN, body=b'{"clips": []}')).assert_problem(415, "unsupported_media_type")


async def test_a_document_has_a_size(tmp_path: Path, tools: Tools) -> None:
    async with serving(tmp_path / "data", tools, options=Options(most_body=1000)) as service:

        def document(size: int) -> bytes:
            return b'{"clips": []}'.ljust(size)

        for size, status in ((1000, 400), (1001, 413), (100_000, 413)):
            assert (await ask(service.url, "POST", PLAN, JSON, body=document(size))).status == status
            chunks = b"".join(
                b"%x\r\n" % len(piece) + piece + b"\r\n"
                for piece in (document(size)[at : at + 400] for at in range(0, size, 400))
            )
            async with wire(service.url) as connection:
                head = request("POST", PLAN, JSON, b"Transfer-Encoding: chunked", length=False)
                await connection.send(head + chunks + b"0\r\n\r\n")
                assert (await connection.reply()).status == status
        for length in (b"1001", b"99999999999999"):  # what is announced is believed, and nothing of it is read
            async with wire(service.url) as connection:
                await connection.send(request("POST", PLAN, JSON, b"Content-Length: " + length, length=False))
                told = (await connection.reply()).assert_problem(413, "too_large")
                assert "1000" in told["detail"]
        zh = (await ask(service.url, "POST", PLAN, JSON, b"Accept-Language: zh", body=document(2000))).document
        assert "1000" in zh["detail"]


ADDRESSES = {
    "clips": ("limit=0", "limit=201", "limit=-1", "limit=1.5", "limit=", "limit=x", "limit=%EF%BC%91", "limit=0x10",
              "limit=1&limit=2", "limit=true", "cursor=0", "cursor=x", "cursor=-1", "cursor=", "cursor=1%0A",
              "cursor=99999999999999999", "cursor=1&cursor=1", "x=1", "Limit=1", "limit[]=1", "%00=1", "%ED%A0%80=1",
              "__class__=1", "model_config=1", "before=1", "limit=1;x=2", "=", "state=pending"),
    "compositions": ("limit=0", "state=", "state=bogus", "state=PENDING", "state=pending,failed", "state[]=pending",
                     "cursor=x", "states=pending", "after=1"),
    "compositions/x": ("after=-1", "after=9007199254740992", "after=x", "after=1.5", "after=1&after=2", "wait=-1",
                       "wait=86401", "wait=nan", "wait=inf", "wait=1e999", "wait=x", "wait=", "since=1"),
    "events": ("after=-1", "after=9007199254740992", "wait=nan", "wait=86401", "limit=0", "limit=1001", "cursor=1"),
    "clips/x/content": ("download=2", "download=", "download=1&download=1", "download=true", "x"),
    "compositions/x/output": ("download=yes", "attach=1"),
    "clips/x": ("x=1", "download=1"),
}  # fmt: skip


async def test_what_an_address_may_say(service: Serving) -> None:
    for path, queries in ADDRESSES.items():
        for query in queries:
            reply = await ask(service.url, "GET", f"{API}/{path}?{query}")
            problem = reply.assert_problem(400, reply.document["code"])
            assert problem["code"] in {"bad_request", "bad_cursor"}, (path, query)
    for path in ("ws", "compositions/x/ws"):
        for query in ("since=-1", "since=x", "since=1&since=1", "after=1"):
            (await ask(service.url, "GET", f"{API}/{path}?{query}")).assert_problem(400, "bad_request")
    for path in ("clips", "compositions/plan", "compositions", "compositions/x/cancel"):
        (await ask(service.url, "POST", f"{API}/{path}?x=1")).assert_problem(400, "bad_request")
    for path in ("clips/x", "compositions/x"):
        (await ask(service.url, "DELETE", f"{API}/{path}?x=1")).assert_problem(400, "bad_request")
    for query in ("limit=1", "limit=200", "cursor=1", "state=pending&state=failed", "state=pending&state=pending", ""):
        assert (await ask(service.url, "GET", f"{API}/compositions?{query}")).status == 200, query


async def test_a_body_that_nobody_asked_for_does_no_harm(service: Serving) -> None:
    async with wire(service.url) as connection:
        for _ in range(3):
            await connection.send(request("GET", "/healthz", body=b"x" * 100_000))
            assert (await connection.reply()).status == 200
            await connection.send(request("POST", f"{API}/compositions/x/cancel", JSON, body=b"[" * 100_000))
            assert (await connection.reply()).status == 404


async def test_problems_speak_the_readers_language(service: Serving) -> None:
    for wanted, language in (
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en, zh;q=0.1", "en"),
        ("de", "en"),
        ("\xc3\xa9", "en"),
        ("zh-Hant", "zh"),
        ("en;q=0,zh;q=0.001", "zh"),
        ("a" * 5000, "en"),
    ):
        line = b"Accept-Language: " + wanted.encode("latin-1")
        reply = await ask(service.url, "POST", PLAN, JSON, line, body=b'{"clips": []}')
        problem = reply.assert_problem(400, "too_few_clips")
        assert reply.header("content-language") == language
        assert "Accept-Language" in (reply.header("vary") or "")
        assert (problem["detail"] == "至少需要选择两个视频进行合成") == (language == "zh")


NAMED = (
    ("GET", "clips/{}"), ("GET", "clips/{}/content"), ("DELETE", "clips/{}"), ("GET", "compositions/{}"),
    ("POST", "compositions/{}/cancel"), ("DELETE", "compositions/{}"), ("GET", "compositions/{}/output"),
    ("GET", "compositions/{}?after=1&wait=5"),
)  # fmt: skip


async def test_strange_names_find_nothing(service: Serving) -> None:
    odd = ("x", "%2e%2e", "..%2f..%2fetc%2fpasswd", "a%2fb", "%00", "%ED%A0%80", "%F0%9F%98%80", "x%0d%0aX:%20y", "'",
           '%22', "a" * 5000, "c_%25", "*", "%27%20OR%201=1--", "null", "0", "-1", "j_", "c_", ";")  # fmt: skip
    for name in odd:
        for method, path in NAMED:
            reply = await ask(service.url, method, f"{API}/{path.format(name)}")
            assert reply.status == 404, (method, path, name, reply)
            reply.assert_problem(404, "not_found")
    assert (await ask(service.url, "GET", f"{API}/clips/")).status == 404
    assert (await ask(service.url, "GET", f"{API}/compositions//output")).status == 404


async def test_methods(service: Serving) -> None:
    for path, allowed in (
        ("/clips", {"GET", "HEAD", "POST"}),
        ("/clips/x", {"GET", "HEAD", "DELETE"}),
        ("/compositions", {"GET", "HEAD", "POST"}),
        ("/compositions/plan", {"GET", "HEAD", "POST", "DELETE"}),
        ("/compositions/x/cancel", {"POST"}),
        ("/events", {"GET", "HEAD"}),
        ("/ws", {"GET"}),
    ):
        for method in ("PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
            reply = await ask(service.url, method, f"{API}{path}")
            reply.assert_problem(405, "method_not_allowed")
            assert set((reply.header("allow") or "").split(",")) == allowed, path
    (await ask(service.url, "POST", "/")).assert_problem(405, "method_not_allowed")
    (await ask(service.url, "DELETE", "/static/index.html")).assert_problem(405, "method_not_allowed")
