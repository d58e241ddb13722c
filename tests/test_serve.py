"""``vcompose serve`` as a process: its address, its signals, its exit codes, one server to a data folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeClip

from vcompose.client import Client, ServiceError
from vcompose.jobs.database import LOCK

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: its process, its address, its log."""

    process: asyncio.subprocess.Process
    url: str
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """The log's documents."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    async def end(self, *signals: signal.Signals) -> tuple[int, float]:
        """Send signals, a moment apart; gives the exit code, and the seconds until then."""
        begun = time.monotonic()
        for one in signals:
            self.process.send_signal(one)
            await asyncio.sleep(0.3)
        return await asyncio.wait_for(self.process.wait(), 60), time.monotonic() - begun


@contextlib.asynccontextmanager
async def server(tmp_path: Path, *flags: str) -> AsyncIterator[Server]:
    """Start one on a free port."""
    log = tmp_path / f"log-{time.monotonic_ns()}"
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "vcompose", "serve", "--port", "0", "--data", str(tmp_path / "data"),
            "--keep-free", "0", *flags, stdout=asyncio.subprocess.PIPE, stderr=sink,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        assert line.startswith("vcompose is at http://127.0.0.1:"), line + log.read_text()
        yield Server(process=process, url=line.split()[-1], log=log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def refused(*flags: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run one that must not start; gives its exit code and what it said on stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vcompose", "serve", *flags,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=None if environment is None else {"PATH": "/usr/bin:/bin", **environment},
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert out == b""
    assert process.returncode is not None
    return process.returncode, err.decode()


async def until_refused(films: Client, clip: str) -> None:
    """Submit until the server has heard that it is to stop."""
    while True:
        await films.compose([clip] * 2)
        await asyncio.sleep(0.05)


async def long_job(films: Client, make_clip: MakeClip) -> str:
    """A job that takes a minute, being encoded."""
    clip = await films.upload(make_clip(seconds=20.0, size="640x480"))
    output = {"mode": "encode", "size": "1920x1080", "fps": 60}
    job = await films.compose([clip["id"]] * 4, output=output)
    async for now in films.follow(job["id"]):
        if now["stage"] == "encoding":
            break
    return str(job["id"])


async def test_it_stops_when_nothing_runs(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        code, seconds = await one.end(signal.SIGTERM)
        assert code == 0
        assert seconds < 10
        assert [line["event"] for line in one.lines()][-2:] == ["stopping", "closed"]


async def test_running_jobs_get_their_grace_and_nothing_new_is_taken(tmp_path: Path, make_clip: MakeClip) -> None:
    async with server(tmp_path, "--grace", "60") as one, Client(one.url) as films:
        clip = await films.upload(make_clip(seconds=8.0, size="640x480"))
        job = await films.compose([clip["id"]] * 2, output={"mode": "encode", "size": "1280x720"})
        async for now in films.follow(job["id"]):
            if now["stage"] == "encoding":
                break
        one.process.send_signal(signal.SIGTERM)
        with pytest.raises(ServiceError, match="stopping"):
            await until_refused(films, clip["id"])
        done = await films.wait(job["id"])
        assert done["state"] == "completed"
        assert await asyncio.wait_for(one.process.wait(), 30) == 0


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)])
async def test_a_second_signal_does_not_wait_and_the_job_goes_on_later(
    tmp_path: Path, make_clip: MakeClip, signals: tuple[signal.Signals, ...]
) -> None:
    async with server(tmp_path, "--grace", "600") as one, Client(one.url) as films:
        job = await long_job(films, make_clip)
        code, seconds = await one.end(*signals)
        assert code == 0
        assert seconds < 20
        assert "fault" not in one.log.read_text().lower()
    async with server(tmp_path, "--grace", "0") as two, Client(two.url) as films:
        now = await films.job(job)
        assert (now["state"], now["attempt"]) == ("processing", 2)
        assert (await films.cancel(job))["state"] == "cancelled"


async def test_a_second_server_ends_with_2_and_names_the_first(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        code, said = await refused("--port", "0", "--data", str(tmp_path / "data"))
        assert code == 2
        assert str(one.process.pid) in said
        assert str(one.process.pid) in (tmp_path / "data" / LOCK).read_text()


async def test_an_address_that_is_taken(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        port = one.url.rstrip("/").rpartition(":")[2]
        code, said = await refused("--port", port, "--data", str(tmp_path / "other"))
        assert code == 1
        assert port in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--port", "70000"), "VCOMPOSE_PORT"),
        (("--hosts", "films.example.org,bad host"), "bad host"),
        (("--config", "/nowhere/vcompose.toml"), "/nowhere/vcompose.toml"),
        (("--url-prefix", "films/"), "VCOMPOSE_URL_PREFIX"),
        (("--max-upload", "much"), "VCOMPOSE_MAX_UPLOAD"),
        (("--log", "xml"), "VCOMPOSE_LOG"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
async def test_settings_that_make_no_sense(tmp_path: Path, flags: tuple[str, ...], words: str) -> None:
    code, said = await refused("--data", str(tmp_path / "data"), *flags)
    assert code == 2
    assert words in said
    assert "Traceback" not in said


async def test_a_file_of_settings(tmp_path: Path) -> None:
    file = tmp_path / "vcompose.toml"
    file.write_text('url_prefix = "/films"\nhosts = ["films.example.org"]\nport = 1\n')
    async with server(tmp_path, "--config", str(file)) as one:
        async with Client(one.url) as films:
            assert (await films._call("GET", "clips"))["items"] == []
        assert "/films" in one.log.read_text()
    file.write_text("prot = 1\n")
    code, said = await refused("--config", str(file), "--data", str(tmp_path / "data"))
    assert code == 2
    assert "prot" in said.lower()


async def test_samples_are_put_into_an_empty_library(tmp_path: Path) -> None:
    async with server(tmp_path, "--samples") as one, Client(one.url) as films:
        clips = (await films._call("GET", "clips"))["items"]
        assert sorted(clip["name"] for clip in clips) == [
            "sample-1.mp4", "sample-2.mov", "sample-3.avi", "sample-4.webm", "sample-5.mp4",
        ]  # fmt: skip
        assert not (tmp_path / "data" / "samples").exists()
