"""Children: the only module that starts or signals a process.

A child runs in a session of its own (so that its whole group can be killed), dies with us (``setpriv
--pdeathsig``), has limits (``prlimit``), a bounded memory of what it wrote to stderr, and a watchdog that ends it
when somebody waits for it and it shows neither output nor CPU time.

The way out is always the same, whatever happens: SIGKILL to the group, drain the pipes (``wait`` hangs while one
is full), reap, and only then go on. SIGTERM is never sent: ffmpeg answers it with a shorter file that plays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from vcompose.media import ledger
from vcompose.media.errors import ChildFailed, ChildStalled, StepError, ToolError
from vcompose.media.tasks import Unstoppable, settled

STDERR_KEPT: Final = 16 * 1024
"""Bytes of stderr that are remembered, the last ones."""

_PIPE: Final = 256 * 1024
_ADDRESS: Final = re.compile(r"\[[^\]\n]* @ 0x[0-9a-f]+\] ?")
"""Where in ffmpeg's memory something is: of no use to a person."""
_GONE_SECONDS: Final = 5.0
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "AV_LOG_FORCE_NOCOLOR": "1"}

# The death signal is armed after the fork: if we died in between, nobody would be told. So the last thing before
# the program is to look whether the parent is still the one who asked.
_STILL_WANTED: Final = 'parent=$1; shift; [ "$PPID" = "$parent" ] || exit 125; exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one child may take: bytes of address space, bytes of its largest file, open files."""

    memory: int = 8 << 30
    file_size: int = 1 << 40
    open_files: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The small programs in front of a child. Without them (not on Linux) a child has no limits, and lives on
    when vcompose is killed with SIGKILL. ``ledger`` is the folder where a service notes its living children;
    ``nice`` (0 to 19) is how far they stand back behind it.
    """

    setpriv: str | None
    prlimit: str | None
    ledger: Path | None = None
    nice: int = 0

    @classmethod
    def find(cls, search_path: str) -> Guard:
        """Look for ``setpriv`` and ``prlimit`` (both in Debian's essential util-linux) on ``search_path``."""
        return cls(
            setpriv=shutil.which("setpriv", path=search_path),
            prlimit=shutil.which("prlimit", path=search_path),
        )

    def wrap(self, argv: tuple[str, ...], limits: Limits) -> tuple[str, ...]:
        """The argument list that runs ``argv`` under ``limits`` and ties its life to ours."""
        front: tuple[str, ...] = ()
        if self.setpriv is not None:
            front += (self.setpriv, "--pdeathsig", "KILL", "--no-new-privs", "--")
        if self.prlimit is not None:
            front += (
                self.prlimit,
                "--core=0",
                f"--as={_within(limits.memory, resource.RLIMIT_AS)}",
                f"--fsize={_within(limits.file_size, resource.RLIMIT_FSIZE)}",
                f"--nofile={_within(limits.open_files, resource.RLIMIT_NOFILE)}",
                "--",
            )
        if self.setpriv is not None:
            front += ("/bin/sh", "-c", _STILL_WANTED, "sh", str(os.getpid()))
        return front + argv


def _within(wanted: int, kind: int) -> int:
    """A limit no higher than the one that we live under ourselves: raising it would be refused."""
    _, hard = resource.getrlimit(kind)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run: arguments, working folder, open files that it inherits under the same numbers, limits
    (``stall`` and ``deadline`` in seconds).
    """

    argv: tuple[str, ...]
    folder: Path
    guard: Guard
    limits: Limits = field(default_factory=Limits)
    stall: float = 60.0
    deadline: float | None = None
    files: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended: exit status (negative: a signal), the last of its stderr, wall seconds."""

    status: int
    stderr: str
    seconds: float


class Child:
    """A running child. Made by :func:`start`; every wait in it is watched by the watchdog."""

    def __init__(self, process: asyncio.subprocess.Process, command: Command) -> None:
        self._process = process
        self._command = command
        self._begun = time.monotonic()
        self._waiting = 0
        self._moved = False
        self._verdict: str | None = None
        self._stderr = bytearray()
        self._drain = asyncio.create_task(self._drain_stderr())
        self._watch = asyncio.create_task(self._watchdog())

    @property
    def pid(self) -> int:
        """The child's process id, which is its group's and session's as well."""
        return self._process.pid

    async def read(self) -> bytes:
        """The next bytes of stdout; ``b""`` at its end."""
        assert self._process.stdout is not None
        with self._watched():
            data = await self._process.stdout.read(_PIPE)
        self._moved = True
        return data

    async def write(self, data: bytes | memoryview) -> bool:
        """Feed stdin, as fast as the child reads. False when the child no longer listens."""
        assert self._process.stdin is not None
        try:
            with self._watched():
                self._process.stdin.write(data)
                await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        self._moved = True
        return True

    def close_input(self) -> None:
        """Tell the child that its stdin has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def wait(self) -> Ended:
        """Wait for the end, after stdout was read to its end.

        Raises ChildStalled when the watchdog ended it. The caller judges the exit status.
        """
        with self._watched():
            status = await self._process.wait()
            await asyncio.wait([self._drain])
        ended = Ended(status=status, stderr=self.stderr(), seconds=time.monotonic() - self._begun)
        if self._verdict is not None:
            raise ChildStalled(
                f"{_program(self._command)} {self._verdict} and was ended",
                code="timeout" if "longer" in self._verdict else "stalled",
                status=status,
                stderr=ended.stderr,
            )
        return ended

    def stderr(self) -> str:
        """The last lines that the child wrote to stderr, printable."""
        text = self._stderr.decode("utf-8", "replace")
        return "".join(c if c.isprintable() or c == "\n" else "?" for c in text).strip()

    def kill(self) -> None:
        """SIGKILL to the whole group, unless the child was reaped already (its number may be a stranger's)."""
        # reaped: while others of the group live its number is taken; a process of that number is a stranger
        if self._process.returncode is None or not psutil.pid_exists(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill, drain, reap; returns once no member of the group is left but zombies."""
        self._watch.cancel()
        self.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        assert self._process.stdout is not None
        while await self._process.stdout.read(_PIPE):
            pass
        await asyncio.wait([self._drain, self._watch])
        await self._process.wait()
        await _group_gone(self.pid)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def _drain_stderr(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(_PIPE):
            self._stderr += data
            del self._stderr[:-STDERR_KEPT]

    async def _watchdog(self) -> None:
        """Count the ticks in which somebody waits and nothing moves.

        Ticks, not the clock: a machine that slept, or a vcompose that was stopped, is no stalled child.
        """
        tick = min(1.0, self._command.stall / 4)
        still = 0.0
        cpu = -1.0
        while True:
            await asyncio.sleep(tick)
            deadline = self._command.deadline
            if deadline is not None and time.monotonic() - self._begun > deadline:
                self._verdict = f"took longer than {deadline:g} s"
            used = _cpu_seconds(self.pid)
            if self._moved or used != cpu or not self._waiting:
                still = 0.0
            else:
                still += tick
            self._moved, cpu = False, used
            if still >= self._command.stall:
                self._verdict = f"showed neither progress nor CPU time for {self._command.stall:g} s"
            if self._verdict is not None:
                self.kill()
                return


@contextlib.asynccontextmanager
async def start(command: Command, *, feed: bool = False) -> AsyncIterator[Child]:
    """Start a child and hand it over; on the way out, by whatever way, it and its group are gone.

    ``feed`` gives it a stdin; otherwise it reads from nothing. Raises ToolError when the program cannot be
    started, StepError when the system has no room for another process.
    """
    argv = command.guard.wrap(command.argv, command.limits)
    if not os.access(command.argv[0], os.X_OK):  # behind the guard it would be a shell's exit status
        raise ToolError(f"{_program(command)} cannot be started: no program at {command.argv[0]}", code="tool_broken")
    spawning = Unstoppable(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE if feed else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=command.folder,
            env={**_ENVIRONMENT, **command.environment},
            limit=_PIPE,
            pass_fds=command.files,
            start_new_session=True,
        )
    )
    try:
        process, cancelled = await settled(spawning)
    except (FileNotFoundError, PermissionError) as error:
        raise ToolError(f"{_program(command)} cannot be started: {error.strerror}", code="tool_broken") from error
    except OSError as error:
        raise StepError(f"{_program(command)} cannot be started: {error.strerror}", code="no_process") from error
    child = Child(process, command)
    try:
        if command.guard.ledger is not None:
            ledger.note(command.guard.ledger, child.pid)
        if command.guard.nice:
            _stand_back(child.pid, command.guard.nice)
        if cancelled:
            raise asyncio.CancelledError
        yield child
    finally:
        _, cancelled = await settled(Unstoppable(child.end()))
        if command.guard.ledger is not None:
            ledger.strike(command.guard.ledger, child.pid)
        if cancelled:
            raise asyncio.CancelledError


async def end_orphans(folder: Path) -> int:
    """Kill the children that a dead vcompose left in its ledger, whole groups of them; gives how many there were.

    Returns once each group is gone. A number that is no longer that child's is a stranger's, and left alone.
    """
    groups = await asyncio.to_thread(ledger.living, folder)
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    for group in groups:
        await _group_gone(group)
    ledger.clear(folder)
    return len(groups)


async def run(command: Command, on_output: Callable[[bytes], None]) -> Ended:
    """Run a child to its end, each piece of stdout going to ``on_output``.

    Raises ChildFailed for any exit status but 0, ChildStalled, ToolError, and what ``on_output`` raises.
    """
    async with start(command) as child:
        while data := await child.read():
            on_output(data)
        ended = await child.wait()
    return succeeded(command, ended)


def succeeded(command: Command, ended: Ended) -> Ended:
    """Only exit status 0 is success. Raises ChildFailed with the status and the last lines otherwise."""
    if ended.status == 0:
        return ended
    how = f"exit status {ended.status}"
    if ended.status < 0:
        with contextlib.suppress(ValueError):
            how = f"signal {signal.Signals(-ended.status).name}"
    last = _ADDRESS.sub("", " / ".join(ended.stderr.splitlines()[-3:])) or "it said nothing"
    raise ChildFailed(f"{_program(command)} failed with {how}: {last}", status=ended.status, stderr=ended.stderr)


async def _group_gone(group: int) -> None:
    """Wait until no process of the group is left but zombies (whose parent, not ours, has yet to reap them)."""
    end = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return
        if not any(_alive_in(process, group) for process in psutil.process_iter()):
            return
        await asyncio.sleep(0.005)


def _alive_in(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return -1.0
    return times.user + times.system


def _stand_back(pid: int, nice: int) -> None:
    """Let whoever answers people go first: a share of the processor that nobody else wants is all that is needed."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    # a session of its own is weighed as a whole against ours, whatever its processes' own weights (sched(7), autogroup)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(f"{nice}\n", encoding="ascii")


def _program(command: Command) -> str:
    return Path(command.argv[0]).name.split("-")[0]
