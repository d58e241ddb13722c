"""Property 8 over a real crash: a server that is killed leaves nothing, and the next one finishes what it had begun."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from remains import strays
from scripted import Library, Scripted, few, half_an_upload, play
from serving import API
from witness import Told, bare, every_tenth, recorded

ROOT = Path(__file__).parents[1]


class Server:
    """A real server process on a data folder, started by us."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.url = url
        self._session = session

    async def call(self, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
        """Call an address below /api/v1."""
        async with self._session.request(method, f"{self.url}{API}{path}", **arguments) as answer:
            json = "json" in answer.headers.get("Content-Type", "")
            return answer.status, await answer.json() if json else await answer.read()

    async def submit(self, clips: tuple[str, ...], **output: object) -> str:
        """Submit a composition; gives the job's id."""
        wanted = {"clips": [{"clip": clip} for clip in clips], "output": output}
        status, job = await self.call("POST", "/compositions", json=wanted)
        assert status == 202, job
        return str(job["id"])

    async def told(self, job: str) -> list[Told]:
        """What a job does until its end, from now on."""
        story: list[Told] = []
        after = 0
        while not story or story[-1]["finished"] is None:
            story.append((await self.call("GET", f"/compositions/{job}", params={"after": after, "wait": 60}))[1])
            after = story[-1]["seq"]
        return story

    async def reached(self, job: str, percent: int) -> None:
        """Wait for a percentage."""
        told: Told = {"percent": -1, "finished": None, "seq": 0, "state": ""}
        while told["state"] != "processing" or told["percent"] < percent:
            assert told["finished"] is None, "it was faster than its killer"
            told = (await self.call("GET", f"/compositions/{job}", params={"after": told["seq"], "wait": 60}))[1]


@asynccontextmanager
async def server(data: Path, script: Scripted, temporary: Path) -> AsyncIterator[Server]:
    """Start a server; it is killed on the way out if it lives still."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VCOMPOSE_")}
    with (data.parent / f"{data.name}.log").open("ab") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "vcompose", "serve", "--port", "0", "--data", data, "--ffmpeg", script.path,
                "--jobs", "1", "--grace", "0", "--keep-free", "0",
            ],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            env={**environment, "TMPDIR": str(temporary)},
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = (await asyncio.to_thread(process.stdout.readline)).decode()
        assert "http://" in line, (data.parent / f"{data.name}.log").read_text()
        async with aiohttp.ClientSession() as session:
            yield Server(process, line.split(" at ")[1].strip().rstrip("/"), session)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def gone(processes: list[psutil.Process]) -> None:
    """Wait until none of them lives."""
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        await asyncio.sleep(0.01)


@example(percent=0, held=True)
@example(percent=40, held=False)
@given(percent=st.integers(1, 80), held=st.booleans())
@few(1)
def test_property_8_a_killed_server_leaves_nothing_and_the_next_one_goes_on(
    library: Library, script: Scripted, place: Path, tmp_path_factory: pytest.TempPathFactory, percent: int, held: bool
) -> None:
    """Killed while one job is done, one is being made, one waits and one is half uploaded: its children die with it;
    its successor has every job with its number and its percentage, makes them, and has nothing else.
    """
    script.reset()
    data = library.copy(place)
    temporary = tmp_path_factory.mktemp("temporary")
    clips = library.clips[:2]

    async def first() -> tuple[list[str], dict[str, Told]]:
        async with server(data, script, temporary) as killed:
            done = await killed.submit(clips)
            await killed.told(done)
            if held:
                script.hold()
            else:
                script.slow()
            jobs = [done, *[await killed.submit(clips, mode="encode") for _ in "12"]]
            await killed.reached(jobs[1], 0 if held else percent)
            if held:
                await script.begun()
            uploading = await half_an_upload(killed.url, data)
            children = psutil.Process(killed.process.pid).children(recursive=True)
            assert children
            last = {job: (await killed.call("GET", f"/compositions/{job}"))[1] for job in jobs}
            os.kill(killed.process.pid, signal.SIGKILL)
            assert killed.process.wait() == -signal.SIGKILL
            await gone(children)
            uploading.transport.abort()
        script.reset()
        return jobs, last

    async def second(jobs: list[str], last: dict[str, Told]) -> dict[str, Told]:
        async with server(data, script, temporary) as successor:
            ends: dict[str, Told] = {}
            for job in jobs:
                story = [last[job], *await successor.told(job)]
                assert [one["percent"] for one in story] == sorted(one["percent"] for one in story), "progress fell"
                assert [one["seq"] for one in story] == sorted(one["seq"] for one in story)
                ends[job] = story[-1]
                assert ends[job]["state"] == "completed"
                status, film = await successor.call("GET", f"/compositions/{job}/output")
                assert (status, len(film)) == (200, ends[job]["output"]["bytes"])
            assert bare(ends[jobs[0]]) == bare(last[jobs[0]]), "what had ended was changed"
            assert [ends[job]["attempt"] for job in jobs] == [1, 2, 1]
            _, page = await successor.call("GET", "/compositions")
            assert {one["id"] for one in page["items"]} == set(jobs)
            successor.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(successor.process.wait) == 0
        return ends

    jobs, last = play(first())
    ends = play(second(jobs, last))
    assert not strays(data, set(jobs))
    assert not list(temporary.iterdir())
    assert not [path.name for path in data.iterdir() if path.name.endswith(("-wal", "-shm"))]
    for job in jobs:
        every_tenth(recorded(data, job), ends[job])
