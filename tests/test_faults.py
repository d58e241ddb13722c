"""The server is killed in the middle of everything, and nothing is lost; and the checks that say so can fail."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from faults import checks
from faults.clips import Base
from faults.moments import MOMENTS, STAGES
from faults.records import Records, Submission, Upload
from faults.remains import Event, File, JobRow, Remains, look
from faults.run import chosen
from faults.watch import Watch

ROOT = Path(__file__).parents[1]


@pytest.mark.serial
@pytest.mark.timeout(400)
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="no /proc: no moment can be proven")
def test_each_stage_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "faults", "--quick", "--folder", str(tmp_path)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("COV_")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    hit = re.findall(r"^kill +\d+ +(\w+)", run.stdout, re.MULTILINE)
    assert set(STAGES) <= set(hit)
    assert "VERDICT: all held" in run.stdout


def test_every_run_has_every_stage() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        assert set(STAGES) <= {moment.stage for moment in chosen(rng, len(STAGES))}
        assert len(chosen(rng, 20)) == 20
    assert {moment.stage for moment in MOMENTS} > set(STAGES)


# ---- the checks can fail ---------------------------------------------------------------------------------------------

JOB = JobRow(
    id="j_1", state="processing", percent=10, seq=3, attempt=1, strikes=0, progressed=False, orderly=False,
    wish=False, error=None, bytes=None, duration=None, filename="key-1.mp4",
)  # fmt: skip
FILE = File(size=7, inode=1, changed=1)
UPLOAD = Upload(
    name="up-1.mp4", base=Base(name="b", data=b"", seconds=1.0), salt=b"", sha256="ab12", clip="c_1"
)  # fmt: skip


def event(seq: int, state: str, percent: int = 0, job: str = "j_1") -> Event:
    return Event(seq=seq, kind="job", id=job, state=state, percent=percent)


REMAINS = Remains(
    last=3,
    jobs={"j_1": JOB},
    events=(event(1, "pending"), event(2, "processing"), event(3, "processing", 10)),
    steps=frozenset({("j_1", "s1")}),
    keys={"key-1": "j_1"},
    clips={"c_1": "ab12"},
    names={"up-1.mp4": ["c_1"]},
    needs=0,
    sound="ok",
    files={"work/j_1/encode-s1.mp4": FILE, "clips/ab/ab12": FILE},
    folders=frozenset({"work/j_1"}),
    noted={},
    workers=(),
)
ENDED = dataclasses.replace(JOB, state="completed", percent=100, seq=5, attempt=2, strikes=1, bytes=1, duration=1.0)
LATER = dataclasses.replace(
    REMAINS,
    last=5,
    jobs={"j_1": ENDED},
    events=(*REMAINS.events, event(4, "processing", 10), event(5, "completed", 100)),
    files={"films/j_1.mp4": FILE, "clips/ab/ab12": FILE},
)


def records() -> Records:
    submission = Submission(key="key-1", kind="copy", clips=(UPLOAD,), job="j_1")
    return Records(uploads=[dataclasses.replace(UPLOAD)], submissions=[submission])


def row(**fields: object) -> dict[str, JobRow]:
    return {"j_1": dataclasses.replace(ENDED, **fields)}  # type: ignore[arg-type]


def test_what_is_right_is_not_blamed() -> None:
    assert checks.histories(REMAINS) == []
    assert checks.histories(LATER) == []
    assert checks.between(REMAINS, LATER, up=True) == []
    assert checks.between(REMAINS, REMAINS, up=False) == []
    assert checks.promises(records(), LATER) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"last": 2}, "sequence went back"),
        ({"events": LATER.events[1:]}, "was committed, and now it is None"),
        ({"events": (*LATER.events, event(0, "pending", job="j_2"))}, "its number is not above"),
        ({"jobs": {}}, "gone without a deletion"),
        ({"jobs": row(attempt=1)}, "must have been processing in attempt 2"),
        ({"jobs": row(strikes=0)}, "with 1 strikes"),
        ({"steps": frozenset()}, "is no longer"),
        (
            {"files": {"work/j_1/encode-s1.mp4": dataclasses.replace(FILE, inode=2)}},
            "was made and named, and was made again",
        ),
    ],
)
def test_what_a_death_may_not_change_is_told(fields: dict[str, object], words: str) -> None:
    found = checks.between(REMAINS, dataclasses.replace(LATER, **fields), up=True)  # type: ignore[arg-type]
    assert words in "\n".join(found)


def test_a_wish_and_the_third_strike_end_a_job() -> None:
    wished = dataclasses.replace(REMAINS, jobs={"j_1": dataclasses.replace(JOB, wish=True)})
    struck = dataclasses.replace(REMAINS, jobs={"j_1": dataclasses.replace(JOB, strikes=2)})
    progressed = dataclasses.replace(REMAINS, jobs={"j_1": dataclasses.replace(JOB, strikes=2, progressed=True)})
    assert checks.resumed(wished, up=True) == {"j_1": ("cancelled", 1, 0)}
    assert checks.resumed(struck, up=True) == {"j_1": ("failed", 1, 3)}
    assert checks.resumed(progressed, up=True) == {"j_1": ("processing", 2, 2)}
    assert any("must have been cancelled" in words for words in checks.between(wished, LATER, up=True))


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ((event(1, "processing"),), "did not begin as pending"),
        ((event(1, "pending"), event(2, "completed", 100)), "went from pending to completed"),
        ((*LATER.events, event(6, "completed", 100)), "2 ends"),
        ((*LATER.events[:4], event(5, "processing", 9), event(6, "completed", 100)), "percentage went"),
        (LATER.events[:4], "0 ends"),
        ((*LATER.events, event(6, "pending", job="j_2")), "there is no such job"),
    ],
)
def test_a_history_that_cannot_be_is_told(events: tuple[Event, ...], words: str) -> None:
    assert words in "\n".join(checks.histories(dataclasses.replace(LATER, events=events)))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"jobs": {}}, "is lost"),
        ({"jobs": LATER.jobs | {"j_2": dataclasses.replace(ENDED, id="j_2")}}, "and is 2 jobs"),
        ({"jobs": row(state="failed", error="internal_error")}, "failed: internal_error"),
        ({"jobs": row(state="failed", error="server_died", strikes=1)}, "failed: server_died"),
        ({"keys": {}}, "the key key-1 stands for None"),
        ({"names": {}}, "was answered with 201"),
        ({"names": {"up-1.mp4": ["c_1", "c_2"]}, "clips": {"c_1": "ab12", "c_2": "ab12"}}, "is 2 clips"),
        ({"clips": {"c_1": "cd34"}}, "with other bytes"),
    ],
)
def test_a_broken_promise_is_told(fields: dict[str, object], words: str) -> None:
    assert words in "\n".join(checks.promises(records(), dataclasses.replace(LATER, **fields)))  # type: ignore[arg-type]


def test_what_was_taken_back_is_told() -> None:
    asked = records()
    asked.submissions[0].cancelled = True
    assert "was cancelled by its answer, and is completed" in checks.promises(asked, LATER)[0]
    asked = records()
    asked.submissions[0].deleted = asked.uploads[0].deleted = True
    found = "\n".join(checks.promises(asked, LATER))
    assert "j_1 was deleted, and is there" in found
    assert "up-1.mp4 was deleted, and is there" in found


def test_a_step_that_is_made_twice_is_told() -> None:
    step = ("j_1", "s1")
    assert checks.once([(1, [step]), (2, [])], {1: REMAINS}) == []
    assert "again in 2" in checks.once([(1, [step]), (2, [step])], {})[0]
    # written down, and the server died before its log said so
    assert "written down in life 1, made in 2" in checks.once([(1, []), (2, [step])], {1: REMAINS})[0]


def test_strays_are_told(tmp_path: Path) -> None:
    for name in ("clips/ab/ab12", "clips/cd/cd34", "incoming/1.part", "films/j_1.mp4", "films/j_2.mp4", "children/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("work/j_1", "work/j_2", "new"):
        (tmp_path / name).mkdir(parents=True)
    swept = "\n".join(checks.swept(LATER, tmp_path))
    tidy = "\n".join(checks.tidy(LATER, tmp_path))
    for words in ("incoming/1.part was not", "work/j_1 was not", "work/j_2 was not", "films/j_2.mp4 was not"):
        assert words in swept
    for words in ("children/ is not empty", "work/ is not empty", "films/ has", "clips/cd34 is no clip's", "new lies"):
        assert words in tidy
    assert "films/j_1.mp4 was not swept" not in swept


def test_an_orphan_is_told(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    child = subprocess.Popen(["/bin/sleep", "60"], cwd=tmp_path / "work")
    try:
        noted = dataclasses.replace(REMAINS, noted={child.pid: ""})
        later = checks.orphans(REMAINS, tmp_path, started=float("inf"))
        assert f"an orphan lives after the restart: {child.pid} in" in later[0]
        assert checks.orphans(REMAINS, tmp_path, started=0.0) == []
        assert len(checks.orphans(noted, tmp_path / "elsewhere", started=float("inf"))) == 1
    finally:
        child.kill()
        child.wait()


def message(seq: int, percent: int, state: str = "processing") -> dict[str, object]:
    output = {"url": ""} if state == "completed" else None
    job = {"id": "j_1", "seq": seq, "state": state, "percent": percent, "output": output}
    return {"type": "job", "seq": seq, "job": job}


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (message(6, 9), "went back"),
        (message(4, 10), "went back"),
        (message(6, 10, "pending"), "went back"),
        (message(6, 99, "completed"), "was told as completed at 99 %"),
        ({"type": "snapshot", "seq": 2, "jobs": []}, "a snapshot came"),
    ],
)
def test_what_is_told_never_goes_back(second: dict[str, object], words: str) -> None:
    told = Records()
    watch = Watch(told)
    watch.hear(message(5, 10))
    assert told.wrong == []
    watch.hear(second)
    assert words in told.wrong[0]


def test_what_was_told_is_committed() -> None:
    watch = Watch(Records())
    watch.hear(message(3, 10))
    assert watch.uncommitted(REMAINS) == []
    watch.hear(message(4, 11))
    found = "\n".join(watch.uncommitted(REMAINS))
    assert "number 4 was told, and the last that was committed is 3" in found
    assert "was told as Shown(seq=4" in found
    assert "there is no such job" in "\n".join(watch.uncommitted(dataclasses.replace(REMAINS, jobs={}, last=4)))
    assert "the watcher heard" in watch.unheard(LATER)[0]


def test_remains_are_read_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "children").mkdir()
    with pytest.raises(Exception, match="no such table"):
        look(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["children"]
