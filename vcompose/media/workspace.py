"""The place where one film is made: a hidden folder beside it, locked while somebody works in it.

It holds links to the clips under names that we chose, the outputs of steps, and the film until it gets its name. It
is on the film's own file system, so that the last act is a rename. Whoever makes a film sweeps the folders of
those who died: a lock is let go by the kernel, whatever happened to its holder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from vcompose.media.clip import CONTENT
from vcompose.media.errors import ClipError, PlaceError
from vcompose.media.probe import identity

PREFIX: Final = ".vcompose-"
_NAME: Final = re.compile(re.escape(PREFIX) + "[0-9a-f]{16}")


@contextlib.contextmanager
def workspace(beside: Path) -> Iterator[Path]:
    """A locked folder in ``beside``, removed with all that is in it on the way out.

    Raises PlaceError (``output_not_writable``) when none can be made there.
    """
    try:
        place, lock = _made(beside)
    except OSError as error:
        raise PlaceError(
            f"nothing can be written in {beside}: {error.strerror}. Choose another folder for the film",
            code="output_not_writable",
        ) from error
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)


def sweep(beside: Path) -> list[Path]:
    """Remove the folders in ``beside`` whose makers are dead; gives what was removed."""
    removed: list[Path] = []
    with contextlib.suppress(OSError):
        for path in beside.glob(f"{PREFIX}*"):
            if not _NAME.fullmatch(path.name):
                continue
            try:
                lock = _locked(path, fcntl.LOCK_EX)
            except OSError:
                continue  # somebody works there, or it is no folder
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
            os.close(lock)
    return removed


def _made(beside: Path) -> tuple[Path, int]:
    """A new folder and its lock. A sweeper may find it before it is locked, and take it: then another is made."""
    while True:
        place = beside / f"{PREFIX}{secrets.token_hex(8)}"
        place.mkdir(mode=0o700)
        try:
            lock = _locked(place, fcntl.LOCK_SH)
        except (FileNotFoundError, BlockingIOError):
            continue
        except OSError:
            place.rmdir()
            raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(place.stat(), os.fstat(lock)):
                return place, lock
        os.close(lock)


def _locked(folder: Path, how: int) -> int:
    """A descriptor that holds the folder's lock. Raises OSError when another holds it.

    Makers share and sweepers exclude, for NFS gives no exclusive lock on a folder: there nothing is swept, but films
    can be made.
    """
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def link_clips(place: Path, links: Iterable[tuple[str, Path]]) -> None:
    """Link each clip's file under the name that steps know it by."""
    for link, path in links:
        with contextlib.suppress(FileExistsError):
            (place / link).symlink_to(path)


def unchanged(name: str, path: Path, known: str) -> None:
    """Raises ClipError (``clip_changed``) when a file is no longer the one that was probed.

    A file that is kept under the hash of its bytes (:data:`~vcompose.media.clip.CONTENT`) cannot be another.
    """
    if known.startswith(CONTENT):
        return
    try:
        if identity(path.stat()) == known:
            return
    except OSError:
        pass
    raise ClipError(
        f"{name} was changed or removed while the film was being made: leave it alone and join again",
        code="clip_changed",
        clip=name,
    )
