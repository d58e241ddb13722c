"""Property 4: whatever happens to jobs, only legal transitions are made, in a real SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import builders
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from vcompose.jobs.database import FILE, Database, open_database
from vcompose.jobs.job import (
    CancelWished,
    Change,
    ClipInUse,
    ClipMissing,
    Failure,
    Fenced,
    Job,
    JobError,
    KeyReused,
    NoSuchClip,
    NoSuchJob,
    Output,
    WrongState,
)
from vcompose.jobs.lifecycle import ENDED, State
from vcompose.jobs.shelf import Shelf
from vcompose.jobs.store import MOST_STRIKES, Store

_T = TypeVar("_T")

FILM: Final = Output(filename="film.mp4", bytes=1000, duration=2.0)
BROKEN: Final = Failure(code="ffmpeg_failed", detail="beach.mp4 could not be used", clip="c_1")

WHICH: Final = st.integers(0, 5)
MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # thousands of commits need no disk
LEGAL: Final = {
    (None, State.PENDING),
    (State.PENDING, State.PROCESSING),
    (State.PENDING, State.CANCELLED),
    (State.PROCESSING, State.COMPLETED),
    (State.PROCESSING, State.FAILED),
    (State.PROCESSING, State.CANCELLED),
}


class Life(RuleBasedStateMachine):
    """Submit, start, progress, finish, fail, cancel, delete, stop and crash, in any order, also by attempts that are
    over and two at once; the model is what was told, and the file must say the same.
    """

    jobs = Bundle("jobs")
    clips = Bundle("clips")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.told: list[Change] = []
        self.states: dict[str, list[State]] = {}
        self.percents: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        self.deaths: dict[str, int] = {}
        self.begun: set[str] = set()
        self.progressed: set[str] = set()
        self.wished: set[str] = set()
        self.needs: dict[str, tuple[str, ...]] = {}
        self.gone: set[str] = set()
        self.order: list[str] = []
        self.run(self._open())

    def run(self, work: Awaitable[_T]) -> _T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    async def _open(self) -> None:
        self.stack = contextlib.AsyncExitStack()
        self.database: Database = await self.stack.enter_async_context(open_database(Path(self.folder.name)))
        self.store = Store(self.database, self._hear)
        self.shelf = Shelf(self.database, Path(self.folder.name) / "clips", clock=lambda: 0.0)

    def _hear(self, change: Change) -> None:
        assert not self.told or change.seq > self.told[-1].seq, "told out of order"
        self.told.append(change)
        if change.job is None:
            self.gone.add(change.id)
            return
        job = change.job
        states = self.states.setdefault(job.id, [])
        if not states or states[-1] is not job.state:
            assert (states[-1] if states else None, job.state) in LEGAL, (states, job.state)
            states.append(job.state)
        assert job.percent >= self.percents.get(job.id, 0), "progress went back"
        assert (job.percent == 100) is (job.state is State.COMPLETED)
        assert job.wish >= (job.id in self.wished), "a wish was forgotten"
        if job.wish:
            self.wished.add(job.id)
        self.percents[job.id] = job.percent
        self.attempts[job.id] = job.attempt

    def state(self, job: str) -> State:
        return self.states[job][-1]

    def works(self, job: str, attempt: int) -> bool:
        """Whether an attempt may write."""
        return job not in self.gone and self.state(job) is State.PROCESSING and self.attempts[job] == attempt

    def living(self) -> list[str]:
        """The jobs that something can still happen to."""
        return [job for job in self.order if job not in self.gone and self.state(job) not in ENDED]

    @initialize(target=clips)
    def one_clip(self) -> str:
        return self.shelve()

    @initialize(target=jobs)
    def one_job(self) -> str:
        job = self.run(self.store.accept("{}"))
        self.noted(job, ())
        self.start(1)
        return job.id

    def shelve(self) -> str:
        part = Path(self.folder.name) / "part"
        part.write_bytes(b"a clip")
        clip = builders.clip()
        return self.run(self.shelf.add(part, name="a.mp4", size=6, sha256="5ee7" * 16, clip=clip)).id

    @rule(target=clips, clip=clips)
    def delete_a_clip_and_bring_another(self, clip: str) -> str:
        if clip in self.gone:
            with pytest.raises(NoSuchClip):
                self.run(self.shelf.delete(clip))
        elif users := [job for job in self.living() if clip in self.needs[job]]:
            with pytest.raises(ClipInUse) as caught:
                self.run(self.shelf.delete(clip))
            assert any(job in str(caught.value) for job in users)
        else:
            self.run(self.shelf.delete(clip))
            self.gone.add(clip)
        with contextlib.closing(sqlite3.connect(Path(self.folder.name) / FILE)) as db:
            assert bool(db.execute("SELECT 1 FROM clip WHERE id = ?", (clip,)).fetchall()) is (clip not in self.gone)
        return self.shelve()

    @rule(
        target=jobs,
        key=st.sampled_from([None, None, "a", "b"]),
        size=st.integers(2, 4),
        needs=st.lists(clips, max_size=3, unique=True),
    )
    def submit(self, key: str | None, size: int, needs: list[str]) -> object:
        before = set(self.states)
        told = len(self.told)
        accept = self.store.accept(f"{{{size}}}", key=key, needs=needs)
        try:
            job = self.run(accept)
        except (KeyReused, ClipMissing) as error:
            why = error.clip if isinstance(error, ClipMissing) else key
            assert why in {key, *self.gone.intersection(needs)} - {None}
            assert len(self.told) == told
            return multiple()
        if job.id in before:
            assert key is not None
            return multiple()
        assert not self.gone.intersection(needs)
        self.noted(job, needs)
        return job.id

    def noted(self, job: Job, needs: Sequence[str]) -> None:
        """A job was accepted."""
        assert job.state is State.PENDING
        self.order.append(job.id)
        self.needs[job.id] = tuple(needs)

    @rule(at_once=st.integers(1, 3))
    def start_some(self, at_once: int) -> None:
        self.start(at_once)

    def start(self, at_once: int) -> None:
        waiting = [job for job in self.order if job not in self.gone and self.state(job) is State.PENDING]

        async def claims() -> list[Job | None]:
            return await asyncio.gather(*(self.store.claim() for _ in range(at_once)))

        claimed = [job.id for job in self.run(claims()) if job is not None]
        assert sorted(claimed) == sorted(waiting[:at_once]), "not the oldest, or one twice"
        for job in claimed:
            self.deaths[job] = 0
            self.begun.add(job)
            self.progressed.discard(job)

    def attempt(self, job: str, attempt: int, what: str, percent: int = 0) -> bool:
        """A write by an attempt: made when it may write, else refused without a trace; one that ends the job otherwise
        than by a cancel is refused where a cancel was wished for.
        """
        store = self.store
        writes: dict[str, Callable[[], Awaitable[object]]] = {
            "begin": lambda: store.begin(job, attempt),
            "progress": lambda: store.record_progress(job, attempt, percent, "encoding"),
            "step": lambda: store.record_step(job, attempt, f"s{percent % 2}", 1.0, 10),
            "finish": lambda: store.complete(job, attempt, FILM),
            "fail": lambda: store.fail(job, attempt, BROKEN),
            "gone": lambda: store.cancelled(job, attempt),
        }
        if self.works(job, attempt) and not (what in {"finish", "fail"} and job in self.wished):
            self.run(writes[what]())
            return True
        told, state = len(self.told), self.states[job][-1]
        with pytest.raises(CancelWished if self.works(job, attempt) else (Fenced, NoSuchJob)):
            self.run(writes[what]())
        assert len(self.told) == told
        assert self.state(job) is state
        return False

    def processing(self) -> list[str]:
        """The jobs that are being made."""
        return [job for job in self.order if job not in self.gone and self.state(job) is State.PROCESSING]

    @precondition(lambda self: self.processing())
    @rule(which=WHICH, what=st.sampled_from(["begin", "progress", "progress", "step"]), percent=st.integers(-5, 120))
    def work(self, which: int, what: str, percent: int) -> None:
        job = self.processing()[which % len(self.processing())]
        if self.attempt(job, self.attempts[job], what, percent):
            if what == "begin":
                self.begun.add(job)
            elif what == "step":
                self.progressed.add(job)
                assert f"s{percent % 2}" in self.run(self.store.steps(job))

    @precondition(lambda self: self.processing())
    @rule(which=WHICH, what=st.sampled_from(["finish", "fail", "gone"]))
    def end(self, which: int, what: str) -> None:
        job = self.processing()[which % len(self.processing())]
        self.attempt(job, self.attempts[job], what)

    @rule(job=jobs, what=st.sampled_from(["begin", "progress", "step", "finish", "fail", "gone"]))
    def come_late(self, job: str, what: str) -> None:
        """An attempt that is over writes."""
        assert not self.attempt(job, self.attempts[job] - 1, what, 50)

    @precondition(lambda self: self.processing())
    @rule(which=WHICH, wish_first=st.booleans(), succeeds=st.booleans())
    def end_and_cancel_at_once(self, which: int, wish_first: bool, succeeds: bool) -> None:
        job = self.processing()[which % len(self.processing())]
        attempt = self.attempts[job]
        wished = job in self.wished

        async def race() -> list[Job | BaseException]:
            end = self.store.complete(job, attempt, FILM) if succeeds else self.store.fail(job, attempt, BROKEN)
            both = [self.store.wish_cancel(job), end] if wish_first else [end, self.store.wish_cancel(job)]
            told = await asyncio.gather(*both, return_exceptions=True)
            return told if wish_first else told[::-1]

        cancel, end = self.run(race())
        assert [isinstance(one, JobError) for one in (cancel, end)].count(True) == 1, "there is one winner"
        if isinstance(cancel, Job):
            assert isinstance(end, CancelWished)
            assert self.state(job) is State.PROCESSING
            assert cancel.wish
        else:
            assert not wished, "the wish came first"
            assert isinstance(cancel, WrongState)
            assert cancel.state is self.state(job) is (State.COMPLETED if succeeds else State.FAILED)

    @precondition(lambda self: self.processing())
    @rule(which=WHICH)
    def cancel_what_is_being_made(self, which: int) -> None:
        self.cancel(self.processing()[which % len(self.processing())])

    @rule(job=jobs)
    def cancel_any(self, job: str) -> None:
        self.cancel(job)

    def cancel(self, job: str) -> None:
        if job in self.gone:
            with pytest.raises(NoSuchJob):
                self.run(self.store.wish_cancel(job))
        elif self.state(job) in ENDED:
            with pytest.raises(WrongState) as caught:
                self.run(self.store.wish_cancel(job))
            assert caught.value.state is self.state(job)
        else:
            before = self.state(job)
            after = self.run(self.store.wish_cancel(job))
            told = len(self.told)
            if after.state is State.PROCESSING:
                assert self.run(self.store.wish_cancel(job)) == after, "a second wish changed something"
                assert len(self.told) == told
            assert after.state is (State.CANCELLED if before is State.PENDING else State.PROCESSING)
            assert after.wish or after.state is State.CANCELLED
            assert (job in self.wished) is after.wish

    @rule(job=jobs)
    def delete(self, job: str) -> None:
        if job in self.gone:
            with pytest.raises(NoSuchJob):
                self.run(self.store.delete(job))
        elif self.state(job) in ENDED:
            self.run(self.store.delete(job))
            assert job in self.gone
        else:
            with pytest.raises(WrongState):
                self.run(self.store.delete(job))

    @rule(graceful=st.booleans())
    def restart(self, graceful: bool) -> None:
        living = self.processing()
        wished = self.wished.intersection(living)
        if graceful:
            for job in living:
                self.run(self.store.release(job, self.attempts[job]))
        before = {job: self.attempts[job] for job in living}
        self.run(self.stack.aclose())
        self.run(self._open())
        going = {job.id for job in self.run(self.store.resume())}
        for job in living:
            if job in wished:
                assert self.state(job) is State.CANCELLED
                continue
            if not graceful and job in self.begun and job not in self.progressed:
                self.deaths[job] += 1
            self.begun.discard(job)
            if self.deaths[job] >= MOST_STRIKES:
                assert self.state(job) is State.FAILED
                continue
            assert job in going
            assert self.attempts[job] == before[job] + 1
            self.progressed.discard(job)

    @invariant()
    def the_file_says_what_was_told(self) -> None:
        for job, states in self.states.items():
            if job in self.gone:
                with pytest.raises(NoSuchJob):
                    self.run(self.store.job(job))
                continue
            now: Job = self.run(self.store.job(job))
            assert (now.state, now.percent, now.attempt) == (states[-1], self.percents[job], self.attempts[job])
            assert (now.output is not None) is (now.state is State.COMPLETED)
            assert (now.error is not None) is (now.state is State.FAILED)
            events = self.run(self.store.history(job))
            recorded = [state for _, state, _ in events]
            assert [state for i, state in enumerate(recorded) if i == 0 or recorded[i - 1] is not state] == states
            percents = [percent for _, _, percent in events]
            assert percents == sorted(percents), "the recorded progress went back"
            tenths = set(range(10, now.percent + 1, 10))
            assert tenths <= set(percents), "a tenth that was passed is not in the events"
            assert now.wish is (job in self.wished)
        if self.told:
            assert self.run(self.store.sequence()) >= self.told[-1].seq

    @invariant()
    def a_clip_is_needed_until_its_jobs_end(self) -> None:
        with contextlib.closing(sqlite3.connect(Path(self.folder.name) / FILE)) as db:
            rows = db.execute("SELECT j.id, c.id FROM need JOIN job j ON j.number = job JOIN clip c ON c.number = clip")
            needed = set(rows.fetchall())
        assert needed == {(job, clip) for job in self.living() for clip in self.needs[job]}

    @invariant()
    def what_was_missed_can_be_replayed(self) -> None:
        middle = self.told[len(self.told) // 2].seq if self.told else 0
        changes = self.run(self.store.changes(middle))
        assert [change.seq for change in changes] == sorted({change.seq for change in changes})
        latest = {change.id: change for change in self.told if change.seq > middle}
        assert {change.id for change in changes} == set(latest)
        assert {change.id for change in changes if change.job is None} == {
            job for job, change in latest.items() if change.job is None
        }

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()
        self.folder.cleanup()


def test_property_4_whatever_happens_in_whatever_order_only_legal_transitions_are_made() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
