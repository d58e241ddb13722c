"""One life of the server: a process of its own, from its start to its violent end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from faults.moments import Moment, Sight
from faults.records import Records
from faults.server import PASSING, POINT, PROOF

ROOT: Final = Path(__file__).parents[1]
UP_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.001
_ADDRESS: Final = re.compile(r"vcompose is at (http://\S+?)/\s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What a life wrote: the steps that it finished (job and step, each time), orphans, strays, complaints."""

    steps: tuple[tuple[str, str], ...]
    orphans: int
    strays: int
    complaints: tuple[str, ...]


class Life:
    """A running server. Made by :func:`begin`."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.number = number
        self.process = process
        self._proof = folder / f"proof-{number}.json"
        self._log = folder / f"server-{number}.log"
        self.url = ""
        self.started = psutil.Process(process.pid).create_time()
        # a handle: asyncio's own way to signal may reap the process in passing, and its exit status is lost
        self._handle = os.pidfd_open(process.pid)

    async def up(self) -> bool:
        """Wait until it listens; False when it ended before. Raises TimeoutError."""
        assert self.process.stdout is not None
        async with asyncio.timeout(UP_SECONDS):
            line = (await self.process.stdout.readline()).decode()
            if not line:
                await self.process.wait()
                return False
        found = _ADDRESS.match(line)
        if found is None:
            raise RuntimeError(f"the server's first line is no address: {line!r}")
        self.url = found[1]
        return True

    async def seen_and_killed(self, sight: Sight, data: Path, records: Records, seconds: float) -> str | None:
        """Kill it in the millisecond in which the moment is seen; None when it was not seen in time."""
        return await asyncio.to_thread(self._look, sight, data, records, time.monotonic() + seconds)

    def _look(self, sight: Sight, data: Path, records: Records, end: float) -> str | None:
        while time.monotonic() < end and self._handle >= 0:
            with contextlib.suppress(FileNotFoundError):  # files come and go while one looks
                if (words := sight(data, records)) is not None:
                    self._signal(signal.SIGKILL)
                    return words
            time.sleep(_LOOK_SECONDS)
        return None

    async def dead(self, seconds: float) -> bool:
        """Wait for its end; False when it lives on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.process.wait()
                return True
        return False

    async def kill(self) -> None:
        """SIGKILL, whatever it does."""
        if self.process.returncode is None:
            self._signal(signal.SIGKILL)
            await self.process.wait()
        self._close()

    async def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        self._signal(signal.SIGTERM)
        return await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def words(self) -> dict[str, Any]:
        """Its last words, where it killed itself."""
        with contextlib.suppress(FileNotFoundError):
            words: dict[str, Any] = json.loads(self._proof.read_text(encoding="utf-8"))
            return words
        return {}

    def log(self) -> Log:
        """What it wrote. The last line of a killed one may be torn."""
        steps: list[tuple[str, str]] = []
        complaints: list[str] = []
        orphans = strays = 0
        text = self._log.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines(keepends=True):
            try:
                entry = json.loads(line)
            except ValueError:
                if line.endswith("\n"):
                    complaints.append(line.strip())
                continue
            event = entry.get("event")
            if event == "step_done":
                steps.append((entry["job"], entry["step"]))
            elif event == "opened":
                orphans, strays = entry["orphans"], entry["strays"]
            elif entry.get("level") in {"error", "critical"} or event == "fenced":
                complaints.append(line.strip()[:600])
        return Log(steps=tuple(steps), orphans=orphans, strays=strays, complaints=tuple(complaints[:5]))


async def begin(number: int, data: Path, folder: Path, moment: Moment | None, passing: int) -> Life:
    """Start a server on the data folder, with a trap where the moment is inside it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VCOMPOSE_", "FAULTS_"))}
    module = "vcompose"
    if moment is not None and moment.point is not None:
        module = "faults.server"
        environment |= {POINT: moment.point, PASSING: str(passing), PROOF: str(folder / f"proof-{number}.json")}
    if moment is not None and not moment.pdeathsig:
        environment["PATH"] = str(_without_setpriv(folder))
    words = [
        sys.executable, "-m", module, "serve", "--port", "0", "--data", str(data), "--log", "json",
        "--keep-free", "16MB", "--jobs", "2", "--parallel", "2", "--grace", "0",
    ]  # fmt: skip
    if (setpriv := shutil.which("setpriv")) is not None:
        words = [setpriv, "--pdeathsig", "KILL", "--", *words]  # it shall not outlive us
    with (folder / f"server-{number}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
            cwd=ROOT, env=environment, start_new_session=True,
        )  # fmt: skip
    return Life(number, process, folder)


def _without_setpriv(folder: Path) -> Path:
    """A PATH on which the server finds no death signal for its children: they live on when it is killed."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    prlimit = shutil.which("prlimit")
    if prlimit is not None and not (place / "prlimit").exists():
        (place / "prlimit").symlink_to(prlimit)
    return place
