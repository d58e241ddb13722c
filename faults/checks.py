"""What must hold after every kill, after every restart, and at the end; each check gives sentences of what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import psutil

from faults.records import Records
from faults.remains import DATABASE, FOLDERS, LIVE, Event, Remains, workers
from faults.watch import ENDED

MOST_STRIKES: Final = 3
LEGAL: Final = frozenset(
    {
        ("pending", "pending"),
        ("pending", "processing"),
        ("pending", "cancelled"),
        ("processing", "processing"),
        ("processing", "completed"),
        ("processing", "failed"),
        ("processing", "cancelled"),
    }
)
"""What one event of a job may be followed by; written down here anew, not taken from the server's own table."""


def resumed(before: Remains, *, up: bool) -> dict[str, tuple[str, int, int]]:
    """What a restart must make of each job that was being processed: its state, attempt and strikes.

    ``up``: the restart got as far as committing that.
    """
    found = {}
    for job, row in before.jobs.items():
        if row.state != "processing":
            continue
        strikes = row.strikes + (not (row.progressed or row.orderly))
        if not up:
            found[job] = ("processing", row.attempt, row.strikes)
        elif row.wish:
            found[job] = ("cancelled", row.attempt, row.strikes)
        elif strikes >= MOST_STRIKES:
            found[job] = ("failed", row.attempt, strikes)
        else:
            found[job] = ("processing", row.attempt + 1, strikes)
    return found


# ---- after a kill ----------------------------------------------------------------------------------------------------


def between(before: Remains, now: Remains, *, up: bool) -> list[str]:
    """Two deaths in a row: what was committed at the first is there at the second, and went on as it must."""
    wrong = []
    if now.last < before.last:
        wrong.append(f"the sequence went back from {before.last} to {now.last}")
    deleted = {event.id for event in now.events if event.kind == "deleted"}
    old = {event.seq: event for event in now.events}
    wrong += [
        f"{event} was committed, and now it is {old.get(event.seq)}"
        for event in before.events
        if event.id not in deleted and old.get(event.seq) != event
    ]
    known = {event.seq for event in before.events}
    wrong += [
        f"{event} is new, and its number is not above {before.last}"
        for event in now.events
        if event.seq not in known and event.seq <= before.last
    ]
    wrong += [f"{job} is gone without a deletion" for job in before.jobs.keys() - now.jobs.keys() - deleted]
    for job, (state, attempt, strikes) in resumed(before, up=up).items():
        row = now.jobs.get(job)
        if row is None:
            continue
        if (row.attempt, row.strikes) != (attempt, strikes) or (state != "processing" and row.state != state):
            wrong.append(f"{job} must have been {state} in attempt {attempt} with {strikes} strikes, and is {row}")
    wrong += [
        f"step {step} of {job} was written down, and is no longer"
        for job, step in before.steps - now.steps
        if job in now.jobs
    ]
    for name, file in before.under("work").items():
        made = now.files.get(f"work/{name}")
        output = name.partition("/")[2]
        whole = output.startswith(("encode-", "sound-", "join-")) and output.endswith((".mp4", ".m4a"))
        if whole and made is not None and made != file:
            wrong.append(f"work/{name} was made and named, and was made again")
    return wrong


def promises(records: Records, remains: Remains) -> list[str]:
    """What was answered is on the disk."""
    wrong = []
    deleted = {event.id for event in remains.events if event.kind == "deleted"}
    by_name = Counter(row.filename for row in remains.jobs.values())
    for one in records.submissions:
        count = by_name[f"{one.key}.mp4"]
        if count > 1:
            wrong.append(f"{one.key} was submitted once, and is {count} jobs")
        if one.job is None:
            continue
        row = remains.jobs.get(one.job)
        if row is None:
            if not one.delete_asked or one.job not in deleted:
                wrong.append(f"{one.job} ({one.key}) was answered with 202, and is lost")
            continue
        if one.deleted:
            wrong.append(f"{one.job} was deleted, and is there")
        if one.cancelled and row.state != "cancelled":
            wrong.append(f"{one.job} was cancelled by its answer, and is {row.state}")
        if remains.keys.get(one.key) != one.job:
            wrong.append(f"the key {one.key} stands for {remains.keys.get(one.key)}, not for {one.job}")
        if row.state == "failed" and (row.error, row.strikes) != ("server_died", MOST_STRIKES):
            wrong.append(f"{one.job} failed: {row.error} with {row.strikes} strikes")
    for upload in records.uploads:
        ids = remains.names.get(upload.name, [])
        if len(ids) > 1:
            wrong.append(f"{upload.name} was sent once, and is {len(ids)} clips")
        if upload.clip is None:
            continue
        if upload.deleted and ids:
            wrong.append(f"{upload.name} was deleted, and is there")
        if not upload.delete_asked and ids != [upload.clip]:
            wrong.append(f"{upload.name} was answered with 201 as {upload.clip}, and is {ids}")
        if ids and remains.clips[ids[0]] != upload.sha256:
            wrong.append(f"{upload.name} is there with other bytes")
    return wrong


def histories(remains: Remains) -> list[str]:
    """Each job's events: legal steps, one end at most, a percentage that never falls."""
    wrong = [] if remains.sound == "ok" else [f"the database is damaged: {remains.sound}"]
    by_job: dict[str, list[Event]] = {}
    for event in remains.events:
        if event.kind == "job":
            by_job.setdefault(event.id, []).append(event)
    for job, row in remains.jobs.items():
        events = by_job.pop(job, [])
        states = [event.state for event in events]
        percents = [event.percent or 0 for event in events]
        if not states or states[0] != "pending":
            wrong.append(f"{job} did not begin as pending: {states}")
        wrong += [f"{job} went from {a} to {b}" for a, b in pairwise(states) if (a, b) not in LEGAL]
        ends = sum(state in ENDED for state in states)
        if ends != (row.state in ENDED) or (states and states[-1] != row.state):
            wrong.append(f"{job} is {row.state}, and its events have {ends} ends: {states}")
        if percents != sorted(percents) or (percents and percents[-1] > row.percent):
            wrong.append(f"{job} is at {row.percent} %, and its percentage went {percents}")
        if row.seq > remains.last:
            wrong.append(f"{job} has the number {row.seq}, and the last is {remains.last}")
    wrong += [f"there are events of {job}, and there is no such job" for job in by_job]
    numbers = [row.seq for row in remains.jobs.values()]
    if len(set(numbers)) != len(numbers):
        wrong.append("two jobs have the same number")
    if remains.needs:
        wrong.append(f"{remains.needs} clips are held by jobs that have ended")
    return wrong


def once(logs: Sequence[tuple[int, Iterable[tuple[str, str]]]], deaths: dict[int, Remains]) -> list[str]:
    """No finished step was made again. ``logs`` are the lives and the steps that they finished, ``deaths`` what each
    left.
    """
    wrong = []
    told: dict[tuple[str, str], int] = {}
    recorded: dict[tuple[str, str], int] = {}
    for life, steps in logs:
        for step in steps:
            if step in told:
                wrong.append(f"step {step[1]} of {step[0]} was finished in life {told[step]}, and again in {life}")
            elif step in recorded:
                wrong.append(f"step {step[1]} of {step[0]} was written down in life {recorded[step]}, made in {life}")
            told[step] = life
        if life in deaths:
            for step in deaths[life].steps:
                recorded.setdefault(step, life)
    return wrong


# ---- after a restart -------------------------------------------------------------------------------------------------


def orphans(before: Remains, data: Path, *, started: float, pids: Iterable[int] = ()) -> list[str]:
    """Processes of the last life that live although the next server is up; ``pids`` are children that it told of."""
    found = {worker.pid: f"{worker.pid} in {worker.folder}: {worker.words}" for worker in workers(data, before=started)}
    for pid in {*pids, *before.noted}:
        try:
            process = psutil.Process(pid)
            if process.create_time() < started and process.status() != psutil.STATUS_ZOMBIE:
                found.setdefault(pid, f"{pid}: {process.cmdline()}")
        except psutil.Error:
            continue
    wrong = [f"an orphan lives after the restart: {words}" for words in found.values()]
    for pid, line in before.noted.items():
        path = data / "children" / str(pid)
        if path.exists() and path.read_text(encoding="ascii") == line:
            wrong.append(f"the ledger still tells of {pid}, a child of the last life")
    return wrong


def swept(before: Remains, data: Path) -> list[str]:
    """Strays that are there although the next server is up. No client does anything yet; jobs go on already."""
    wrong = [f"incoming/{path.name} was not swept" for path in (data / "incoming").iterdir()]
    ended = {job for job, (state, _, _) in resumed(before, up=True).items() if state in ENDED}
    ended |= {job for job, row in before.jobs.items() if row.state in ENDED}
    wrong += [
        f"work/{path.name} was not swept"
        for path in (data / "work").iterdir()
        if path.name in ended or path.name not in before.jobs
    ]
    for path in (data / "films").iterdir():
        row = before.jobs.get(path.stem)
        if row is None or row.state in {"failed", "cancelled"} or (row.state == "processing" and path.stem in ended):
            wrong.append(f"films/{path.name} was not swept")
    return wrong + _clips(before, data)


def _clips(remains: Remains, data: Path) -> list[str]:
    there = {path.name for path in (data / "clips").glob("*/*")}
    known = set(remains.clips.values())
    return [f"clips/{name} is no clip's" for name in there - known] + [
        f"the bytes of {name} are gone" for name in known - there
    ]


# ---- at the end ------------------------------------------------------------------------------------------------------


def tidy(remains: Remains, data: Path) -> list[str]:
    """All jobs have ended and nobody uploads: nothing is left in the folder that nothing stands for."""
    wrong = [f"{job} is {row.state}" for job, row in remains.jobs.items() if row.state in LIVE]
    for folder in ("incoming", "work", "children"):
        left = sorted(path.name for path in (data / folder).iterdir())
        if left:
            wrong.append(f"{folder}/ is not empty: {left}")
    films = {path.name for path in (data / "films").iterdir()}
    completed = {f"{job}.mp4" for job, row in remains.jobs.items() if row.state == "completed"}
    if films != completed:
        wrong.append(f"films/ has {films - completed} too much and {completed - films} too few")
    known = {DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "vcompose.lock", *FOLDERS}
    wrong += [f"{path.name} lies in the data folder" for path in data.iterdir() if path.name not in known]
    for worker in workers(data):
        wrong.append(f"a process lives in the data folder: {worker}")
    return wrong + _clips(remains, data)
