"""Compositions and jobs over HTTP: lists that hold still, polls that wake, keys for one job, and who goes early."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from blockbuster import blockbuster_ctx
from conftest import MakeClip
from filmmaker import Filmmaking
from rawhttp import ask, request, wire
from scripted import Library
from serving import API, Serving, serving

import vcompose
from vcompose.jobs.service import Limits
from vcompose.media.tools import Tools
from vcompose.web.operation import Options

JOBS = f"{API}/compositions"
JSON = b"Content-Type: application/json"
ONE = Limits(grace=0.0, keep_free=0, jobs=1)


@pytest.fixture
def films(make_clip: MakeClip) -> Filmmaking:
    """Films that are made when the test lets them."""
    return Filmmaking(make_clip("1.mp4", seed=1, size="64x64", seconds=0.4), held=True)


@pytest.fixture
async def stage(tmp_path: Path, tools: Tools, library: Library, films: Filmmaking) -> AsyncIterator[Serving]:
    """A service with clips that makes one film at a time, when it is let."""
    async with serving(library.copy(tmp_path / "data"), tools, limits=ONE, filmmaker=films) as running:
        yield running


def wanted(library: Library, count: int = 2, **output: object) -> bytes:
    """A composition as bytes."""
    return json.dumps({"clips": [{"clip": library.clips[0]}] * count, "output": output}).encode()


async def started(service: Serving, films: Filmmaking, library: Library) -> dict[str, Any]:
    """A job that is being made."""
    job = await service.submit(*library.clips[:2])
    await asyncio.wait_for(films.begun.wait(), 20)
    document: dict[str, Any] = (await service.call("GET", f"/compositions/{job['id']}"))[1]
    assert document["state"] == "processing"
    return document


class Held:
    """While it lasts nothing is committed: whoever asks for a write waits."""

    def __init__(self, service: Serving) -> None:
        self._database = service.service._store._database
        self._go = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        begun = asyncio.Event()

        async def work(db: aiosqlite.Connection) -> None:
            del db
            begun.set()
            await self._go.wait()

        self._task = asyncio.create_task(self._database.write(work))
        await begun.wait()

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._go.set()
        await self._task


async def ask_and_go(service: Serving, data: bytes) -> None:
    """Send a request, and be gone before it can be answered."""
    async with Held(service):
        async with wire(service.url) as connection:
            await connection.send(data)
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.1)


# ---- submitting ------------------------------------------------------------------------------------------------------


async def test_the_answer_to_a_submission(stage: Serving, library: Library) -> None:
    reply = await ask(stage.url, "POST", JOBS, JSON, body=wanted(library, filename="f.mp4"))
    assert reply.status == 202
    job = reply.document
    assert reply.header("location") == f"{JOBS}/{job['id']}"
    assert reply.header("etag") == f'"{job["seq"]}"'
    assert (job["state"], job["percent"], job["attempt"], job["stage"]) == ("pending", 0, 0, "waiting")
    assert (job["started"], job["finished"], job["error"], job["output"], job["speed"]) == (None,) * 5
    assert [(clip["clip"], clip["treatment"]) for clip in job["clips"]] == [(library.clips[0], "copy")] * 2


async def test_keys_give_the_same_job(stage: Serving, library: Library) -> None:
    one = await asyncio.gather(*(stage.submit(*library.clips[:2], key="a-key") for _ in range(8)))
    assert len({job["id"] for job in one}) == 1
    other = await stage.submit(*library.clips[:2], key="another")
    without = [await stage.submit(*library.clips[:2]) for _ in range(2)]
    assert len({one[0]["id"], other["id"], *(job["id"] for job in without)}) == 4
    # the same composition, written in other words
    spelled = b'{ "clips":[{"clip":"%s","start":null},{"clip":"%s"}],"transition":{"duration":0},"output":{} }'
    spelled %= tuple(clip.encode() for clip in library.clips[:2])
    key = b"Idempotency-Key: a-key"
    reply = await ask(stage.url, "POST", JOBS, JSON, key, body=spelled)
    assert (reply.status, reply.document["id"]) == (202, one[0]["id"])
    reply = await ask(stage.url, "POST", JOBS, JSON, key, body=wanted(library))
    reply.assert_problem(422, "idempotency_key_reused")
    reply = await ask(stage.url, "POST", JOBS, JSON, key, body=b'{"clips": []}')
    assert reply.status in {400, 422}
    for bad in (b"", b" ", b"a b", b"\xc3\xa9", b"x" * 256, b"a\tb"):
        reply = await ask(stage.url, "POST", JOBS, JSON, b"Idempotency-Key: " + bad, body=wanted(library))
        reply.assert_problem(400, "bad_idempotency_key")
    for good in (b"x" * 255, b"'; DROP TABLE job; --".replace(b" ", b""), b"%00", b'"quoted"'):
        reply = await ask(stage.url, "POST", JOBS, JSON, b"Idempotency-Key: " + good, body=wanted(library))
        assert reply.status == 202, good


async def test_a_key_outlives_its_job_and_the_server(
    tmp_path: Path, tools: Tools, library: Library, films: Filmmaking
) -> None:
    data = library.copy(tmp_path / "data")
    films.let()
    async with serving(data, tools, filmmaker=films) as first:
        job = await first.submit(*library.clips[:2], key="once")
        done = await first.ended(job["id"])
        assert (await first.submit(*library.clips[:2], key="once")) == done
        refused = {"clips": [{"clip": "c_nobody"}, {"clip": "c_nobody"}]}
        headers = {"Idempotency-Key": "twice"}
        assert (await first.call("POST", "/compositions", json=refused, headers=headers))[0] == 422
        second = await first.submit(*library.clips[:2], key="twice")  # what was refused used no key
        await first.ended(second["id"])
    async with serving(data, tools, filmmaker=films) as later:
        assert (await later.submit(*library.clips[:2], key="once")) == done
        for clip in library.clips:
            await later.call("DELETE", f"/clips/{clip}")
        assert (await later.submit(*library.clips[:2], key="once")) == done
        await later.call("DELETE", f"/compositions/{job['id']}")
        composition = {"clips": [{"clip": clip} for clip in library.clips[:2]]}
        status, _ = await later.call("POST", "/compositions", json=composition, headers={"Idempotency-Key": "once"})
        assert status == 422  # the job is gone and so is its key; the clips are too


async def test_keys_are_told_apart_by_a_day(stage: Serving, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await stage.submit(*library.clips[:2], key="k")
    monkeypatch.setattr(stage.service._store, "_clock", lambda: time.time() + 24 * 3600 - 60)
    assert (await stage.submit(*library.clips[:2], key="k"))["id"] == one["id"]
    monkeypatch.setattr(stage.service._store, "_clock", lambda: time.time() + 24 * 3600 + 60)
    assert (await stage.submit(*library.clips[:2], key="k"))["id"] != one["id"]


# ---- who goes early --------------------------------------------------------------------------------------------------


async def test_a_submission_whose_sender_went_is_made_all_the_same(
    stage: Serving, library: Library, films: Filmmaking
) -> None:
    films.let()
    await ask_and_go(stage, request("POST", JOBS, JSON, b"Idempotency-Key: k", body=wanted(library)))
    async with asyncio.timeout(20):
        while not (found := (await stage.call("GET", "/compositions"))[1]["items"]):
            await asyncio.sleep(0.02)
    assert (await stage.ended(found[0]["id"], seconds=10))["state"] == "completed"
    again = await ask(stage.url, "POST", JOBS, JSON, b"Idempotency-Key: k", body=wanted(library))
    assert again.document["id"] == found[0]["id"]


async def test_a_cancel_whose_sender_went_is_done_all_the_same(
    stage: Serving, library: Library, films: Filmmaking
) -> None:
    job = await started(stage, films, library)
    await ask_and_go(stage, request("POST", f"{JOBS}/{job['id']}/cancel"))
    assert (await stage.ended(job["id"], seconds=10))["state"] == "cancelled"
    assert not list((stage.folder / "work").iterdir())


async def test_a_deletion_whose_sender_went_leaves_no_film(stage: Serving, library: Library, films: Filmmaking) -> None:
    films.let()
    job = await stage.submit(*library.clips[:2])
    await stage.ended(job["id"])
    await ask_and_go(stage, request("DELETE", f"{JOBS}/{job['id']}"))
    async with asyncio.timeout(10):
        while (await stage.call("GET", f"/compositions/{job['id']}"))[0] != 404 or list(
            (stage.folder / "films").iterdir()
        ):
            await asyncio.sleep(0.02)


async def test_polls_whose_askers_went_are_forgotten(stage: Serving, library: Library) -> None:
    job = await stage.submit(*library.clips[:2])
    for path in (f"{API}/events?after=999&wait=60", f"{JOBS}/{job['id']}?after=999&wait=60"):
        async with wire(stage.url) as connection:
            await connection.send(request("GET", path))
            async with asyncio.timeout(10):
                while stage.service.watchers == 0:
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            while stage.service.watchers:
                await asyncio.sleep(0.01)


# ---- lists -----------------------------------------------------------------------------------------------------------


async def test_pages_of_jobs_hold_still(stage: Serving, library: Library) -> None:
    made = [(await stage.submit(*library.clips[:2]))["id"] for _ in range(9)]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await stage.call("GET", "/compositions", params={"limit": "4", **cursor}))[1]
        found += [job["id"] for job in page["items"]]
        if page["next"] is None:
            break
        assert len(page["items"]) == 4
        cursor = {"cursor": page["next"]}
        await stage.submit(*library.clips[:2])  # newer than every page
    assert found == made[::-1]
    exact = (await stage.call("GET", "/compositions", params={"limit": "4", "cursor": cursor["cursor"]}))[1]
    assert exact["next"] is None
    assert (await stage.call("GET", "/compositions", params={"cursor": "1"}))[1] == {"items": [], "next": None}


async def test_lists_of_some_states(stage: Serving, library: Library, films: Filmmaking) -> None:
    films.let()
    done = await stage.submit(*library.clips[:2])
    await stage.ended(done["id"])
    films.hold()
    live = await started(stage, films, library)
    waiting = [(await stage.submit(*library.clips[:2]))["id"] for _ in range(3)]
    await stage.call("POST", f"/compositions/{waiting[1]}/cancel")

    async def ids(*states: str, **more: str) -> list[str]:
        params = [*(("state", state) for state in states), *more.items()]
        return [job["id"] for job in (await stage.call("GET", "/compositions", params=params))[1]["items"]]

    assert await ids() == [waiting[2], waiting[1], waiting[0], live["id"], done["id"]]
    assert await ids("pending") == [waiting[2], waiting[0]]
    assert await ids("processing") == [live["id"]]
    assert await ids("completed") == [done["id"]]
    assert await ids("cancelled") == [waiting[1]]
    assert await ids("failed") == []
    assert await ids("pending", "completed", "pending") == [waiting[2], waiting[0], done["id"]]
    assert await ids("pending", limit="1") == [waiting[2]]


# ---- one job ---------------------------------------------------------------------------------------------------------


async def test_a_jobs_number_is_its_tag(stage: Serving, library: Library, films: Filmmaking) -> None:
    job = await started(stage, films, library)
    path = f"{JOBS}/{job['id']}"
    reply = await ask(stage.url, "GET", path)
    tag = f'"{reply.document["seq"]}"'
    assert reply.header("etag") == tag
    for known in (tag, f"W/{tag}", f'"1", {tag}', "*"):
        same = await ask(stage.url, "GET", path, f"If-None-Match: {known}".encode())
        assert (same.status, same.body, same.header("etag")) == (304, b"", tag), known
        same.assert_strict()
    for other in ('"0"', tag.strip('"'), '""', "x", '"x"'):
        assert (await ask(stage.url, "GET", path, f"If-None-Match: {other}".encode())).status == 200, other
    films.tell(40)
    changed = await ask(
        stage.url, "GET", f"{path}?after={reply.document['seq']}&wait=20", f"If-None-Match: {tag}".encode()
    )
    assert (changed.status, changed.document["percent"]) == (200, 40)
    assert changed.document["seq"] > reply.document["seq"]
    assert (changed.document["speed"], changed.document["seconds_left"]) == (2.0, 10.0)
    head = await ask(stage.url, "HEAD", path)
    assert (head.status, head.header("etag")) == (200, changed.header("etag"))


async def test_a_poll_of_a_job(stage: Serving, library: Library, films: Filmmaking) -> None:
    job = await started(stage, films, library)
    path = f"/compositions/{job['id']}"

    async def poll(after: int, wait: float) -> tuple[int, Any, float]:
        begun = time.monotonic()
        status, document = await stage.call("GET", path, params={"after": str(after), "wait": str(wait)})
        return status, document, time.monotonic() - begun

    status, document, seconds = await poll(job["seq"] - 1, 60)
    assert (status, document["seq"]) == (200, job["seq"])
    assert seconds < 10  # at once: there is something newer
    status, document, seconds = await poll(job["seq"], 0.5)
    assert (status, document["seq"]) == (200, job["seq"])
    assert seconds >= 0.45  # at the end: there is nothing
    waiting = asyncio.create_task(poll(job["seq"], 60))
    other = await stage.submit(*library.clips[:2])  # what happens to others wakes nobody
    await asyncio.sleep(0.2)
    assert not waiting.done()
    films.let()
    status, document, seconds = await waiting
    assert (status, document["state"], document["percent"]) == (200, "completed", 100)
    assert seconds < 20
    await stage.ended(other["id"])
    polls = [asyncio.create_task(poll(document["seq"], 60)) for _ in range(3)]
    while stage.service.watchers < 3:
        await asyncio.sleep(0.01)
    assert (await stage.call("DELETE", path))[0] == 204
    for status, problem, _ in await asyncio.gather(*polls):
        assert (status, problem["code"]) == (404, "not_found")


async def test_what_a_state_allows(stage: Serving, library: Library, films: Filmmaking) -> None:
    live = await started(stage, films, library)
    waiting = await stage.submit(*library.clips[:2])
    for job, state in ((live, "processing"), (waiting, "pending")):
        status, problem = await stage.call("DELETE", f"/compositions/{job['id']}")
        assert (status, problem["code"], problem["state"]) == (409, "wrong_state", state)
        status, problem = await stage.call("GET", f"/compositions/{job['id']}/output")
        assert (status, problem["code"], problem["state"]) == (409, "no_output", state)
        zh = await ask(stage.url, "DELETE", f"{JOBS}/{job['id']}", b"Accept-Language: zh")
        assert {"processing": "处理中", "pending": "等待中"}[state] in zh.document["detail"]
    twice = await asyncio.gather(*(stage.call("POST", f"/compositions/{live['id']}/cancel") for _ in range(2)))
    assert {status for status, _ in twice} <= {200, 409}
    assert (200, "cancelled") in {(status, document["state"]) for status, document in twice}
    films.let()
    done = await stage.ended(waiting["id"])
    for job, state in ((live, "cancelled"), (done, "completed")):
        status, problem = await stage.call("POST", f"/compositions/{job['id']}/cancel")
        assert (status, problem["code"], problem["state"]) == (409, "wrong_state", state)
    status, problem = await stage.call("GET", f"/compositions/{live['id']}/output")
    assert (status, problem["code"], problem["state"]) == (409, "no_output", "cancelled")
    assert len(list((stage.folder / "films").iterdir())) == 1
    for job in (live, done):
        assert (await stage.call("DELETE", f"/compositions/{job['id']}"))[0] == 204
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/output")):
            status, problem = await stage.call(method, f"/compositions/{job['id']}{path}")
            assert (status, problem["code"]) == (404, "not_found")
    assert not list((stage.folder / "films").iterdir())


# ---- events ----------------------------------------------------------------------------------------------------------


async def test_events_of_everything(stage: Serving, library: Library, films: Filmmaking) -> None:
    films.let()
    jobs = [(await stage.submit(*library.clips[:2]))["id"] for _ in range(7)]
    for job in jobs:
        await stage.ended(job)
    for job in jobs[1:3]:
        assert (await stage.call("DELETE", f"/compositions/{job}"))[0] == 204
    whole = (await stage.call("GET", "/events"))[1]
    assert whole == (await stage.call("GET", "/events", params={"after": "0", "limit": "1000"}))[1]
    paged: list[dict[str, Any]] = []
    after = 0
    while (page := (await stage.call("GET", "/events", params={"after": str(after), "limit": "2"}))[1])["items"]:
        assert len(page["items"]) <= 2
        assert page["next"] > after
        after = page["next"]
        paged += page["items"]
    assert page["next"] == after
    assert paged == whole["items"]
    numbers = [event["seq"] for event in paged]
    assert numbers == sorted(set(numbers))
    told = {event["job"]["id"]: event["job"]["state"] for event in paged if event["type"] == "job"}
    assert told == dict.fromkeys([jobs[0], *jobs[3:]], "completed")
    assert [event["id"] for event in paged if event["type"] == "deleted"] == jobs[1:3]
    assert all(event["seq"] == event["job"]["seq"] for event in paged if event["type"] == "job")
    assert (await stage.call("GET", "/events", params={"after": str(after)}))[1] == {"items": [], "next": after}


async def test_a_poll_of_events(stage: Serving, library: Library, films: Filmmaking) -> None:
    async def poll(after: int, wait: float) -> tuple[Any, float]:
        begun = time.monotonic()
        status, document = await stage.call("GET", "/events", params={"after": str(after), "wait": str(wait)})
        assert status == 200
        return document, time.monotonic() - begun

    document, seconds = await poll(0, 0.4)
    assert document == {"items": [], "next": 0}
    assert seconds >= 0.35
    waiting = [asyncio.create_task(poll(0, 60)) for _ in range(3)]
    while stage.service.watchers < 3:
        await asyncio.sleep(0.01)
    job = await stage.submit(*library.clips[:2])
    for document, seconds in await asyncio.gather(*waiting):
        assert [event["job"]["id"] for event in document["items"]] == [job["id"]]
        assert seconds < 20
    document, seconds = await poll(0, 60)
    assert document["items"]
    assert seconds < 10
    films.let()
    done = await stage.ended(job["id"])
    gone = asyncio.create_task(poll(done["seq"], 60))
    await asyncio.sleep(0.1)
    await stage.call("DELETE", f"/compositions/{job['id']}")
    document, _ = await gone
    assert [(event["type"], event["id"]) for event in document["items"]] == [("deleted", job["id"])]
    assert document["next"] == document["items"][-1]["seq"]


async def test_paths_begin_with_a_proxys(tmp_path: Path, tools: Tools, library: Library, films: Filmmaking) -> None:
    films.let()
    options = Options(prefix="/films")
    async with serving(library.copy(tmp_path / "data"), tools, options=options, filmmaker=films) as service:
        reply = await ask(service.url, "POST", JOBS, JSON, body=wanted(library))
        assert (reply.header("location") or "").startswith(f"/films{JOBS}/j_")
        done = await service.ended(reply.document["id"])
        assert done["output"]["url"] == f"/films{JOBS}/{done['id']}/output"


# ---- the loop --------------------------------------------------------------------------------------------------------


MEANT = (
    "os.stat", "os.statvfs", "os.unlink", "os.remove", "os.mkdir", "os.rmdir", "os.replace", "os.rename", "os.listdir",
    "os.scandir", "os.access", "os.getcwd", "os.link", "os.symlink", "os.readlink", "os.path.abspath", "os.path.islink",
)  # fmt: skip
"""A look at a name or a rename takes microseconds, and is meant where it stands (see ASYNC240 in pyproject.toml)."""
SMALL = ("io.BufferedReader.read", "io.TextIOWrapper.read", "io.TextIOWrapper.write", "io.BufferedWriter.write")
"""A child's line in the ledger must be there before the child can be lost; its rank is a word in /proc."""


async def test_nothing_blocks_the_loop(tmp_path: Path, tools: Tools, make_clip: MakeClip) -> None:
    paths = [make_clip(f"{seed}.mp4", seed=seed, size="64x64", seconds=0.4) for seed in (1, 2)]
    contents = [path.read_bytes() for path in paths]
    kind = b"Content-Type: multipart/form-data; boundary=XX"
    head = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    clips: list[str] = []
    async with serving(tmp_path / "data", tools) as service:
        with blockbuster_ctx(scanned_modules=vcompose) as guard:
            for name in MEANT:
                if name in guard.functions:
                    guard.functions[name].deactivate()
            for name in SMALL:
                guard.functions[name].can_block_in("vcompose/media/ledger.py", {"note", "boot"})
                guard.functions[name].can_block_in("vcompose/media/child.py", {"_stand_back"})
                guard.functions[name].can_block_in("vcompose/media/make.py", {"_join"})
            for content in contents:
                reply = await ask(service.url, "POST", f"{API}/clips", kind, body=head + content + b"\r\n--XX--\r\n")
                assert reply.status == 201, reply
                clips.append(reply.document["id"])
            async with service.session.ws_connect(f"{service.url}{API}/ws") as socket:
                assert (await socket.receive_json())["type"] == "snapshot"
                job = await service.submit(*clips, mode="encode")
                done = await service.ended(job["id"])
            assert done["state"] == "completed", done
            film = await ask(service.url, "GET", done["output"]["url"])
            assert (film.status, len(film.body)) == (200, done["output"]["bytes"])
            assert (await ask(service.url, "GET", "/metrics")).status == 200
            other = await service.submit(*clips, mode="encode", size="1280x720")
            assert (await service.call("POST", f"/compositions/{other['id']}/cancel"))[0] == 200
            for one in (job, other):
                assert (await service.call("DELETE", f"/compositions/{one['id']}"))[0] == 204
            for clip in clips:
                assert (await service.call("DELETE", f"/clips/{clip}"))[0] == 204
