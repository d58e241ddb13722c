"""The data folder: what lies where, and whether there is room."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from vcompose.jobs.job import NoSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """The folders of one server. ``keep_free`` bytes of the disk are never filled."""

    root: Path
    keep_free: int

    @property
    def clips(self) -> Path:
        """Bytes of clips, under their hashes."""
        return self.root / "clips"

    @property
    def incoming(self) -> Path:
        """Uploads on their way; nothing in it outlives a server."""
        return self.root / "incoming"

    @property
    def films(self) -> Path:
        """Finished films, one for each completed job."""
        return self.root / "films"

    @property
    def work(self) -> Path:
        """A folder for each job that is being made; it outlives a server, so that finished steps do."""
        return self.root / "work"

    @property
    def children(self) -> Path:
        """The ledger of living children."""
        return self.root / "children"

    def make(self) -> None:
        """Make what is not there."""
        for folder in (self.clips, self.incoming, self.films, self.work, self.children):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def film(self, job: str) -> Path:
        """Where a job's film lies."""
        return self.films / f"{job}.mp4"

    def free(self) -> int:
        """Bytes that may still be written."""
        return shutil.disk_usage(self.root).free - self.keep_free

    def need(self, size: int) -> None:
        """Raises NoSpace unless there is room for ``size`` bytes."""
        free = self.free()
        if size > free:
            raise NoSpace(
                f"there is no room for {size} more bytes on the server's disk: delete films and clips that are no "
                "longer wanted, or ask the operator"
            )

    def sweep_work(self, living: frozenset[str]) -> int:
        """Remove what is left of uploads, and the folders of jobs that are not being made; gives how many."""
        strays = [*self.incoming.iterdir(), *(path for path in self.work.iterdir() if path.name not in living)]
        for path in strays:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return len(strays)

    def sweep_films(self, wanted: frozenset[str]) -> int:
        """Remove films that no job stands for; gives how many."""
        strays = [path for path in self.films.iterdir() if path.stem not in wanted]
        for path in strays:
            path.unlink(missing_ok=True)
        return len(strays)
