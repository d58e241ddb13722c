"""The ledger of living children: one small file each, so that the next life can end those of a killed one.

A number alone may name a stranger after a restart: a child is known by its number, its start time and the boot. The
death signal (see :mod:`~vcompose.media.child`) ends nearly all of them before; what it cannot reach stands here.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import psutil

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def boot() -> str:
    """What tells this boot of the machine from every other."""
    with contextlib.suppress(OSError):
        return _BOOT.read_text(encoding="ascii").strip()
    return f"{psutil.boot_time():.0f}"


def note(folder: Path, pid: int) -> None:
    """A child lives, and leads a group and a session of its own."""
    with contextlib.suppress(psutil.Error, OSError):  # it is gone already, or the disk is full: there is the signal
        (folder / str(pid)).write_text(f"{psutil.Process(pid).create_time()!r} {boot()}\n", encoding="ascii")


def strike(folder: Path, pid: int) -> None:
    """A child and its group are gone."""
    with contextlib.suppress(OSError):
        (folder / str(pid)).unlink()


def living(folder: Path) -> list[int]:
    """The groups of noted children that are alive: led by the very child that was noted, of this boot.

    Where the leader is gone, members of its session are known by the folder that they work in (no stranger does).
    """
    found: list[int] = []
    for path in sorted(folder.glob("[0-9]*")):
        try:
            started, noted_boot = path.read_text(encoding="ascii").split()
            pid, since = int(path.name), float(started)
        except (OSError, ValueError):
            continue
        if noted_boot == boot() and _ours(pid, since, folder.parent):
            found.append(pid)
    return found


def clear(folder: Path) -> None:
    """Forget all that is noted."""
    for path in folder.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            path.unlink()


def _ours(pid: int, started: float, beneath: Path) -> bool:
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid)
        if leader.status() != psutil.STATUS_ZOMBIE:  # nobody reaps it, and it does nothing any more
            return abs(leader.create_time() - started) < 0.05
    return any(_member(process, pid, beneath) for process in psutil.process_iter())


def _member(process: psutil.Process, group: int, beneath: Path) -> bool:
    try:
        return os.getpgid(process.pid) == group and Path(process.cwd()).is_relative_to(beneath.resolve())
    except (psutil.Error, OSError):
        return False
