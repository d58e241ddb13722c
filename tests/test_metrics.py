"""What is counted and what is logged: numbers that Prometheus reads, a line for each request and each transition."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from conftest import MakeClip
from filmmaker import Filmmaking
from prometheus_client.parser import text_string_to_metric_families
from rawhttp import UPGRADE, ask, request, wire
from scripted import Library
from serving import API, Serving, serving

from vcompose.jobs.service import Limits
from vcompose.logs import log_to
from vcompose.media.tools import Tools
from vcompose.web.application import AT_THE_ROOT, OPERATIONS
from vcompose.web.operation import Options

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def films(make_clip: MakeClip) -> Filmmaking:
    """Films that are made when the test lets them."""
    return Filmmaking(make_clip("1.mp4", seed=1, size="64x64", seconds=0.4), held=True)


@pytest.fixture
async def stage(tmp_path: Path, tools: Tools, library: Library, films: Filmmaking) -> AsyncIterator[Serving]:
    """A service that makes one film at a time, when it is let."""
    limits = Limits(grace=0.0, keep_free=0, jobs=1)
    async with serving(library.copy(tmp_path / "data"), tools, limits=limits, filmmaker=films) as running:
        yield running


async def numbers(service: Serving) -> Samples:
    """All that is exposed, by name and labels."""
    reply = await ask(service.url, "GET", "/metrics")
    assert reply.status == 200
    assert reply.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    found: Samples = {}
    for family in text_string_to_metric_families(reply.body.decode()):
        assert family.name.startswith("vcompose_")
        assert family.documentation
        assert family.type in {"gauge", "counter", "histogram"}
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def number(found: Samples, name: str, **labels: str) -> float:
    """One number."""
    return found[name, frozenset(labels.items())]


async def test_the_numbers_of_jobs(stage: Serving, library: Library, films: Filmmaking) -> None:
    found = await numbers(stage)
    for name in ("jobs_queued", "jobs_running", "watchers", "received_bytes_total", "made_bytes_total", "speed",
                 "encoded_seconds_total", "encoding_seconds_total"):  # fmt: skip
        assert number(found, f"vcompose_{name}") == 0, name
    assert number(found, "vcompose_free_bytes") > 0
    jobs = [await stage.submit(*library.clips[:2]) for _ in range(4)]
    await films.begun.wait()
    films.tell(50)
    await stage.call("GET", f"/compositions/{jobs[0]['id']}", params={"after": jobs[0]["seq"] + 1, "wait": "20"})
    await stage.call("POST", f"/compositions/{jobs[3]['id']}/cancel")
    async with wire(stage.url) as watcher:
        await watcher.send(request("GET", f"{API}/ws", UPGRADE.removesuffix(b"\r\n")))
        assert (await watcher.reply()).status == 101
        found = await numbers(stage)
    assert number(found, "vcompose_jobs_queued") == 2
    assert number(found, "vcompose_jobs_running") == 1
    assert number(found, "vcompose_watchers") == 1
    assert number(found, "vcompose_speed") == 2.0
    films.let()
    done = [await stage.ended(job["id"]) for job in jobs[:3]]
    async with asyncio.timeout(10):
        while stage.service.running:  # the last one still clears up
            await asyncio.sleep(0.01)
    found = await numbers(stage)
    assert number(found, "vcompose_jobs_ended_total", state="completed") == 3
    assert number(found, "vcompose_jobs_ended_total", state="cancelled") == 1
    assert number(found, "vcompose_jobs_ended_total", state="failed") == 0
    assert number(found, "vcompose_made_bytes_total") == sum(job["output"]["bytes"] for job in done)
    assert (number(found, "vcompose_jobs_queued"), number(found, "vcompose_jobs_running")) == (0, 0)
    assert number(found, "vcompose_speed") == 0


async def test_the_numbers_of_real_work(service: Serving, make_clip: MakeClip) -> None:
    paths = [make_clip(f"{seed}.mp4", seed=seed, size="64x64", seconds=0.4) for seed in (1, 2)]
    clips = [(await service.upload(path))["id"] for path in paths]
    job = await service.submit(*clips, mode="encode")
    await service.ended(job["id"])
    broken = await ask(
        service.url, "POST", f"{API}/clips", b"Content-Type: multipart/form-data; boundary=X", body=b"--X--"
    )
    assert broken.status == 400
    found = await numbers(service)
    assert number(found, "vcompose_received_bytes_total") == sum(path.stat().st_size for path in paths)
    assert 0.5 < number(found, "vcompose_encoded_seconds_total") < 1.5
    assert number(found, "vcompose_encoding_seconds_total") > 0
    assert number(found, "vcompose_request_seconds_count", method="POST", route=f"{API}/clips", status="201") == 2
    assert number(found, "vcompose_request_seconds_count", method="POST", route=f"{API}/clips", status="400") == 1


async def test_times_are_told_by_route_and_status(stage: Serving, library: Library) -> None:
    one, other, _ = library.clips
    for clip in (one, other, "c_nobody"):
        await stage.call("GET", f"/clips/{clip}")
        await ask(stage.url, "GET", f"{API}/clips/{clip}/content", b"Range: bytes=0-9")
    await ask(stage.url, "GET", f"{API}/clips/{one}/content", b"Range: bytes=99999999-")
    await ask(stage.url, "HEAD", f"{API}/clips/{one}/content")
    found = await numbers(stage)
    for method, route, status, count in (
        ("GET", "/clips/{clip}", "200", 2),
        ("GET", "/clips/{clip}", "404", 1),
        ("GET", "/clips/{clip}/content", "206", 2),
        ("GET", "/clips/{clip}/content", "404", 1),
        ("GET", "/clips/{clip}/content", "416", 1),
        ("HEAD", "/clips/{clip}/content", "200", 1),
    ):
        labels = {"method": method, "route": f"{API}{route}", "status": status}
        assert number(found, "vcompose_request_seconds_count", **labels) == count, labels
        assert number(found, "vcompose_request_seconds_sum", **labels) >= 0
        assert number(found, "vcompose_request_seconds_bucket", le="+Inf", **labels) == count


async def test_strangers_make_no_labels(stage: Serving) -> None:
    odd = ("x", "%22%7D%20evil%20", "%0a", "a" * 3000, "%F0%9F%98%80", "{route}", "..%2f")
    for name in odd:
        for path in (
            f"/{name}",
            f"{API}/clips/{name}",
            f"/static/{name}",
            f"{API}/compositions/{name}/output",
            f"//{name}",
        ):
            await ask(stage.url, "GET", path)
            await ask(stage.url, "PROPFIND", path)
            await ask(stage.url, "OPTIONS", path, host=b"evil.example")
    for garbage in (b"FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x00"):
        async with wire(stage.url) as connection:
            await connection.send(garbage)
            await connection.closed()
    labels = {
        name: {dict(key[1]).get(name, "") for key in await numbers(stage)} for name in ("method", "route", "status")
    }
    known = {f"{API}{one.path}" for one in OPERATIONS} | {one.path for one in AT_THE_ROOT}
    known |= {"", "/", "/docs", "/openapi.json", "/static/{name}", "unknown"}
    assert labels["route"] <= known
    assert labels["method"] <= {"", "GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "other"}
    assert labels["status"] <= {"", "200", "400", "404", "405", "421", "499"}


# ---- the log ---------------------------------------------------------------------------------------------------------


class Log:
    """Lines as they were written."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def lines(self) -> list[dict[str, Any]]:
        """Each line is one JSON object, also where strangers wrote in it."""
        text = self.stream.getvalue()
        assert not text or text.endswith("\n")
        found = [json.loads(line) for line in text.splitlines()]
        assert all(isinstance(line, dict) and {"event", "level", "time"} <= set(line) for line in found)
        return found

    def of(self, event: str) -> list[dict[str, Any]]:
        """Those of one kind."""
        return [line for line in self.lines() if line["event"] == event]


@pytest.fixture
def log() -> Iterator[Log]:
    """The service's log, as JSON; afterwards everything is as it was."""
    root, quiet = logging.getLogger(), logging.getLogger("aiosqlite")
    before = root.handlers[:], root.level, quiet.level
    given = Log()
    log_to(given.stream, as_json=True)
    try:
        yield given
    finally:
        root.handlers[:], level, quiet_level = before
        root.setLevel(level)
        quiet.setLevel(quiet_level)
        structlog.reset_defaults()


async def test_a_line_for_each_request_and_each_transition(
    log: Log, stage: Serving, library: Library, films: Filmmaking
) -> None:
    films.let()
    job = await stage.submit(*library.clips[:2])
    done = await stage.ended(job["id"])
    assert (await stage.call("GET", "/clips/c_nobody"))[0] == 404
    assert (await stage.call("DELETE", f"/compositions/{job['id']}"))[0] == 204
    told = [(line["state"], line["job"]) for line in log.of("job_is")]
    assert told == [(state, job["id"]) for state in ("pending", "processing", "completed")]
    assert log.of("job_is")[-1]["seq"] == done["seq"]
    assert [line["job"] for line in log.of("job_deleted")] == [job["id"]]
    (submitted,) = [line for line in log.of("request") + log.of("slow_request") if line["method"] == "POST"]
    assert (submitted["route"], submitted["status"], submitted["path"]) == (
        f"{API}/compositions",
        202,
        f"{API}/compositions",
    )
    assert submitted["milliseconds"] > 0
    answered = [line for line in log.of("request") + log.of("slow_request") if line["path"].endswith(job["id"])]
    assert answered
    assert all(line["job"] == job["id"] and line["route"] == f"{API}/compositions/{{job}}" for line in answered)
    (missing,) = [line for line in log.lines() if line.get("path", "").endswith("c_nobody")]
    assert (missing["status"], missing["level"]) == (404, "info")


async def test_a_line_stays_a_line_whatever_is_asked(log: Log, stage: Serving) -> None:
    for path in (
        "/%0a%7B%22event%22:%22forged%22%7D",
        "/%0d%0a",
        "/%1b[31m",
        "/%ED%A0%80",
        "/%E2%80%A8",
        "/%00",
        "/%22",
    ):
        await ask(stage.url, "GET", path)
        await ask(stage.url, "GET", f"{API}/compositions{path}")
    for garbage in (b"GET /\n\n\xff HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nno header\r\n\r\n"):
        async with wire(stage.url) as connection:
            await connection.send(garbage)
            await connection.closed()
    await ask(
        stage.url, "POST", f"{API}/clips", b"Content-Type: multipart/form-data; boundary=XX", body=b"--XX\r\nx\r\n\r\n"
    )
    await ask(stage.url, "GET", "/healthz", b"Origin: http://[")
    assert not [line for line in log.lines() if line["event"] == "forged"]
    assert not [line for line in log.lines() if line["level"] in {"error", "critical"}], "strangers raise no alarm"
    assert "Traceback" not in log.stream.getvalue()
    assert len(log.of("request")) >= 16


async def test_slow_answers_are_warned_of(
    log: Log, tmp_path: Path, tools: Tools, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(slow=0.15)
    async with serving(library.copy(tmp_path / "data"), tools, options=options) as service:
        real = service.service.clip

        async def slowly(clip: str) -> Any:
            await asyncio.sleep(0.2)
            return await real(clip)

        monkeypatch.setattr(service.service, "clip", slowly)
        await service.call("GET", f"/clips/{library.clips[0]}")
        await service.call("GET", "/events", params={"wait": "0.4"})  # waiting is what was asked for
        await service.call("GET", f"/clips/{library.clips[0]}/content")
        (slow,) = [line for line in log.of("slow_request") if line["route"] == f"{API}/clips/{{clip}}"]
        assert slow["level"] == "warning"
        assert slow["milliseconds"] >= 150
        assert not [line for line in log.of("slow_request") if line["route"].endswith(("/events", "/content"))]


async def test_a_fault_of_ours_is_told_to_the_operator_alone(
    log: Log, stage: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object, **__: object) -> None:
        raise ValueError("a secret of /etc/vcompose")

    monkeypatch.setattr(stage.service, "clips", breaks)
    reply = await ask(stage.url, "GET", f"{API}/clips")
    problem = reply.assert_problem(500, "internal_error")
    assert "secret" not in reply.body.decode()
    assert "log" in problem["detail"]
    (broken,) = log.of("request_broken")
    assert broken["level"] == "error"
    assert "a secret of /etc/vcompose" in json.dumps(broken)
    (line,) = [line for line in log.lines() if line.get("status") == 500]
    assert line["event"] in {"request", "slow_request"}


async def test_who_went_is_499(log: Log, stage: Serving) -> None:
    async with wire(stage.url) as connection:
        await connection.send(request("GET", f"{API}/events?wait=30"))
        async with asyncio.timeout(10):
            while not stage.service.watchers:
                await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        while not [line for line in log.of("request") if line["status"] == 499]:
            await asyncio.sleep(0.02)
    found = await numbers(stage)
    assert number(found, "vcompose_request_seconds_count", method="GET", route=f"{API}/events", status="499") == 1
