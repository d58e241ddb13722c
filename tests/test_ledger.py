"""The ledger of living children, and what the next life does to those that stand in it: real processes, real deaths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from vcompose.media import ledger
from vcompose.media.child import Command, Guard, end_orphans, start

STUBBORN = Path(__file__).with_name("stubborn.py")
Spawn = Callable[..., "subprocess.Popen[bytes]"]

PARENT = """
import asyncio, sys
from pathlib import Path
from vcompose.media.child import Command, Guard, start

async def main():
    guard = Guard(setpriv=None, prlimit=None, ledger=Path(sys.argv[1]))
    command = Command(argv=tuple(sys.argv[3:]), folder=Path(sys.argv[2]), guard=guard)
    async with start(command) as child:
        print(child.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a place to work in and a ledger."""
    (tmp_path / "children").mkdir()
    (tmp_path / "work").mkdir()
    return tmp_path


@pytest.fixture
def notes(data: Path) -> Path:
    """Its ledger."""
    return data / "children"


@pytest.fixture
def spawn(data: Path) -> Iterator[Spawn]:
    """Start a stubborn process that leads a session of its own; none outlives its test."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*words: str, folder: Path = data / "work") -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(STUBBORN), *words],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        for member in members(process.pid):
            member.kill()
        if process.poll() is None:
            process.kill()
        process.communicate()


def members(group: int) -> list[psutil.Process]:
    """The processes of a group, zombies excepted."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def written(path: Path) -> tuple[float, str]:
    """What a note says: start time and boot."""
    started, boot = path.read_text().split()
    return float(started), boot


def orphaned(spawn: Spawn, notes: Path, folder: Path, *, reaped: bool = True) -> int:
    """A group whose noted leader has ended (and was reaped), and whose other member lives; gives its number."""
    leader = spawn("grandchild=quiet", "read=0", folder=folder)
    assert leader.stdout is not None
    assert leader.stdin is not None
    leader.stdout.readline()
    ledger.note(notes, leader.pid)
    leader.stdin.write(b"end\n")
    leader.stdin.flush()
    if reaped:
        leader.wait(10)
        assert not psutil.pid_exists(leader.pid)
    end = time.monotonic() + 10
    while len(members(leader.pid)) != 1:
        assert time.monotonic() < end
    return leader.pid


async def test_an_orphan_is_killed(notes: Path, spawn: Spawn) -> None:
    orphan = spawn("hang")
    ledger.note(notes, orphan.pid)
    assert written(notes / str(orphan.pid)) == (psutil.Process(orphan.pid).create_time(), ledger.boot())
    assert ledger.living(notes) == [orphan.pid]
    assert await end_orphans(notes) == 1
    assert members(orphan.pid) == []
    assert orphan.wait(0) == -signal.SIGKILL
    assert list(notes.iterdir()) == []


async def test_a_stopped_orphan_is_killed(notes: Path, spawn: Spawn) -> None:
    orphan = spawn("hang")
    ledger.note(notes, orphan.pid)
    orphan.send_signal(signal.SIGSTOP)
    end = time.monotonic() + 10
    while psutil.Process(orphan.pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < end
    assert await end_orphans(notes) == 1
    assert members(orphan.pid) == []
    assert orphan.wait(0) == -signal.SIGKILL


async def test_its_whole_group_is_killed(notes: Path, spawn: Spawn) -> None:
    orphan = spawn("grandchild=quiet", "hang")
    assert orphan.stdout is not None
    grandchild = int(orphan.stdout.readline())
    ledger.note(notes, orphan.pid)
    assert {process.pid for process in members(orphan.pid)} == {orphan.pid, grandchild}
    assert await end_orphans(notes) == 1
    assert members(orphan.pid) == []


async def test_several_orphans_are_all_killed(notes: Path, spawn: Spawn) -> None:
    orphans = [spawn("hang") for _ in range(4)]
    for orphan in orphans:
        ledger.note(notes, orphan.pid)
    assert await end_orphans(notes) == 4
    assert [members(orphan.pid) for orphan in orphans] == [[], [], [], []]


async def test_a_reused_number_is_left_alone(notes: Path, spawn: Spawn) -> None:
    stranger = spawn("hang")
    started = psutil.Process(stranger.pid).create_time()
    # even below the data folder: the number is alive, so it is the stranger's alone
    for other in (started - 1, started + 1, 0.0):
        (notes / str(stranger.pid)).write_text(f"{other!r} {ledger.boot()}\n")
        assert await end_orphans(notes) == 0
        assert stranger.poll() is None
        assert list(notes.iterdir()) == []


async def test_another_boot_is_ignored(notes: Path, spawn: Spawn) -> None:
    stranger = spawn("hang")
    started = psutil.Process(stranger.pid).create_time()
    (notes / str(stranger.pid)).write_text(f"{started!r} 00000000-0000-4000-8000-000000000000\n")
    assert await end_orphans(notes) == 0
    assert stranger.poll() is None
    assert list(notes.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"12.5", b"12.5 a b", b"soon {boot}", b"nan {boot}", b"inf {boot}", b"\xff\xfe\x00", b"{boot} 12.5"],
)
async def test_garbage_is_ignored(notes: Path, spawn: Spawn, content: bytes) -> None:
    stranger = spawn("hang")
    orphan = spawn("hang")
    (notes / str(stranger.pid)).write_bytes(content.replace(b"{boot}", ledger.boot().encode()))
    ledger.note(notes, orphan.pid)
    assert await end_orphans(notes) == 1
    assert stranger.poll() is None
    assert members(orphan.pid) == []


@pytest.mark.parametrize("name", ["12x", "1.5", "999999999999999999999", "4194305", "notes", ".12"])
async def test_names_that_are_no_process_are_ignored(notes: Path, spawn: Spawn, name: str) -> None:
    (notes / name).write_text(f"{time.time()!r} {ledger.boot()}\n")
    orphan = spawn("hang")
    ledger.note(notes, orphan.pid)
    assert await end_orphans(notes) == 1
    assert members(orphan.pid) == []


async def test_a_folder_in_the_ledger_is_ignored(notes: Path) -> None:
    (notes / "123").mkdir()
    assert await end_orphans(notes) == 0


async def test_a_member_whose_leader_is_gone_is_killed(data: Path, notes: Path, spawn: Spawn) -> None:
    group = orphaned(spawn, notes, data / "work")
    assert await end_orphans(notes) == 1
    assert members(group) == []
    assert list(notes.iterdir()) == []


async def test_a_member_whose_leader_is_a_zombie_is_killed(data: Path, notes: Path, spawn: Spawn) -> None:
    # in a container whose first process reaps nobody
    group = orphaned(spawn, notes, data / "work", reaped=False)
    assert await end_orphans(notes) == 1
    assert members(group) == []


async def test_a_stranger_of_such_a_group_is_left_alone(notes: Path, spawn: Spawn) -> None:
    group = orphaned(spawn, notes, Path("/"))
    assert await end_orphans(notes) == 0
    assert len(members(group)) == 1
    assert list(notes.iterdir()) == []


async def test_a_data_folder_behind_a_link_is_the_same_folder(
    data: Path, spawn: Spawn, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = tmp_path_factory.mktemp("elsewhere") / "data"
    link.symlink_to(data)
    group = orphaned(spawn, link / "children", data / "work")
    assert await end_orphans(link / "children") == 1
    assert members(group) == []


async def test_nothing_noted_is_nothing_done(notes: Path) -> None:
    assert await end_orphans(notes) == 0
    assert await end_orphans(notes / "absent") == 0


async def test_a_child_that_is_gone_is_not_noted(notes: Path, spawn: Spawn) -> None:
    gone = spawn("exit=0")
    gone.wait(10)
    ledger.note(notes, gone.pid)
    assert list(notes.iterdir()) == []
    ledger.strike(notes, gone.pid)
    ledger.note(notes / "absent", os.getpid())


async def test_a_child_stands_in_the_ledger_while_it_lives(data: Path, notes: Path) -> None:
    guard = Guard(setpriv=None, prlimit=None, ledger=notes)
    argv = (sys.executable, "-I", "-S", str(STUBBORN), "say=here", "hang")
    async with start(Command(argv=argv, folder=data / "work", guard=guard)) as child:
        assert await child.read() == b"here\n"
        assert ledger.living(notes) == [child.pid]
    assert list(notes.iterdir()) == []


async def test_the_next_life_ends_what_a_killed_one_left(data: Path, notes: Path) -> None:
    words = [sys.executable, "-I", "-S", str(STUBBORN), "hang"]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(notes), str(data / "work"), *words], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    orphan = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    assert orphan.is_running()
    assert orphan.status() != psutil.STATUS_ZOMBIE
    assert await end_orphans(notes) == 1
    assert members(orphan.pid) == []
    assert list(notes.iterdir()) == []
