"""What a dead server left: its rows, its files, and the processes that still work below its folder.

Read from a copy of the database, so that the reading itself changes nothing of what the next server finds.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

DATABASE: Final = "vcompose.sqlite"
LIVE: Final = frozenset({"pending", "processing"})
FOLDERS: Final = ("clips", "incoming", "films", "work", "children")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job as it was committed; ``filename`` is the film's name that was asked for."""

    id: str
    state: str
    percent: int
    seq: int
    attempt: int
    strikes: int
    progressed: bool
    orderly: bool
    wish: bool
    error: str | None
    bytes: int | None
    duration: float | None
    filename: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the events: ``kind`` is ``job`` or ``deleted``."""

    seq: int
    kind: str
    id: str
    state: str | None
    percent: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that is there: bytes, and what tells it from another of its name."""

    size: int
    inode: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A living process (no zombie) whose working folder is below the data folder."""

    pid: int
    started: float
    folder: Path
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """All of it. ``steps`` are pairs of a job and a finished step; ``keys`` idempotency keys and their jobs;
    ``clips`` ids and hashes; ``names`` of clips and their ids; ``files`` are paths below the data folder; ``noted`` the
    ledger's lines by pid.
    """

    last: int
    jobs: dict[str, JobRow]
    events: tuple[Event, ...]
    steps: frozenset[tuple[str, str]]
    keys: dict[str, str]
    clips: dict[str, str]
    names: dict[str, list[str]]
    needs: int
    sound: str
    files: dict[str, File]
    folders: frozenset[str]
    noted: dict[int, str]
    workers: tuple[Worker, ...]

    def under(self, folder: str) -> dict[str, File]:
        """The files below one folder, by their paths in it."""
        return {path[len(folder) + 1 :]: file for path, file in self.files.items() if path.startswith(f"{folder}/")}

    @property
    def working(self) -> frozenset[str]:
        """The jobs that have a folder in ``work/``."""
        return frozenset(path.split("/")[1] for path in self.folders if path.startswith("work/"))


def look(data: Path) -> Remains:
    """Look at a data folder that no server uses."""
    files, folders = _files(data)
    with tempfile.TemporaryDirectory(prefix="vcompose-remains-") as copy:
        for name in (DATABASE, f"{DATABASE}-wal"):
            if (data / name).exists():
                shutil.copyfile(data / name, Path(copy) / name)
        with closing(sqlite3.connect(Path(copy) / DATABASE)) as db:
            rows = _rows(db)
    noted = {}
    for path in (data / "children").iterdir():
        noted[int(path.name)] = path.read_text(encoding="ascii")
    return Remains(files=files, folders=folders, noted=noted, workers=tuple(workers(data)), **rows)


def _rows(db: sqlite3.Connection) -> dict[str, Any]:
    jobs = {
        row[0]: JobRow(
            id=row[0], state=row[1], percent=row[2], seq=row[3], attempt=row[4], strikes=row[5],
            progressed=bool(row[6]), orderly=bool(row[7]), wish=bool(row[8]), error=row[9], bytes=row[10],
            duration=row[11], filename=row[12],
        )
        for row in db.execute(
            "SELECT id, state, percent, seq, attempt, strikes, progressed, orderly, wish, error_code, "
            "output_bytes, output_duration, json_extract(composition, '$.output.filename') FROM job"
        )
    }  # fmt: skip
    names: dict[str, list[str]] = {}
    for clip, name in db.execute("SELECT id, name FROM clip"):
        names.setdefault(name, []).append(clip)
    return {
        "last": db.execute("SELECT last FROM sequence").fetchone()[0],
        "jobs": jobs,
        "events": tuple(
            Event(seq=row[0], kind=row[1], id=row[2], state=row[3], percent=row[4])
            for row in db.execute("SELECT seq, kind, id, state, percent FROM event ORDER BY seq")
        ),
        "steps": frozenset(db.execute("SELECT job.id, step.id FROM step JOIN job ON job.number = step.job").fetchall()),
        "keys": dict(db.execute("SELECT key, job FROM idempotency").fetchall()),
        "clips": dict(db.execute("SELECT id, sha256 FROM clip").fetchall()),
        "names": names,
        "needs": db.execute(
            "SELECT count(*) FROM need WHERE job NOT IN (SELECT number FROM job WHERE state IN ('pending', "
            "'processing'))"
        ).fetchone()[0],
        "sound": db.execute("PRAGMA integrity_check").fetchone()[0],
    }


def _files(data: Path) -> tuple[dict[str, File], frozenset[str]]:
    files: dict[str, File] = {}
    folders: set[str] = set()
    for path in sorted(data.rglob("*")):
        name = path.relative_to(data).as_posix()
        if path.is_dir() and not path.is_symlink():
            folders.add(name)
            continue
        known = path.lstat()
        files[name] = File(size=known.st_size, inode=known.st_ino, changed=known.st_mtime_ns)
    return files, frozenset(folders)


def workers(data: Path, *, before: float | None = None) -> list[Worker]:
    """The living processes below the data folder, those alone that started ``before`` a time where one is given."""
    found = []
    beneath = data.resolve()
    for process in psutil.process_iter():
        try:
            folder = Path(process.cwd())
            if not folder.is_relative_to(beneath) or process.status() == psutil.STATUS_ZOMBIE:
                continue
            started = process.create_time()
            if before is None or started < before:
                words = " ".join(process.cmdline()[:4])
                found.append(Worker(pid=process.pid, started=started, folder=folder, words=words))
        except psutil.Error:
            continue
    return found
