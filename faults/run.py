"""One run: kill after kill at chosen moments, a restart after each, then peace, and the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from faults import checks, clips, films
from faults.life import Life, Log, begin
from faults.load import API, Load
from faults.moments import FURTHER, MOMENTS, STAGES, Moment, Scene
from faults.records import Records
from faults.remains import LIVE, Remains, look
from faults.watch import Watch
from vcompose.library import tools_of
from vcompose.media.tools import Tools
from vcompose.settings import Settings

REACH_SECONDS: Final = 45.0
"""A moment that has not come by then is brought about again in another life."""
TRIES: Final = 4
PEACE_SECONDS: Final = 300.0
BUSY_SECONDS: Final = 0.8
"""How long, at most, the clients go on before a moment is brought about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out: the proven kills of each stage, kills that proved nothing, and all that was wrong."""

    hits: Counter[str]
    misses: int
    wrong: tuple[str, ...]
    seconds: float


def chosen(rng: random.Random, kills: int) -> list[Moment]:
    """Moments for so many kills: each of the stages once, then each other moment once, then any."""
    first = [rng.choice([one for one in MOMENTS if one.stage == stage]) for stage in STAGES]
    rest = [one for one in MOMENTS if one not in first]
    rng.shuffle(rest)
    more = max(0, kills - len(first))
    wanted = [*first, *rest[:more], *rng.choices(MOMENTS, k=max(0, more - len(rest)))]
    rng.shuffle(wanted)
    return wanted


class Run:
    """Everything that a run knows."""

    def __init__(self, folder: Path, rng: random.Random, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._rng = rng
        self._say = say
        self._records = Records()
        self._watch = Watch(self._records)
        self._wrong: list[str] = []
        self._lives = 0
        self._logs: list[tuple[int, Log]] = []
        self._deaths: dict[int, Remains] = {}
        self._before: Remains | None = None
        self._life: Life | None = None
        self._pids: tuple[int, ...] = ()
        self._survivors = 0

    async def make(self, wanted: Sequence[Moment]) -> Result:
        """Kill at each of the moments, then let all jobs end."""
        begun = time.monotonic()
        tools = await tools_of(Settings())
        made = self._folder / "made"
        made.mkdir()
        bases = await clips.make(made, tools)
        self._say(f"made {len(bases)} clips in {time.monotonic() - begun:.1f} s")
        hits: Counter[str] = Counter()
        misses = 0
        async with self._session() as session:
            load = Load(session, bases, self._records, self._watch, self._data, self._rng)
            clients = asyncio.create_task(load.run())
            try:
                for number, moment in enumerate(wanted, 1):
                    for _ in range(TRIES):
                        if await self._kill(number, moment, load, session):
                            hits[moment.stage] += 1
                            break
                        misses += 1
                    else:
                        self._wrong.append(f"{moment.stage}, {moment.name}: not proven in {TRIES} kills")
                clients.cancel()
                await asyncio.wait([clients])
                self._found_by(clients)
                await self._peace(load, session, tools)
            finally:
                clients.cancel()
                if self._life is not None:
                    await self._life.kill()
        self._wrong += [f"no kill hit the stage {stage}" for stage in STAGES if not hits[stage]]
        self._wrong += dict.fromkeys(self._records.wrong)
        return Result(hits=hits, misses=misses, wrong=tuple(self._wrong), seconds=time.monotonic() - begun)

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        limits = aiohttp.TCPConnector(limit=50, force_close=True)
        async with aiohttp.ClientSession(connector=limits, timeout=aiohttp.ClientTimeout(total=60)) as session:
            yield session

    # ---- one kill ------------------------------------------------------------------------------------------------

    async def _kill(self, number: int, moment: Moment, load: Load, session: aiohttp.ClientSession) -> bool:
        begun = time.monotonic()
        self._records.sending = None
        passing = self._rng.randint(1, moment.passings)
        life = await self._begin(moment, passing)
        listens = await life.up()
        seen: str | None = None
        if listens:
            self._after_start(life)
            watcher = asyncio.create_task(self._watch.run(session, life.url))
            load.up(life.url, busy=not moment.alone)
            if moment.point is None:
                await asyncio.sleep(self._rng.uniform(0, BUSY_SECONDS))
            provoking = asyncio.create_task(_again(moment, load))
            try:
                if moment.sight is not None:
                    seen = await life.seen_and_killed(moment.sight(self._rng), self._data, self._records, REACH_SECONDS)
                else:
                    await life.dead(REACH_SECONDS)
            finally:
                load.down()
                await life.kill()
                provoking.cancel()
                await asyncio.wait([provoking, watcher])
            self._found_by(provoking, watcher)
        await life.kill()
        return self._after_kill(number, moment, life, seen, listens=listens, begun=begun)

    async def _begin(self, moment: Moment | None, passing: int) -> Life:
        self._lives += 1
        self._life = await begin(self._lives, self._data, self._folder, moment, passing)
        return self._life

    def _after_start(self, life: Life) -> None:
        if self._before is not None:
            self._blame(f"restart {life.number}", checks.swept(self._before, self._data))
            self._blame(
                f"restart {life.number}",
                checks.orphans(self._before, self._data, started=life.started, pids=self._pids),
            )

    def _after_kill(
        self, number: int, moment: Moment, life: Life, seen: str | None, *, listens: bool, begun: float
    ) -> bool:
        words = life.words()
        remains = look(self._data)
        self._survivors += len(remains.workers)
        self._pids = (int(words["pid"]),) if "pid" in words else ()
        proof = None
        if words or (seen is not None and moment.point is None):
            proof = moment.proof(Scene(remains=remains, records=self._records, words=words))
        which = "" if moment.point is None else f", passing {words.get('point', '?')}"
        told = proof or f"NOT PROVEN ({words or seen or 'it did not come'})"
        self._say(f"kill {number:2}  {moment.stage:6}  {moment.name}{which}")
        self._say(f"         {told}  [{time.monotonic() - begun:.1f} s]")
        status = life.process.returncode
        where = f"kill {number} ({moment.stage}: {moment.name})"
        if status != -9:
            self._blame(where, [f"the server ended with {status}, not by the kill"])
        up = listens or words.get("point") == "Store.resume:after"
        if self._before is not None:
            self._blame(where, checks.between(self._before, remains, up=up))
        self._blame(where, checks.histories(remains))
        self._blame(where, checks.promises(self._records, remains))
        self._blame(where, self._watch.uncommitted(remains))
        self._read_log(life, where)
        self._deaths[life.number] = remains
        self._before = remains
        return proof is not None

    def _read_log(self, life: Life, where: str) -> None:
        log = life.log()
        self._logs.append((life.number, log))
        self._blame(where, [f"the server complained: {line}" for line in log.complaints])

    # ---- peace ---------------------------------------------------------------------------------------------------

    async def _peace(self, load: Load, session: aiohttp.ClientSession, tools: Tools) -> None:
        begun = time.monotonic()
        life = await self._begin(None, 0)
        if not await life.up():
            self._blame("the end", ["the server does not start any more"])
            self._read_log(life, "the end")
            return
        self._after_start(life)
        watcher = asyncio.create_task(self._watch.run(session, life.url))
        load.up(life.url, busy=False)
        self._blame("the end", await self._all_ended(session, life.url))
        self._blame("the end", await self._contents(session, life.url))
        quiet = look(self._data)
        self._blame("the end", checks.tidy(quiet, self._data))
        self._blame("the end", self._watch.unheard(quiet))
        status = await life.stop()
        load.down()
        await asyncio.wait([watcher])
        self._found_by(watcher)
        if status:
            self._blame("the end", [f"SIGTERM ended the server with {status}"])
        self._read_log(life, "the end")
        remains = look(self._data)
        self._deaths[life.number] = remains
        if self._before is not None:
            self._blame("the end", checks.between(self._before, remains, up=True))
        self._blame("the end", checks.histories(remains))
        self._blame("the end", checks.promises(self._records, remains))
        self._blame("the end", checks.tidy(remains, self._data))
        self._blame("the end", checks.once([(n, log.steps) for n, log in self._logs], self._deaths))
        self._say(f"all jobs ended {time.monotonic() - begun:.1f} s after the last restart")
        begun = time.monotonic()
        self._blame("the end", await films.verified(self._data, remains, self._records.submissions, tools))
        self._say(f"films verified in {time.monotonic() - begun:.1f} s")
        self._summary(remains)

    async def _all_ended(self, session: aiohttp.ClientSession, url: str) -> list[str]:
        end = time.monotonic() + PEACE_SECONDS
        living: list[dict[str, str]] = []
        asked = {"state": sorted(LIVE), "limit": "200"}
        while time.monotonic() < end:
            async with session.get(f"{url}{API}/compositions", params=asked) as answer:
                living = (await answer.json())["items"]
            if not living and not any(any((self._data / folder).iterdir()) for folder in ("children", "work")):
                await asyncio.sleep(0.5)  # the watcher hears the last of it
                return []
            await asyncio.sleep(0.2)
        return [f"{job['id']} has not ended in {PEACE_SECONDS} s: {job['state']}" for job in living]

    async def _contents(self, session: aiohttp.ClientSession, url: str) -> list[str]:
        """Each acknowledged clip, as it is given back."""
        wrong = []
        for upload in self._records.ready:
            async with session.get(f"{url}{API}/clips/{upload.clip}/content") as answer:
                digest = hashlib.sha256(await answer.read()).hexdigest()
            if answer.status != 200 or digest != upload.sha256:
                wrong.append(f"the content of {upload.name} was answered {answer.status}, with hash {digest}")
        return wrong

    def _summary(self, remains: Remains) -> None:
        records = self._records
        states = Counter(row.state for row in remains.jobs.values())
        answered = [one for one in records.submissions if one.job is not None]
        steps = Counter(step for _, log in self._logs for step in log.steps)
        again = sum(row.attempt > 1 for row in remains.jobs.values() if row.state == "completed")
        kept = {step for death in self._deaths.values() for step in death.steps}
        counts = ", ".join(f"{count} {what}" for what, count in sorted(records.counts.items()))
        self._say(
            f"jobs: {len(records.submissions)} submitted, {len(answered)} answered with 202, "
            f"{sum(one.deleted for one in records.submissions)} deleted; "
            f"at the end {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}"
        )
        self._say(
            f"films: {states['completed']}, of them {again} after a kill in their making; "
            f"{len(steps)} steps finished, {len(kept)} seen written down at a kill, "
            f"{sum(count > 1 for count in steps.values())} made twice"
        )
        self._say(
            f"clips: {len(records.uploads)} sent, {sum(one.clip is not None for one in records.uploads)} answered with "
            f"201, {sum(one.deleted for one in records.uploads)} deleted, {len(remains.clips)} there"
        )
        self._say(
            f"children that outlived their server: {self._survivors}; ended by the next one's ledger: "
            f"{sum(log.orphans for _, log in self._logs)}; strays swept: {sum(log.strays for _, log in self._logs)}"
        )
        self._say(f"watcher: {self._watch.messages} messages; {counts}")

    # ---- fault finding -------------------------------------------------------------------------------------------

    def _blame(self, where: str, wrong: Sequence[str]) -> None:
        for words in wrong:
            self._say(f"  WRONG  {where}: {words}")
            self._wrong.append(f"{where}: {words}")

    def _found_by(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self._blame("the harness itself", [f"{type(error).__name__}: {error!r}"])


async def _again(moment: Moment, load: Load) -> None:
    """Bring a moment about, over and over, until the server is dead."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await moment.provoke(load)
        await asyncio.sleep(0.02)


def stages(result: Result) -> str:
    """How often each stage was hit."""
    return ", ".join(f"{stage} {result.hits[stage]}" for stage in (*STAGES, *FURTHER))
