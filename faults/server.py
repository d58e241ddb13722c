"""The server as ``python -m vcompose``, with a trap: at the n-th passing of one point it kills itself with SIGKILL.

``FAULTS_POINT`` is the point's name, ``FAULTS_PASSING`` n, ``FAULTS_PROOF`` the file that it writes its last words to.
Without them it is the server and nothing else. The points:

- ``Store.accept:before``, ``:after`` (and so on for :data:`WRITES`): the statements of that transaction are made, and
  COMMIT is about to be (after a tenth of a second, in which what was told too early gets through); or COMMIT is made,
  and nobody was told;
- ``named:films``, ``named:clips``, ``named:encode``, ``named:join``: a file of that kind just got its name;
- ``spawn:forked``: a step's child was started this moment; ``spawn:unnoted``: it is about to be noted in the ledger.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiosqlite

from vcompose.__main__ import main
from vcompose.jobs.database import Database
from vcompose.jobs.job import Job
from vcompose.jobs.shelf import Shelf
from vcompose.jobs.store import Store
from vcompose.media import ledger

POINT: Final = "FAULTS_POINT"
PASSING: Final = "FAULTS_PASSING"
PROOF: Final = "FAULTS_PROOF"

WRITES: Final[tuple[tuple[type, str], ...]] = (
    (Store, "accept"),
    (Store, "wish_cancel"),
    (Store, "delete"),
    (Store, "resume"),
    (Store, "record_step"),
    (Store, "complete"),
    (Store, "cancelled"),
    (Shelf, "add"),
    (Shelf, "delete"),
)
"""Methods whose transactions have a point before and one after COMMIT."""

_EARLY: Final = 0.1
_writing: contextvars.ContextVar[tuple[str, str] | None] = contextvars.ContextVar("writing", default=None)


class Trap:
    """Dies at the n-th passing of its point, from whatever thread it is passed."""

    def __init__(self, point: str, passing: int, proof: Path) -> None:
        self._point = point
        self._left = passing
        self._proof = proof
        self._lock = threading.Lock()
        self._doomed: dict[str, object] | None = None

    def passed(self, point: str, **words: object) -> None:
        """The server passes a point; ``words`` tell what it was about."""
        if point != self._point:
            return
        with self._lock:
            self._left -= 1
            if self._left:
                return
            if point.endswith(":before"):
                self._doomed = words
            else:
                self._die(words)

    async def commit(self) -> None:
        """COMMIT is about to be made."""
        if self._doomed is not None:
            await asyncio.sleep(_EARLY)
            self._die(self._doomed)

    async def rollback(self) -> None:
        """What was about to be committed is undone."""
        if self._doomed is not None:
            self._doomed, self._left = None, 1

    def _die(self, words: dict[str, object]) -> None:
        self._proof.write_text(json.dumps({"point": self._point, **words}), encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()  # in a thread: nothing more may happen


def set_up(trap: Trap) -> None:
    """Put the points into the server's own functions."""
    for owner, name in WRITES:
        setattr(owner, name, _remembering(f"{owner.__name__}.{name}", getattr(owner, name)))
    _write(trap)
    _names(trap)
    _spawns(trap)


def _remembering(name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def remembered(self: object, *arguments: object, **options: object) -> object:
        about = str(options.get("key") or options.get("name") or (arguments[0] if arguments else ""))
        token = _writing.set((name, about))
        try:
            return await method(self, *arguments, **options)
        finally:
            _writing.reset(token)

    return remembered


def _write(trap: Trap) -> None:
    original = Database.write

    async def write(self: Database, work: Any, committed: Any = None, **options: Any) -> Any:
        writing = _writing.get()
        if writing is None:
            return await original(self, work, committed, **options)
        name, about = writing

        async def worked(db: Any) -> Any:
            result = await work(db)
            _told(trap, f"{name}:before", about, result)
            return result

        def told(result: Any) -> None:
            _told(trap, f"{name}:after", about, result)
            if committed is not None:
                committed(result)

        return await original(self, worked, told, **options)

    Database.write = write  # type: ignore[method-assign]
    execute = aiosqlite.Connection.execute

    def executed(self: aiosqlite.Connection, sql: str, parameters: Any = None) -> Any:
        """Its result is awaited where it is a COMMIT or a ROLLBACK; elsewhere it may be a context."""
        first = {"COMMIT": trap.commit, "ROLLBACK": trap.rollback}.get(sql)
        if first is None:
            return execute(self, sql, parameters)

        async def both() -> Any:
            await first()
            return await execute(self, sql, parameters)

        return both()

    aiosqlite.Connection.execute = executed  # type: ignore[method-assign]


def _told(trap: Trap, point: str, about: str, result: Any) -> None:
    if isinstance(result, tuple):  # a job, and whether this is news
        if not result[1]:
            return
        result = result[0]
    if isinstance(result, Job):
        if point.startswith("Store.wish_cancel") and result.ended:
            return  # it was pending: the wish was the cancel
        trap.passed(point, about=about, job=result.id, state=result.state, attempt=result.attempt)
    elif isinstance(result, list):
        attempts = {job.id: job.attempt for job in result if not job.ended}
        if attempts:
            trap.passed(point, about=about, attempts=attempts)
    else:
        trap.passed(point, about=about)


def _names(trap: Trap) -> None:
    original = Path.replace

    def replace(self: Path, target: str | os.PathLike[str]) -> Path:
        named = original(self, target)
        if named.parent.name == "films":
            trap.passed("named:films", job=named.stem)
        elif named.parent.parent.name == "clips":
            trap.passed("named:clips", sha256=named.name)
        elif named.parent.parent.name == "work":
            kind, _, step = named.stem.partition("-")
            trap.passed(f"named:{kind}", job=named.parent.name, step=step)
        return named

    Path.replace = replace  # type: ignore[method-assign,assignment]


def _spawns(trap: Trap) -> None:
    original = subprocess.Popen.__init__

    @functools.wraps(original)
    def started(self: subprocess.Popen[bytes], *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        folder = Path(options.get("cwd") or "/")
        if folder.parent.name == "work":
            trap.passed("spawn:forked", pid=self.pid, job=folder.name)

    subprocess.Popen.__init__ = started  # type: ignore[method-assign,assignment]
    noted = ledger.note

    def note(folder: Path, pid: int) -> None:
        trap.passed("spawn:unnoted", pid=pid)
        noted(folder, pid)

    ledger.note = note


if __name__ == "__main__":
    if os.environ.get(POINT):
        set_up(Trap(os.environ[POINT], int(os.environ[PASSING]), Path(os.environ[PROOF])))
    sys.argv[0] = "vcompose"
    main()
