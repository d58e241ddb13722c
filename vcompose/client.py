"""A small client of the service, for programs.

    async with Client("http://127.0.0.1:8080") as films:
        clips = [await films.upload(path) for path in ("beach.mp4", "party.mov")]
        job = await films.compose([clip["id"] for clip in clips], output={"filename": "holiday.mp4"})
        async for job in films.follow(job["id"]):
            print(job["percent"], job["stage"])
        await films.download(job["id"], "holiday.mp4")

Documents are those of the service's ``/openapi.json``, as dictionaries.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

Document = dict[str, Any]

_API: Final = "api/v1/"
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})
_BLOCK: Final = 1 << 18
_QUIET_SECONDS: Final = 30.0
"""A socket without a word, not even a heartbeat, for so long is taken for dead."""
_WAIT_SECONDS: Final = 25.0
_LONGEST_PAUSE: Final = 5.0
_SOCKET_TRIES: Final = 2


class ServiceError(Exception):
    """The service refused: HTTP ``status``, stable ``code``, the whole problem ``document``; ``str`` is a sentence."""

    def __init__(self, status: int, document: Document) -> None:
        super().__init__(str(document.get("detail") or f"the service answered {status}"))
        self.status = status
        self.code = str(document.get("code", "unknown"))
        self.document = document


class Client:
    """Talks to one service; ``url`` is where its page is, ``language`` what sentences are told in.

    Every call raises ServiceError where the service refuses, and aiohttp.ClientError where it cannot be reached.
    """

    def __init__(self, url: str, *, language: str = "en") -> None:
        self._url = url.rstrip("/") + "/"
        self._session = aiohttp.ClientSession(
            headers={"Accept-Language": language},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WAIT_SECONDS + 60),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def upload(self, path: str | os.PathLike[str], *, name: str | None = None) -> Document:
        """Upload a file as a clip, called ``name`` (default: as the file is)."""
        file = await asyncio.to_thread(Path(path).open, "rb")
        with file:
            form = aiohttp.FormData(quote_fields=False)
            form.add_field("file", file, filename=(name or Path(path).name).replace('"', "%22"))
            return await self._call("POST", "clips", data=form)

    async def compose(
        self,
        clips: Sequence[str | Mapping[str, object]],
        *,
        output: Mapping[str, object] | None = None,
        key: str | None = None,
    ) -> Document:
        """Submit a composition of clips (ids, or parts as in the composition document); gives the job.

        A lost answer is asked for once more: ``key`` (default: one of its own) makes sure that one job comes of it.
        """
        parts = [{"clip": part} if isinstance(part, str) else dict(part) for part in clips]
        wanted: Document = {"clips": parts, **({"output": dict(output)} if output else {})}
        headers = {"Idempotency-Key": key or secrets.token_urlsafe(16)}
        try:
            return await self._call("POST", "compositions", json=wanted, headers=headers)
        except aiohttp.ServerDisconnectedError:
            return await self._call("POST", "compositions", json=wanted, headers=headers)

    async def job(self, job: str) -> Document:
        """A job as it is now."""
        return await self._call("GET", f"compositions/{job}")

    async def cancel(self, job: str) -> Document:
        """Cancel a job; returns when no process of it is left."""
        return await self._call("POST", f"compositions/{job}/cancel")

    async def delete(self, job: str) -> None:
        """Remove a job that has ended, and its film."""
        await self._call("DELETE", f"compositions/{job}")

    async def download(self, job: str, path: str | os.PathLike[str]) -> None:
        """Save the film of a completed job; ``path`` is there whole, or not at all."""
        part = Path(f"{os.fspath(path)}.part")
        try:
            async with self._session.get(f"{self._url}{_API}compositions/{job}/output") as answer:
                await _refused(answer)
                with await asyncio.to_thread(part.open, "wb") as file:
                    async for block in answer.content.iter_chunked(_BLOCK):
                        await asyncio.to_thread(file.write, block)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    async def wait(self, job: str) -> Document:
        """The job when it has ended."""
        return [now async for now in self.follow(job)][-1]

    async def follow(self, job: str) -> AsyncIterator[Document]:
        """The job as it is now, then each time that it changes, until it has ended.

        By WebSocket; where none can be had, by long polls. Connections that break are made anew.
        """
        now = await self.job(job)
        yield now
        failed = 0
        while now["state"] not in _ENDED:
            by_socket = failed < _SOCKET_TRIES
            heard = self._by_socket if by_socket else self._by_polls
            try:
                async for later in heard(job, now["seq"]):
                    failed = 0 if by_socket else failed
                    if later["seq"] >= now["seq"]:
                        now = later
                        yield now
                    if now["state"] in _ENDED:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            failed += by_socket
            await asyncio.sleep(min(_LONGEST_PAUSE, 0.1 * 2 ** min(failed, 6)))

    async def _by_socket(self, job: str, seq: int) -> AsyncIterator[Document]:
        url = f"{self._url}{_API}compositions/{job}/ws"
        async with self._session.ws_connect(url, params={"since": str(seq)}) as socket:
            with contextlib.suppress(TypeError):  # it was closed
                while True:
                    message = await socket.receive_json(timeout=_QUIET_SECONDS)
                    if message["type"] == "deleted":
                        raise ServiceError(404, {"code": "not_found", "detail": f"job {job} was deleted"})
                    if message["type"] == "job":
                        yield message["job"]
                    for one in message.get("jobs", ()):
                        yield one

    async def _by_polls(self, job: str, seq: int) -> AsyncIterator[Document]:
        while True:
            found = await self._call("GET", f"compositions/{job}", params={"after": seq, "wait": _WAIT_SECONDS})
            seq = found["seq"]
            yield found

    async def _call(self, method: str, path: str, **arguments: Any) -> Document:
        async with self._session.request(method, f"{self._url}{_API}{path}", **arguments) as answer:
            await _refused(answer)
            if answer.status == 204:
                return {}
            document: Document = await answer.json()
            return document


async def _refused(answer: aiohttp.ClientResponse) -> None:
    if answer.status < 400:
        return
    try:
        document: object = await answer.json(content_type=None)
    except ValueError:  # a proxy's own page
        document = None
    raise ServiceError(answer.status, document if isinstance(document, dict) else {})
