"""Clients: several at once, each doing one thing after another, whether the server lives or not."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp

from faults.clips import COPIED, LARGE, LONG, SALT, Base, salted
from faults.records import Records, Submission, Upload
from faults.remains import LIVE, workers
from faults.watch import ENDED, Watch

API: Final = "/api/v1"
CLIENTS: Final = 5
MOST_LIVE: Final = 5
"""Jobs that may wait or be made before the clients leave off submitting."""
CANCEL_SECONDS: Final = 1.5
"""No two cancels come closer than this: a cancel is quick, a film is not, and all would be cancelled."""
_GONE: Final = (aiohttp.ClientError, OSError, asyncio.TimeoutError)
_BOUNDARY: Final = "cut-in-the-middle"


class Load:
    """What the clients share: where the server is, what was asked and promised."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        bases: dict[str, Base],
        records: Records,
        watch: Watch,
        data: Path,
        rng: random.Random,
    ) -> None:
        self._session = session
        self._bases = bases
        self._records = records
        self._watch = watch
        self._data = data
        self._rng = rng
        self._url = ""
        self._is_up = asyncio.Event()
        self._busy = asyncio.Event()
        self._number = 0
        self._cancelled = 0.0

    def up(self, url: str, *, busy: bool = True) -> None:
        """The server listens; ``busy``: the clients of :meth:`run` may go on."""
        self._url = url
        self._is_up.set()
        if busy:
            self._busy.set()

    def down(self) -> None:
        """The server is dead."""
        self._is_up.clear()
        self._busy.clear()

    async def run(self) -> None:
        """The clients, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._client())

    async def _client(self) -> None:
        actions: list[tuple[Callable[[], Awaitable[object]], int]] = [
            (self.upload, 5),
            (self.copy, 6),
            (self.encode, 3),
            (self.cancel_some, 3),
            (self.delete_some_job, 2),
            (self.delete_some_clip, 2),
            (self.again, 3),
            (self.abandon, 1),
        ]
        while True:
            await self._busy.wait()
            action = self._rng.choices([one for one, _ in actions], [weight for _, weight in actions])[0]
            with contextlib.suppress(*_GONE):
                await action()
            await asyncio.sleep(self._rng.uniform(0.02, 0.3))

    # ---- clips ---------------------------------------------------------------------------------------------------

    async def upload(self, *, kind: str | None = None, fresh: bool = False) -> Upload | None:
        """Send a clip; now and then bytes that were sent before."""
        known = [upload for upload in self._records.uploads if upload.base.name != LARGE]
        if known and kind is None and not fresh and self._rng.random() < 0.2:
            same = self._rng.choice(known)
            base, salt = same.base, same.salt
        else:
            base = self._bases[kind or self._rng.choice((*COPIED, *COPIED, LONG))]
            salt = self._rng.randbytes(SALT)
        data = salted(base, salt)
        upload = self._noted(base, salt, data)
        form = aiohttp.FormData()
        form.add_field("file", data, filename=upload.name, content_type="video/mp4")
        status, document = await self._ask("POST", "/clips", data=form)
        if status != 201:
            self._wrong(f"the upload {upload.name} was answered {status}: {document}")
            return None
        upload.clip = document["id"]
        return upload

    async def half(self, *, noted: bool = True) -> None:
        """Send a large clip to somewhere in its middle, and wait there; ``noted``: whoever kills may know."""
        base = self._bases[LARGE]
        salt = self._rng.randbytes(SALT)
        data = salted(base, salt)
        upload = self._noted(base, salt, data)
        # the server writes whole megabytes
        until = self._rng.randrange((1 << 20) + (1 << 18), len(data) - (1 << 18))
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{upload.name}"\r\n\r\n'

        async def body() -> AsyncIterator[bytes]:
            yield head.encode()
            for begin in range(0, until, 1 << 16):
                yield data[begin : min(until, begin + (1 << 16))]
            if noted:
                self._records.sending = until, len(data)
            await asyncio.Event().wait()

        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        try:
            await self._ask("POST", "/clips", data=body(), headers=headers)
            self._wrong(f"the upload {upload.name} was answered although it was half sent")
        finally:
            self._records.counts["bodies cut"] += 1

    async def abandon(self) -> None:
        """Begin to send a clip, and go away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rng.uniform(0.05, 0.3)):
                await self.half(noted=False)

    async def delete_clip(self, upload: Upload) -> None:
        """Take a clip away, where no job needs it."""
        upload.delete_asked = True
        status, document = await self._ask("DELETE", f"/clips/{upload.clip}")
        if status == 204:
            upload.deleted = True
        elif status == 409:
            upload.delete_asked = False
        elif status != 404:
            self._wrong(f"deleting the clip {upload.clip} was answered {status}: {document}")

    async def delete_some_clip(self) -> None:
        """Take any clip away; some of each kind stay."""
        ready = self._records.ready
        if len(ready) > 8:
            await self.delete_clip(self._rng.choice(ready[:-4]))

    # ---- jobs ----------------------------------------------------------------------------------------------------

    async def copy(self, *, always: bool = False) -> Submission | None:
        """Submit clips of one kind: their pictures are copied."""
        return await self._submit("copy", COPIED, self._rng.randint(2, 4), {}, always=always)

    async def encode(self, *, always: bool = False) -> Submission | None:
        """Submit clips to be encoded."""
        wanted = {"mode": "encode", "size": self._rng.choice(("960x540", "1280x720"))}
        return await self._submit(f"encode {wanted['size']}", (LONG,), 2, wanted, always=always)

    async def heavy(self) -> Submission | None:
        """Submit many bytes to be copied."""
        return await self._submit("copy", (LARGE,), 8, {}, always=True)

    async def _submit(
        self, kind: str, bases: tuple[str, ...], count: int, output: dict[str, str], *, always: bool
    ) -> Submission | None:
        if not always and len(self.live) >= MOST_LIVE:
            return None
        clips = [upload for upload in self._records.ready if upload.base.name in bases]
        if len(clips) < 2 and (more := await self.upload(kind=self._rng.choice(bases), fresh=True)) is not None:
            clips.append(more)
        if not clips:
            return None
        submission = Submission(
            key=f"key-{self._next()}-{secrets.token_hex(4)}",
            kind=kind,
            clips=tuple(self._rng.choices(clips, k=count)),
            spared=always,
            forgotten=self._rng.random() < 0.5,
        )
        self._records.submissions.append(submission)
        if self._rng.random() < 0.15:  # a nervous person presses twice
            await asyncio.gather(self._post(submission, output), self._post(submission, output))
        else:
            await self._post(submission, output)
        return submission

    async def _post(self, submission: Submission, output: dict[str, str]) -> None:
        wanted = {
            "clips": [{"clip": upload.clip} for upload in submission.clips],
            "output": {"filename": f"{submission.key}.mp4", **output},
        }
        status, document = await self._ask(
            "POST", "/compositions", json=wanted, headers={"Idempotency-Key": submission.key}
        )
        if status == 202:
            if submission.job not in (None, document["id"]):
                self._wrong(f"the key {submission.key} gave {submission.job}, and then {document['id']}")
            submission.job = document["id"]
            self._watch.tell(document)
        elif document["code"] == "clip_not_found" and any(upload.delete_asked for upload in submission.clips):
            submission.refused = True
        else:
            self._wrong(f"the submission {submission.key} was answered {status}: {document}")

    async def again(self) -> None:
        """Repeat a submission whose answer never came, as a person would."""
        unanswered = [
            one for one in self._records.submissions if one.job is None and not one.refused and not one.forgotten
        ]
        if not unanswered:
            return
        submission = unanswered[0]
        output = {}
        if submission.kind.startswith("encode "):
            output = {"mode": "encode", "size": submission.kind.partition(" ")[2]}
        await self._post(submission, output)
        self._records.counts["submissions repeated"] += 1

    async def cancel(self, submission: Submission) -> None:
        """Cancel a job; the answer is a receipt, and is read as one."""
        job = submission.job
        assert job is not None
        submission.cancel_asked = True
        status, document = await self._ask("POST", f"/compositions/{job}/cancel")
        if status == 200:
            submission.cancelled = True
            self._watch.tell(document)
            self._records.counts["cancels answered"] += 1
            left = [path for path in (self._data / "work" / job, self._data / "films" / f"{job}.mp4") if path.exists()]
            left += [Path(str(worker)) for worker in workers(self._data / "work" / job)]
            if document["state"] != "cancelled" or left:
                self._wrong(f"{job} was cancelled, is {document['state']}, and left {left}")
        elif not ((status == 409 and document["state"] in ENDED) or (status == 404 and submission.delete_asked)):
            self._wrong(f"cancelling {job} was answered {status}: {document}")

    async def cancel_some(self) -> None:
        """Cancel any live job."""
        live = [one for one in self.live if not one.spared]
        if len(live) > 1 and time.monotonic() - self._cancelled > CANCEL_SECONDS:
            self._cancelled = time.monotonic()
            await self.cancel(self._rng.choice(live))

    async def delete_job(self, submission: Submission) -> None:
        """Delete a job that has ended, and its film."""
        submission.delete_asked = True
        status, document = await self._ask("DELETE", f"/compositions/{submission.job}")
        if status == 204:
            submission.deleted = True
            if (self._data / "films" / f"{submission.job}.mp4").exists():
                self._wrong(f"{submission.job} was deleted, and its film is there")
        elif status != 404:
            self._wrong(f"deleting {submission.job} was answered {status}: {document}")

    async def delete_some_job(self) -> None:
        """Delete any job that has ended."""
        ended = [one for one, job in self._jobs() if self._watch.state(job) in ENDED and not one.delete_asked]
        if len(ended) > 8:
            await self.delete_job(self._rng.choice([one for one in ended if not one.spared] or ended))

    # ---- what they know ------------------------------------------------------------------------------------------

    @property
    def live(self) -> list[Submission]:
        """Jobs that have not ended as far as was told."""
        return [one for one, job in self._jobs() if self._watch.state(job) in LIVE and not one.cancel_asked]

    def any_in(self, state: str) -> Submission | None:
        """A job in that state as far as was told, the newest."""
        wanted = [one for one, job in self._jobs() if self._watch.state(job) == state]
        return next((one for one in reversed(wanted) if not one.cancel_asked and not one.delete_asked), None)

    async def wait_for(self, submission: Submission, states: frozenset[str]) -> bool:
        """Wait until a job was told to be in one of the states; False when it ended otherwise."""
        while submission.job is not None:
            state = self._watch.state(submission.job)
            if state in states:
                return True
            if state in ENDED:
                return False
            await asyncio.sleep(0.01)
        return False

    def _jobs(self) -> list[tuple[Submission, str]]:
        return [(one, one.job) for one in self._records.submissions if one.job is not None]

    def _noted(self, base: Base, salt: bytes, data: bytes) -> Upload:
        upload = Upload(
            name=f"up-{self._next()}.mp4", base=base, salt=salt, sha256=hashlib.sha256(data).hexdigest()
        )  # fmt: skip
        self._records.uploads.append(upload)
        return upload

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        await self._is_up.wait()
        try:
            async with self._session.request(method, f"{self._url}{API}{path}", **options) as answer:
                body = await answer.read()
        except _GONE:
            self._records.counts["requests without an answer"] += 1
            raise
        self._records.counts["requests answered"] += 1
        return answer.status, json.loads(body) if "json" in answer.headers.get("Content-Type", "") else None

    def _wrong(self, words: str) -> None:
        self._records.wrong.append(f"client: {words}")
