"""Workspaces: removed on every way out, swept when their maker is dead, and never touched while somebody works."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from vcompose.media import workspace as module
from vcompose.media.errors import ClipError, PlaceError
from vcompose.media.probe import identity
from vcompose.media.workspace import PREFIX, link_clips, sweep, unchanged, workspace

HOLDER = """
import sys, time
from pathlib import Path
from vcompose.media.workspace import workspace

with workspace(Path(sys.argv[1])) as folder:
    (folder / "half.part").write_bytes(b"half of it")
    print(folder, flush=True)
    time.sleep(60)
"""

RACER = """
import sys
from pathlib import Path
from vcompose.media.workspace import sweep, workspace

beside = Path(sys.argv[1])
for number in range(150):
    sweep(beside)
    with workspace(beside) as folder:
        file = folder / "film.part"
        file.write_bytes(b"x")
        sweep(beside)
        assert file.read_bytes() == b"x"
    assert not folder.exists()
"""


@contextmanager
def holder(beside: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Another process that works in a workspace, and where."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(beside)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Path(process.stdout.readline().strip()), process
    finally:
        process.kill()
        process.communicate()


def left_behind(beside: Path, name: str = f"{PREFIX}0123456789abcdef") -> Path:
    """A folder as a dead maker leaves it."""
    folder = beside / name
    (folder / "deeper").mkdir(parents=True)
    (folder / "encode-1.mp4.part").write_bytes(b"half")
    (folder / "deeper" / "x").write_bytes(b"x")
    return folder


def test_removed_on_success(tmp_path: Path) -> None:
    """A hidden folder beside the film, for its owner alone, gone afterwards with all that was in it."""
    with workspace(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert re.fullmatch(r"\.vcompose-[0-9a-f]{16}", folder.name)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "film.mp4").write_bytes(b"film")
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_removed_on_every_way_out(tmp_path: Path, error: type[BaseException]) -> None:
    """Whatever comes, the folder goes and the exception goes on."""

    def work() -> None:
        with workspace(tmp_path) as folder:
            (folder / "film.part").write_bytes(b"half")
            raise error

    with pytest.raises(error):
        work()
    assert list(tmp_path.iterdir()) == []


async def test_removed_on_cancel(tmp_path: Path) -> None:
    """A cancelled task leaves nothing."""
    made = asyncio.Event()

    async def work() -> None:
        with workspace(tmp_path) as folder:
            (folder / "film.part").write_bytes(b"half")
            made.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await made.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


def test_clips_behind_links_are_not_removed(tmp_path: Path) -> None:
    """The folder holds links to people's files; those stay."""
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.mp4").write_bytes(b"a")
    with workspace(tmp_path) as folder:
        link_clips(folder, [("clip-0.mp4", clips / "a.mp4"), ("clip-0.mp4", clips / "a.mp4"), ("all", clips)])
        assert (folder / "clip-0.mp4").read_bytes() == b"a"
    assert (clips / "a.mp4").read_bytes() == b"a"
    assert list(tmp_path.iterdir()) == [clips]


def test_descriptors_are_closed_and_not_inherited(tmp_path: Path) -> None:
    """A workspace costs one open file while it lives (which no child inherits), and none afterwards."""
    before = psutil.Process().num_fds()
    with workspace(tmp_path):
        assert psutil.Process().num_fds() == before + 1
        held = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if PREFIX in os.path.realpath(fd)]
        assert len(held) == 1
        assert not os.get_inheritable(held[0])
    left_behind(tmp_path)
    sweep(tmp_path)
    assert psutil.Process().num_fds() == before


def test_sweep_removes_the_dead(tmp_path: Path) -> None:
    """Folders that nobody holds go, and nothing else."""
    dead = {left_behind(tmp_path), left_behind(tmp_path, f"{PREFIX}fedcba9876543210")}
    (tmp_path / "holiday.mp4").write_bytes(b"film")
    (tmp_path / "vcompose-notes").mkdir()
    assert set(sweep(tmp_path)) == dead
    assert {path.name for path in tmp_path.iterdir()} == {"holiday.mp4", "vcompose-notes"}
    assert sweep(tmp_path) == []


def test_sweep_spares_our_own(tmp_path: Path) -> None:
    """Two films in one process, side by side."""
    with workspace(tmp_path) as one, workspace(tmp_path) as two:
        assert one != two
        assert sweep(tmp_path) == []
        assert one.is_dir()
        assert two.is_dir()


def test_sweep_spares_another_living_process(tmp_path: Path) -> None:
    """A living process keeps its folder, also while stopped; once it is dead, the folder goes."""
    with holder(tmp_path) as (folder, process):
        assert (folder / "half.part").is_file()
        assert sweep(tmp_path) == []
        process.send_signal(signal.SIGSTOP)
        assert sweep(tmp_path) == []
        assert (folder / "half.part").is_file()
        process.kill()
        process.wait()
        assert sweep(tmp_path) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_sweep_never_follows_links(tmp_path: Path) -> None:
    """A link with such a name, to a folder or from inside one, costs nobody a file."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "photo").write_bytes(b"photo")
    place = tmp_path / "films"
    place.mkdir()
    link = place / f"{PREFIX}0123456789abcdef"
    link.symlink_to(precious)
    dead = left_behind(place, f"{PREFIX}fedcba9876543210")
    (dead / "inside").symlink_to(precious)
    assert sweep(place) == [dead]
    assert link.is_symlink()
    assert (precious / "photo").read_bytes() == b"photo"


def test_sweep_ignores_files_and_pipes(tmp_path: Path) -> None:
    """An ordinary file, a pipe and a dangling link with such names are left alone, and do not block."""
    (tmp_path / f"{PREFIX}0000000000000001").write_bytes(b"notes")
    os.mkfifo(tmp_path / f"{PREFIX}0000000000000002")
    (tmp_path / f"{PREFIX}0000000000000003").symlink_to(tmp_path / "nowhere")
    assert sweep(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", [f"{PREFIX}x", f"{PREFIX}backup", f"{PREFIX}0123456789abcdef.old"])
def test_sweep_spares_folders_of_other_names(tmp_path: Path, name: str) -> None:
    """Only names that a workspace can have: a person's own folder is no leftover."""
    folder = left_behind(tmp_path, name)
    assert sweep(tmp_path) == []
    assert (folder / "encode-1.mp4.part").is_file()


def test_sweep_where_nothing_can_be_done(tmp_path: Path) -> None:
    """No folder, or a file in its place: nothing was removed, and that is no error."""
    (tmp_path / "file").write_bytes(b"")
    assert sweep(tmp_path / "nowhere") == []
    assert sweep(tmp_path / "file") == []
    assert sweep(Path("/proc/self")) == []


@pytest.mark.parametrize("where", ["file", "nowhere", "/proc/self"])
def test_not_writable(tmp_path: Path, where: str) -> None:
    """A place where no folder can be made is told as such, with the reason (and root is no exception)."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PlaceError) as caught, workspace(tmp_path / where):
        raise AssertionError("unreachable")
    assert caught.value.code == "output_not_writable"
    assert where in caught.value.detail


def test_a_place_without_locks_keeps_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made but not lockable (as on some network file systems): refused, and the folder is not left there."""

    def refuse(folder: Path, how: int) -> int:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(module, "_locked", refuse)
    with pytest.raises(PlaceError), workspace(tmp_path):
        raise AssertionError("unreachable")
    assert list(tmp_path.iterdir()) == []


def test_makers_race(tmp_path: Path) -> None:
    """Processes that make, sweep and leave at the same time never take another's folder."""
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for racer in racers:
        _, errors = racer.communicate(timeout=60)
        assert (racer.returncode, errors) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_threads_race(tmp_path: Path) -> None:
    """The same for threads of one process: the lock belongs to the open folder, not to the process."""

    def race() -> None:
        for _ in range(60):
            sweep(tmp_path)
            with workspace(tmp_path) as folder:
                (folder / "x").write_bytes(b"x")
                sweep(tmp_path)
                assert (folder / "x").exists()

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(race) for _ in range(4)]:
            future.result(timeout=60)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["made", "opened"])
def test_a_sweep_before_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """A sweep that comes when the folder is made or opened, but not locked, cannot take what is worked in."""
    lock, flock = module._locked, fcntl.flock
    swept: list[list[Path]] = []
    sweeper = threading.Thread(target=lambda: swept.append(sweep(tmp_path)))

    def sweep_now() -> None:
        if threading.current_thread() is threading.main_thread() and sweeper.ident is None:
            sweeper.start()
            sweeper.join(0.2)

    def slow_lock(folder: Path, how: int) -> int:
        sweep_now()
        return lock(folder, how)

    def slow_flock(file: int, operation: int) -> None:
        if PREFIX in os.path.realpath(f"/proc/self/fd/{file}"):
            sweep_now()
        flock(file, operation)

    if moment == "made":
        monkeypatch.setattr(module, "_locked", slow_lock)
    else:
        monkeypatch.setattr(fcntl, "flock", slow_flock)
    with workspace(tmp_path) as folder:
        sweeper.join(10)
        assert len(swept) == 1
        assert folder not in swept[0]
        assert folder.is_dir()
        (folder / "film.part").write_bytes(b"half")
        assert sweep(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_unchanged(tmp_path: Path) -> None:
    """A clip that is not the one that was probed is told, and so is one that is gone."""
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"a")
    known = identity(clip.stat())
    unchanged("a.mp4", clip, known)
    clip.write_bytes(b"ab")
    with pytest.raises(ClipError) as caught:
        unchanged("a.mp4", clip, known)
    assert (caught.value.code, caught.value.clip) == ("clip_changed", "a.mp4")
    clip.unlink()
    with pytest.raises(ClipError, match=r"a\.mp4 was changed or removed"):
        unchanged("a.mp4", clip, known)
