"""Sockets: a snapshot and then everything once and in order, whoever else is slow, stuck, or rude."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from conftest import MakeClip
from filmmaker import Filmmaking
from rawhttp import UPGRADE, Wire, request, wire
from scripted import Library
from serving import API, Serving, serving

from vcompose.jobs import hub
from vcompose.jobs.job import Change
from vcompose.jobs.service import Limits
from vcompose.media.tools import Tools
from vcompose.web.operation import Options

ONE = Limits(grace=0.0, keep_free=0, jobs=1)
Message = dict[str, Any]


@pytest.fixture
def films(make_clip: MakeClip) -> Filmmaking:
    """Films that are made when the test lets them."""
    return Filmmaking(make_clip("1.mp4", seed=1, size="64x64", seconds=0.4), held=True)


@pytest.fixture
async def stage(tmp_path: Path, tools: Tools, library: Library, films: Filmmaking) -> AsyncIterator[Serving]:
    """A service that makes one film at a time, when it is let."""
    async with serving(library.copy(tmp_path / "data"), tools, limits=ONE, filmmaker=films) as running:
        yield running


class Ear:
    """One socket, as a client hears it; heartbeats are passed over."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def hear(self, seconds: float = 20.0) -> Message:
        """The next message."""
        async with asyncio.timeout(seconds):
            while (message := await self.socket.receive_json())["type"] == "heartbeat":
                pass
            told: Message = message
            return told

    async def until(self, seq: int) -> list[Message]:
        """All messages up to one of that number."""
        heard = [await self.hear()]
        while heard[-1]["seq"] < seq:
            heard.append(await self.hear())
        return heard

    async def nothing(self, seconds: float = 0.3) -> None:
        """Nothing more comes for a while."""
        with pytest.raises(TimeoutError):
            raise AssertionError(await self.hear(seconds))


@pytest.fixture(autouse=True)
async def _hung_up() -> AsyncIterator[None]:
    """Every socket of a test is closed behind it."""
    yield
    while OPEN:
        await OPEN.pop().close()


OPEN: list[aiohttp.ClientWebSocketResponse] = []


async def listen(service: Serving, path: str = "/ws", **headers: str) -> Ear:
    """Open a socket."""
    OPEN.append(await service.session.ws_connect(f"{service.url}{API}{path}", headers=headers, max_msg_size=0))
    return Ear(OPEN[-1])


async def finished(service: Serving, films: Filmmaking, library: Library) -> Message:
    """A job that is completed."""
    films.let()
    return await service.ended((await service.submit(*library.clips[:2]))["id"])


def kinds(messages: list[Message]) -> list[tuple[str, str]]:
    """What was told of whom: a state, or that it is gone."""
    return [
        (message["job"]["id"], message["job"]["state"]) if message["type"] == "job" else (message["id"], "deleted")
        for message in messages
    ]


async def test_a_snapshot_and_then_what_happens(stage: Serving, library: Library, films: Filmmaking) -> None:
    done = await finished(stage, films, library)
    films.hold()
    ear = await listen(stage)
    first = await ear.hear()
    assert set(first) == {"type", "seq", "jobs"}
    assert (first["type"], first["seq"], first["jobs"]) == ("snapshot", done["seq"], [done])
    job = await stage.submit(*library.clips[:2])
    heard = [await ear.hear(), await ear.hear()]
    assert kinds(heard) == [(job["id"], "pending"), (job["id"], "processing")]
    assert heard[0] == {"type": "job", "seq": job["seq"], "job": job}
    await films.begun.wait()
    films.tell(40)
    told = await ear.hear()
    assert (told["job"]["percent"], told["job"]["stage"]) == (40, "encoding")
    assert (told["job"]["speed"], told["job"]["seconds_left"]) == (2.0, 10.0)
    films.let()
    last = await ear.hear()
    while last["job"]["state"] == "processing":
        last = await ear.hear()
    assert last["job"] == (await stage.call("GET", f"/compositions/{job['id']}"))[1]
    await stage.call("DELETE", f"/compositions/{done['id']}")
    gone = await ear.hear()
    assert set(gone) == {"type", "seq", "id"}
    assert (gone["type"], gone["id"]) == ("deleted", done["id"])
    assert gone["seq"] > last["seq"]
    await ear.nothing()


async def test_what_was_missed_is_replayed(stage: Serving, library: Library, films: Filmmaking) -> None:
    jobs = [await finished(stage, films, library) for _ in range(5)]
    await stage.call("DELETE", f"/compositions/{jobs[1]['id']}")
    await stage.call("DELETE", f"/compositions/{jobs[4]['id']}")
    events = (await stage.call("GET", "/events", params={"limit": "1000"}))[1]
    for since in (0, jobs[0]["seq"] - 1, jobs[0]["seq"], jobs[2]["seq"], events["next"]):
        ear = await listen(stage, f"/ws?since={since}")
        expected = [event for event in events["items"] if event["seq"] > since]
        assert [await ear.hear() for _ in expected] == expected
        await ear.nothing(0.1)
        await ear.socket.close()
    ear = await listen(stage, f"/ws?since={events['next']}")
    job = await stage.submit(*library.clips[:2])
    heard = await ear.until(job["seq"])
    assert kinds(heard) == [(job["id"], "pending")]
    ahead = await listen(stage, f"/ws?since={1 << 50}")  # a number of another life of the server
    assert (await ahead.hear())["type"] == "snapshot"


async def test_one_jobs_socket_tells_of_no_other(stage: Serving, library: Library, films: Filmmaking) -> None:
    done = await finished(stage, films, library)
    films.hold()
    live = await stage.submit(*library.clips[:2])
    other = await stage.submit(*library.clips[:2])
    ear = await listen(stage, f"/compositions/{live['id']}/ws")
    first = await ear.hear()
    assert [job["id"] for job in first["jobs"]] == [live["id"]]
    replay = await listen(stage, f"/compositions/{done['id']}/ws?since=0")
    assert kinds([await replay.hear()]) == [(done["id"], "completed")]
    await replay.nothing(0.1)
    await stage.call("POST", f"/compositions/{other['id']}/cancel")
    films.let()
    heard = [await ear.hear()]
    while heard[-1]["job"]["state"] != "completed":
        heard.append(await ear.hear())
    await stage.call("DELETE", f"/compositions/{live['id']}")
    heard.append(await ear.hear())
    assert {name for name, _ in kinds(heard)} == {live["id"]}
    assert kinds(heard)[-1] == (live["id"], "deleted")
    missed = await listen(stage, f"/compositions/{live['id']}/ws?since={heard[-2]['seq']}")
    assert await missed.hear() == heard[-1]
    for path in (f"/compositions/{live['id']}/ws", "/compositions/j_nobody/ws", "/compositions/%00/ws"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await listen(stage, path)
        assert refused.value.status == 404


async def test_nothing_is_told_twice_or_out_of_order(
    stage: Serving, library: Library, films: Filmmaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens while a socket is being opened is in its beginning or behind it, and not both."""
    films.let()
    real_sequence, real_changes = stage.service.sequence, stage.service.changes
    times = 1

    async def happens() -> None:
        nonlocal times
        if times:
            times -= 1
            job = await stage.submit(*library.clips[:2])
            await stage.ended(job["id"])
            await stage.call("DELETE", f"/compositions/{job['id']}")
            await stage.ended((await stage.submit(*library.clips[:2]))["id"])

    async def sequence() -> int:
        await happens()
        return await real_sequence()

    async def changes(after: int, *, limit: int = 1000) -> list[Change]:
        found = await real_changes(after, limit=limit)
        await happens()
        return found

    kept = await finished(stage, films, library)
    monkeypatch.setattr(stage.service, "sequence", sequence)
    ear = await listen(stage)
    first = await ear.hear()
    monkeypatch.setattr(stage.service, "sequence", real_sequence)
    assert kept["id"] in {job["id"] for job in first["jobs"]}
    last = await finished(stage, films, library)
    seqs = [message["seq"] for message in await ear.until(last["seq"])]
    assert min(seqs) > first["seq"], "what comes after a snapshot has a higher number"
    assert seqs == sorted(set(seqs))
    for path in ("/ws?since=0", f"/compositions/{kept['id']}/ws?since=0"):
        times = 1
        monkeypatch.setattr(stage.service, "changes", changes)
        ear = await listen(stage, path)
        heard = [await ear.hear()]
        monkeypatch.setattr(stage.service, "changes", real_changes)
        if "compositions" not in path:
            last = await finished(stage, films, library)
            heard += await ear.until(last["seq"])
        seqs = [message["seq"] for message in heard]
        assert seqs == sorted(set(seqs)), path
        await ear.nothing(0.1)


async def test_a_quiet_socket_beats(tmp_path: Path, tools: Tools, library: Library) -> None:
    options = Options(heartbeat=0.2)
    async with serving(library.copy(tmp_path / "data"), tools, options=options) as service:
        socket = (await listen(service)).socket
        assert (await socket.receive_json())["type"] == "snapshot"
        begun = time.monotonic()
        for _ in range(3):
            assert await asyncio.wait_for(socket.receive_json(), 10) == {"type": "heartbeat"}
        assert time.monotonic() - begun >= 0.5
        await service.submit(*library.clips[:2])
        while (message := await socket.receive_json())["type"] == "heartbeat":
            pass
        assert message["type"] == "job"


def frame(opcode: int, data: bytes, *, final: bool = True) -> bytes:
    """A frame of a client (RFC 6455)."""
    length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data))
    length = bytes([length[0] | 0x80]) + length[1:]
    return bytes([opcode | (0x80 if final else 0)]) + length + b"\0\0\0\0" + data


async def shaken(connection: Wire, path: str = "/ws") -> None:
    """Open a socket by hand."""
    await connection.send(request("GET", f"{API}{path}", UPGRADE.removesuffix(b"\r\n")))
    reply = await connection.reply()
    assert reply.status == 101


async def read_frame(connection: Wire) -> tuple[int, bytes]:
    """A frame of the server: its kind, its bytes."""
    async with asyncio.timeout(20):
        first, second = await connection.reader.readexactly(2)
        assert not second & 0x80
        length = second
        if second == 126:
            (length,) = struct.unpack(">H", await connection.reader.readexactly(2))
        elif second == 127:
            (length,) = struct.unpack(">Q", await connection.reader.readexactly(8))
        return first & 15, await connection.reader.readexactly(length)


async def test_pings_are_answered_and_words_are_not(stage: Serving) -> None:
    async with wire(stage.url) as connection:
        await shaken(connection)
        kind, data = await read_frame(connection)
        assert (kind, json.loads(data)["type"]) == (1, "snapshot")
        await connection.send(frame(9, b"are you there?"))
        assert await read_frame(connection) == (10, b"are you there?")
        await connection.send(frame(1, b'{"type": "cancel"}') + frame(2, b"\xff\xfe") + frame(10, b"") + frame(9, b"!"))
        assert await read_frame(connection) == (10, b"!")
        await connection.send(frame(8, struct.pack(">H", 1000)))
        assert await read_frame(connection) == (8, struct.pack(">H", 1000))
        await connection.closed(5)


RUDE = {
    "a long message": frame(1, b"a" * 5000),
    "a long message in pieces": frame(1, b"a" * 3000, final=False) + frame(0, b"a" * 3000),
    "no text": frame(1, b"\xff\xfe\xfd"),
    "an unknown kind": frame(5, b""),
    "a piece of nothing": frame(0, b"x"),
    "a ping in pieces": frame(9, b"x", final=False),
    "a long ping": frame(9, b"x" * 200),
    "packed though nobody offered": bytes([0xC1]) + frame(1, b"hello")[1:],
    "a length of 2^63": b"\x81\xff" + struct.pack(">Q", 1 << 63) + b"\0\0\0\0",
    "no frame at all": b"GET / HTTP/1.1\r\n\r\n" * 10,
    "an end of one byte": frame(8, b"\0"),
    "an end without a reason": frame(8, b""),
    "a false end": frame(8, struct.pack(">H", 5)),
}


async def test_who_is_rude_is_shown_out(stage: Serving, library: Library) -> None:
    polite = await listen(stage)
    await polite.hear()
    for what, data in RUDE.items():
        async with wire(stage.url) as connection:
            await shaken(connection)
            await read_frame(connection)
            await connection.send(data)
            try:
                await connection.closed(10)
            except TimeoutError:
                pytest.fail(f"{what}: still open")
    async with asyncio.timeout(10):
        while stage.service.watchers > 1:
            await asyncio.sleep(0.02)
    job = await stage.submit(*library.clips[:2])
    assert (await polite.hear())["job"] == job


async def test_who_goes_is_forgotten(stage: Serving) -> None:
    for _ in range(3):
        ears = [await listen(stage) for _ in range(10)]
        for ear in ears:
            await ear.hear()
        assert stage.service.watchers == 10
        for number, ear in enumerate(ears):
            if number % 2:
                await ear.socket.close()
            else:
                assert ear.socket._response.connection is not None
                transport = ear.socket._response.connection.transport
                assert transport is not None
                transport.abort()
        async with asyncio.timeout(10):
            while stage.service.watchers:
                await asyncio.sleep(0.02)


async def large(service: Serving, library: Library) -> Message:
    """Submit a composition of which one message is about two hundred kilobytes."""
    return await service.submit(*[library.clips[0]] * 1000, size="80x64", fps=30)


@pytest.mark.serial
async def test_a_stuck_reader_goes_and_nobody_waits_for_it(stage: Serving, library: Library) -> None:
    ear = await listen(stage)
    await ear.hear()
    async with wire(stage.url, receive=4096) as stuck:
        await shaken(stuck)
        while stage.service.watchers < 2:
            await asyncio.sleep(0.01)
        slowest = 0.0
        begun = time.monotonic()  # the first message does not get through: it is larger than every buffer
        while stage.service.watchers > 1:
            job = await large(stage, library)
            committed = time.monotonic()
            await ear.until(job["seq"])
            slowest = max(slowest, time.monotonic() - committed)
            assert time.monotonic() - begun < 10
            await asyncio.sleep(0.05)
        assert time.monotonic() - begun < 2.0
    assert slowest < 1.0


async def test_a_slow_reader_is_not_stuck(stage: Serving, library: Library) -> None:
    for _ in range(4):
        await large(stage, library)
    whole = len(json.dumps((await stage.call("GET", "/compositions"))[1], separators=(",", ":"), ensure_ascii=False))
    assert whole > 500_000
    async with wire(stage.url, receive=4096) as slow:
        await shaken(slow)
        got = bytearray()
        begun = time.monotonic()
        while len(got) < whole * 0.95:
            data = await asyncio.wait_for(slow.reader.read(4096), 10)
            assert data, f"cut off after {len(got)} of {whole} bytes and {time.monotonic() - begun:.1f} s"
            got += data
            await asyncio.sleep(4096 / 250_000)
        assert time.monotonic() - begun > 1.5, "the test itself was not slow"
        assert stage.service.watchers == 1


@pytest.fixture
async def patient(tmp_path: Path, tools: Tools, library: Library, films: Filmmaking) -> AsyncIterator[Serving]:
    """A service that waits long for who does not read."""
    options = Options(send=60.0)
    data = library.copy(tmp_path / "data")
    async with serving(data, tools, limits=ONE, filmmaker=films, options=options) as running:
        yield running


async def read_message(connection: Wire) -> Message:
    """The next message of a socket that was opened by hand; its end is told as a message as well."""
    kind, data = await read_frame(connection)
    while kind == 9:
        kind, data = await read_frame(connection)
    if kind == 8:
        return {"type": "end", "code": int.from_bytes(data[:2], "big")}
    message: Message = json.loads(data)
    return message


async def test_a_slow_reader_hears_every_state_and_the_latest_progress(
    patient: Serving, library: Library, films: Filmmaking
) -> None:
    async with wire(patient.url, receive=4096) as slow:
        await shaken(slow)
        assert (await read_message(slow))["type"] == "snapshot"
        big = await large(patient, library)  # fills the way: what follows waits
        await films.begun.wait()
        ear = await listen(patient)
        await ear.hear()
        for percent in range(1, 90):
            films.tell(percent)
            if percent % 30 == 0:
                while (await ear.hear())["job"]["percent"] < percent:
                    pass
        others = [await patient.submit(*library.clips[:2]) for _ in range(5)]
        await patient.call("POST", f"/compositions/{others[0]['id']}/cancel")
        films.let()
        last = await patient.ended(others[-1]["id"])
        heard = [await read_message(slow)]
        while heard[-1]["seq"] < last["seq"]:
            heard.append(await read_message(slow))
    states: dict[str, list[str]] = {}
    for name, state in kinds(heard):
        states.setdefault(name, []).append(state)
    assert states[others[0]["id"]] == ["pending", "cancelled"]
    for other in others[1:]:
        assert [s for s in ("pending", "processing", "completed") if s in states[other["id"]]] == [
            "pending", "processing", "completed",
        ]  # fmt: skip
    assert states[big["id"]][0] == "pending"
    assert states[big["id"]][-1] == "completed"
    assert states[big["id"]].count("processing") < 8, "of its progress only the latest"
    seqs = [message["seq"] for message in heard]
    assert seqs == sorted(seqs)
    steps = [message["job"]["percent"] for message in heard if message["job"]["id"] == big["id"]]
    assert steps == sorted(steps)


async def test_who_falls_too_far_behind_comes_back_with_a_number(
    patient: Serving, library: Library, films: Filmmaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire(patient.url, receive=4096) as slow:
        await shaken(slow)
        assert (await read_message(slow))["type"] == "snapshot"
        big = await large(patient, library)
        await films.begun.wait()
        monkeypatch.setattr(hub, "MOST_PENDING", 6)
        jobs = [await patient.submit(*library.clips[:2]) for _ in range(9)]
        monkeypatch.undo()
        heard = [await read_message(slow)]
        while heard[-1]["type"] != "end":
            heard.append(await read_message(slow))
        assert heard[-1]["code"] == aiohttp.WSCloseCode.TRY_AGAIN_LATER
        await slow.closed(10)
    assert heard[0]["seq"] == big["seq"]
    assert len(heard) < 9
    since = heard[-2]["seq"]
    ear = await listen(patient, f"/ws?since={since}")
    events = (await patient.call("GET", "/events", params={"after": str(since), "limit": "1000"}))[1]["items"]
    assert {event["job"]["id"] for event in events} >= {job["id"] for job in jobs}
    assert [await ear.hear() for _ in events] == events


async def test_sockets_speak_the_readers_language(tmp_path: Path, tools: Tools, library: Library) -> None:
    async def breaks(*_: object, **__: object) -> Any:
        raise ValueError("a fault of ours")

    async with serving(library.copy(tmp_path / "data"), tools, filmmaker=breaks) as service:
        ears = {language: await listen(service, **{"Accept-Language": language}) for language in ("en", "zh-CN")}
        for ear in ears.values():
            await ear.hear()
        job = await service.submit(*library.clips[:2])
        details: dict[str, str] = {}
        for language, ear in ears.items():
            while (message := await ear.hear())["job"]["state"] != "failed":
                pass
            assert message["job"]["error"]["code"] == "internal_error"
            details[language] = message["job"]["error"]["detail"]
            rest = (await service.call("GET", f"/compositions/{job['id']}", headers={"Accept-Language": language}))[1]
            assert rest == message["job"]
        assert details["en"].isascii()
        assert not details["zh-CN"].isascii()
