"""The service under load, beside a bare aiohttp handler on the same machine in the same run.

    ./dev bench serving [--folder FOLDER]

Latencies are measured in the client, a process of its own. Two encodes run all the while. ``closed loop`` means that
each of the 100 clients asks again as soon as it was answered; ``paced`` that each asks about once a second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import socket
import sqlite3
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil

from vcompose.jobs import document
from vcompose.library import tools_of
from vcompose.settings import Settings

CLIENTS: Final = 100
SOCKETS: Final = 1000
QUEUED: Final = 10_000
API: Final = "/api/v1"


def told(name: str, seconds: list[float], goal: str) -> None:
    """One line: count, p50, p99, worst."""
    if not seconds:
        print(f"{name:58s} nothing was measured")
        return
    ordered = sorted(seconds)
    p50, p99 = statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    figures = f"p50 {p50 * 1e3:7.1f}  p99 {p99 * 1e3:7.1f}  max {ordered[-1] * 1e3:7.1f} ms"
    print(f"{name:58s} n={len(ordered):5d}  {figures}  {goal}")


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def server(folder: Path, *flags: str) -> AsyncIterator[tuple[str, int]]:
    """The real service in a process of its own; gives its address and its number."""
    log = (folder.parent / "server.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vcompose", "serve", "--port", "0", "--data", str(folder), "--grace", "0", *flags,
        stdout=asyncio.subprocess.PIPE, stderr=log,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        assert "http://" in line, f"the server did not start: see {log.name}"
        yield line.split()[-1].rstrip("/"), process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        log.close()


@contextlib.asynccontextmanager
async def bare() -> AsyncIterator[str]:
    """The bare handler in a process of its own."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.bare", str(port))
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def make_clips(folder: Path) -> list[Path]:
    """Small ones for the crowd, two long ones that take a minute to encode."""
    tools = await tools_of(Settings())
    clips: list[Path] = []
    for number, (size, seconds) in enumerate([("64x64", 1), ("64x64", 1), ("1280x720", 120), ("1280x720", 120)]):
        path = folder / f"clip-{number}.mp4"
        clips.append(path)
        if not path.exists():
            picture = f"testsrc2=size={size}:rate=30:duration={seconds},hue=h={number * 40}"
            maker = await asyncio.create_subprocess_exec(
                tools.ffmpeg.path, "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", picture,
                "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "open-gop=0",
                str(path),
            )  # fmt: skip
            assert await maker.wait() == 0
    return clips


async def upload(session: aiohttp.ClientSession, url: str, path: Path) -> str:
    """Gives the clip's id."""
    with path.open("rb") as file:
        form = aiohttp.FormData()
        form.add_field("file", file, filename=path.name)
        async with session.post(f"{url}{API}/clips", data=form) as answer:
            return str((await answer.json())["id"])


def wanted(*clips: str, **output: object) -> dict[str, Any]:
    """A composition document."""
    return {"clips": [{"clip": clip} for clip in clips], "output": output}


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    await work()
    return time.perf_counter() - begun


async def crowd(work: Callable[[], Awaitable[object]], *, times: int, pause: float) -> list[float]:
    """CLIENTS side by side, each ``times`` times, with random pauses of ``pause`` seconds on average."""

    async def one() -> list[float]:
        seconds = []
        for _ in range(times):
            if pause:
                await asyncio.sleep(random.uniform(0, 2 * pause))
            seconds.append(await timed(work))
        return seconds

    return [each for some in await asyncio.gather(*(one() for _ in range(CLIENTS))) for each in some]


async def under_load(folder: Path, clips: list[Path]) -> None:
    """Submit, detail, cancel and list, two encodes running."""
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    connector = aiohttp.TCPConnector(limit=0)
    async with server(data) as (url, _), bare() as peer, aiohttp.ClientSession(connector=connector) as session:
        ids = [await upload(session, url, path) for path in clips]

        async def post(base: str, document: dict[str, Any]) -> dict[str, Any]:
            async with session.post(f"{base}{API}/compositions", json=document) as answer:
                found: dict[str, Any] = await answer.json()
                assert answer.status == 202, found
                return found

        encodes = [
            await post(url, wanted(ids[2], ids[3], mode="encode", size="1920x1080", fps=fps)) for fps in (30, 60)
        ]
        await asyncio.sleep(1.5)
        small = wanted(ids[0], ids[1])
        big = {"clips": [{"clip": ids[n % 2]} for n in range(500)]}
        for way, times, pause in (("closed loop", 5, 0.0), ("paced", 5, 1.0)):
            told(f"submit, bare aiohttp, {way}", await crowd(lambda: post(peer, small), times=times, pause=pause), "")
            told(f"submit, vcompose, {way}", await crowd(lambda: post(url, small), times=times, pause=pause),
                 "goal p99 < 100, limit 500")  # fmt: skip
        told("submit, vcompose, 500 clips, one client", [await timed(lambda: post(url, big)) for _ in range(20)],
             "limit 500")  # fmt: skip
        job = (await post(url, small))["id"]

        async def get(address: str) -> None:
            async with session.get(address) as answer:
                await answer.read()

        told(
            "detail, bare aiohttp, paced",
            await crowd(lambda: get(f"{peer}{API}/compositions/{job}"), times=3, pause=1.0),
            "",
        )
        told("detail, vcompose, paced", await crowd(lambda: get(f"{url}{API}/compositions/{job}"), times=3, pause=1.0),
             "goal < 100")  # fmt: skip
        states = []
        for encode in encodes:
            async with session.get(f"{url}{API}/compositions/{encode['id']}") as answer:
                states.append((await answer.json())["state"])
        print(f"(the two encodes are {', '.join(states)}; load {os.getloadavg()[0]:.1f})")
        for encode in encodes:  # room for those that are cancelled
            async with session.post(f"{url}{API}/compositions/{encode['id']}/cancel") as answer:
                assert answer.status in {200, 409}
        await cancels(session, url, ids)


async def cancels(session: aiohttp.ClientSession, url: str, ids: list[str]) -> None:
    """Cancel a running encode: from the request to the receipt, the queue emptied before."""
    async with session.get(f"{url}{API}/compositions?limit=200&state=pending") as answer:
        waiting = (await answer.json())["items"]
    while waiting:
        await asyncio.gather(*(_post(session, f"{url}{API}/compositions/{job['id']}/cancel") for job in waiting))
        async with session.get(f"{url}{API}/compositions?limit=200&state=pending") as answer:
            waiting = (await answer.json())["items"]
    seconds = []
    for _ in range(30):
        job = await _post(session, f"{url}{API}/compositions", wanted(ids[2], ids[3], mode="encode", size="1920x1080"))
        after = job["seq"]
        while True:
            async with session.get(f"{url}{API}/compositions/{job['id']}?after={after}&wait=10") as answer:
                now = await answer.json()
            if now["stage"] == "encoding":
                break
            after = now["seq"]
        begun = time.perf_counter()
        await _post(session, f"{url}{API}/compositions/{job['id']}/cancel")
        seconds.append(time.perf_counter() - begun)
    told("cancel of a running encode until proven gone", seconds, "goal p99 < 1000")


async def _post(session: aiohttp.ClientSession, url: str, document: object = None) -> dict[str, Any]:
    async with session.post(url, json=document) as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def many_jobs(folder: Path, clips: list[Path]) -> None:
    """10,000 queued: how long a start takes, and a page of the list."""
    data = folder / "many"
    shutil.rmtree(data, ignore_errors=True)
    async with server(data) as (url, _), aiohttp.ClientSession() as session:
        ids = [await upload(session, url, path) for path in clips[:2]]
    fill(data, ids)
    begun = time.perf_counter()
    # a queue that nothing takes from would be another server; the jobs are made meanwhile, as they would be
    async with server(data) as (url, pid), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/readyz") as answer:
                if answer.status == 200:
                    break
            await asyncio.sleep(0.02)
        print(f"{f'ready after a start with {QUEUED} queued':58s} {time.perf_counter() - begun:.2f} s  goal < 3")
        first = psutil.Process(pid).memory_info().rss

        async def page() -> None:
            async with session.get(f"{url}{API}/compositions?limit=50") as answer:
                assert len((await answer.json())["items"]) == 50

        told(f"a page of the list over {QUEUED} jobs, two jobs running", [await timed(page) for _ in range(200)],
             "goal < 100")  # fmt: skip
        deep = f"{url}{API}/compositions?limit=50&cursor={QUEUED // 2}"

        async def middle() -> None:
            async with session.get(deep) as answer:
                await answer.read()

        told("a page from the middle", [await timed(middle) for _ in range(200)], "goal < 100")
        print(f"(memory {first / 1e6:.0f} MB at the start, {psutil.Process(pid).memory_info().rss / 1e6:.0f} MB now)")


def fill(data: Path, ids: list[str]) -> None:
    """10,000 pending jobs, written as the store writes them (through it they would take a minute of fsync)."""
    text = document.written(document.CompositionDocument.model_validate_json(json.dumps(wanted(*ids))))
    with contextlib.closing(sqlite3.connect(data / "vcompose.sqlite")) as db, db:
        (last,) = db.execute("SELECT last FROM sequence").fetchone()
        now = time.time()
        for number in range(1, QUEUED + 1):
            db.execute(
                "INSERT INTO job (id, state, seq, composition, created) VALUES (?, 'pending', ?, ?, ?)",
                (f"j_{number:032x}", last + number, text, now),
            )
            db.execute(
                "INSERT INTO event VALUES (?, 'job', ?, 'pending', 0, ?)", (last + number, f"j_{number:032x}", now)
            )
        db.execute("UPDATE sequence SET last = ?", (last + QUEUED,))


async def watchers(folder: Path, clips: list[Path]) -> None:
    """1,000 sockets, half of which do not read: from the server's commit to the readers."""
    data = folder / "watched"
    shutil.rmtree(data, ignore_errors=True)
    async with server(data) as (url, pid), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        ids = [await upload(session, url, path) for path in clips[:2]]
        before = psutil.Process(pid).memory_info().rss
        host, port = url.removeprefix("http://").split(":")
        deaf = []
        for _ in range(SOCKETS // 2):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect((host, int(port)))
            sock.sendall(
                f"GET {API}/ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            deaf.append(sock)
            await asyncio.sleep(0)
        heard: dict[str, list[float]] = {}

        async def listen(ready: asyncio.Event) -> None:
            async with session.ws_connect(f"{url}{API}/ws") as live:
                await live.receive()
                ready.set()
                async for message in live:
                    now = time.time()
                    # only the change to pending: its time of commit is the job's "created"
                    if b'"state":"pending"' in message.data.encode():
                        job = json.loads(message.data)["job"]
                        heard.setdefault(job["id"], []).append(now)

        ready = [asyncio.Event() for _ in range(SOCKETS // 2)]
        tasks = [asyncio.create_task(listen(one)) for one in ready]
        await asyncio.gather(*(one.wait() for one in ready))
        delays = []
        for _ in range(20):
            job = await _post(session, f"{url}{API}/compositions", wanted(*ids))
            await asyncio.sleep(1.0)
            committed = created(data, job["id"])
            delays += [one - committed for one in heard.get(job["id"], [])]
        grown = psutil.Process(pid).memory_info().rss - before
        told(f"commit to client, {SOCKETS} sockets, half do not read", delays, "goal p99 < 250")
        print(f"({len(delays)} of {20 * SOCKETS // 2} deliveries to readers; memory + {grown / 1e6:.0f} MB, goal < 50)")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sock in deaf:
            sock.close()


def created(data: Path, job: str) -> float:
    """When the transaction that accepted a job was begun: a little before its commit."""
    with contextlib.closing(sqlite3.connect(f"file:{data / 'vcompose.sqlite'}?mode=ro", uri=True)) as db:
        return float(db.execute("SELECT created FROM job WHERE id = ?", (job,)).fetchone()[0])


async def run(folder: Path) -> None:
    """All of it."""
    clips = await make_clips(folder)
    print(f"the service, {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}")
    await under_load(folder, clips)
    await watchers(folder, clips)
    await many_jobs(folder, clips)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


def main(arguments: list[str]) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="./dev bench serving", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    chosen = parser.parse_args(arguments)
    folder = chosen.folder.absolute() / "serving"
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(run(folder))
