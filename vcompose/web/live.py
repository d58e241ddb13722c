"""WebSockets: a snapshot, then events as they are committed. Nobody waits for a slow reader.

Each socket has one task that writes and holds one slot of progress for each job (see :mod:`vcompose.jobs.hub`); buffers
are kept small, so a reader that does not read is noticed: one that takes nothing for a second is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
import weakref
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import WSCloseCode, web

from vcompose.jobs.hub import Closed, Overrun, Subscription
from vcompose.jobs.job import Change, Job, NoSuchJob
from vcompose.jobs.lifecycle import State
from vcompose.web import wire
from vcompose.web.compositions import Sequence
from vcompose.web.fault import Fault
from vcompose.web.operation import Answer, Call, Query, operation

SOCKETS: Final = web.AppKey("sockets", weakref.WeakSet[web.WebSocketResponse])

_SHOWN: Final = 100
"""Jobs of a snapshot: those that are being made, and the newest."""
_BUFFER: Final = 8 << 10
_KERNEL_BUFFER: Final = 64 << 10
_PING_SECONDS: Final = 20.0


class Since(Query):
    """``since``: the number of the last change that was heard; what was missed is sent, and no snapshot."""

    since: Sequence | None = None


_ANSWERS: Final = {101: Answer(text="Messages: snapshot, job, deleted, heartbeat (see the schemas of that name)")}


@operation("GET", "/ws", summary="All jobs, live (WebSocket)", query=Since, answers=_ANSWERS,
           problems=("upgrade_required",))  # fmt: skip
async def watch_all(call: Call[Since, None]) -> web.StreamResponse:
    """Watch every job."""
    return await _watch(call, None)


@operation("GET", "/compositions/{job}/ws", summary="One job, live (WebSocket)", query=Since, answers=_ANSWERS,
           problems=("not_found", "upgrade_required"))  # fmt: skip
async def watch_one(call: Call[Since, None]) -> web.StreamResponse:
    """Watch one job."""
    job = call.path("job")
    if call.query.since is None:
        await call.service.job(job)
    return await _watch(call, job)


async def close_sockets(app: web.Application) -> None:
    """Tell every watcher that the server goes; otherwise they would hold it up."""
    open_ones = app[SOCKETS]
    await asyncio.gather(
        *(one.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops") for one in list(open_ones)),
        return_exceptions=True,
    )


async def _watch(call: Call[Since, None], job: str | None) -> web.StreamResponse:
    # no compression: it costs memory for each reader; the pings notice one that is gone
    socket = web.WebSocketResponse(
        compress=False, heartbeat=_PING_SECONDS, timeout=1.0, max_msg_size=4096, writer_limit=4096
    )
    if not call.request.headers.get("Sec-WebSocket-Key", "").isascii() or not socket.can_prepare(call.request):
        raise Fault("upgrade_required", "this address speaks WebSocket", headers={"Upgrade": "websocket"})
    await socket.prepare(call.request)
    _keep_small(call.request)
    call.request.app[SOCKETS].add(socket)
    with call.service.subscribe(job) as subscription:
        writing = asyncio.create_task(_Writer(call, socket, subscription, job).run())
        try:
            async for _ in socket:  # what a client says is of no matter; pings are answered underneath
                pass
        finally:
            writing.cancel()
            await asyncio.wait([writing])
    return socket


class _Writer:
    """Tells one socket all that its subscription hears."""

    def __init__(
        self, call: Call[Since, None], socket: web.WebSocketResponse, subscription: Subscription, job: str | None
    ) -> None:
        self._call = call
        self._socket = socket
        self._subscription = subscription
        self._job = job
        self._known: dict[str, int] = {}
        self._told = 0
        self._transport = call.request.transport

    async def run(self) -> None:
        """Until the socket is closed, by whom ever."""
        try:
            async for text in self._texts():
                try:
                    async with asyncio.timeout(self._call.options.send):
                        await self._socket.send_str(text)
                except TimeoutError:
                    await self._moving()
        except TimeoutError:
            if self._transport is not None:
                self._transport.abort()  # a farewell would wait behind what is not read
        except Closed:  # the server stops, and says so itself
            pass
        except Overrun:
            await self._socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too far behind")
        except (ConnectionError, RuntimeError):  # it was closed in the middle of a send
            pass

    async def _moving(self) -> None:
        """A message is on its way for long: that is well while the reader takes something. Raises TimeoutError."""
        transport = self._transport
        # the whole message lies in the buffer by now: only the wait for its going was given up
        while transport is not None and (left := transport.get_write_buffer_size()) > _BUFFER:
            await asyncio.sleep(self._call.options.send / 2)
            if transport.get_write_buffer_size() >= left:
                raise TimeoutError

    async def _texts(self) -> AsyncIterator[str]:
        language, prefix = self._call.language, self._call.options.prefix
        async for change in self._begin():
            yield change if isinstance(change, str) else wire.message(change, language, prefix)
        while True:
            try:
                async with asyncio.timeout(self._call.options.heartbeat):
                    changes = await self._subscription.next()
            except TimeoutError:
                yield wire.heartbeat()
                continue
            for change in changes:
                if self._is_news(change):
                    yield wire.message(change, language, prefix)

    def _is_news(self, change: Change) -> bool:
        """Whether a change is not part of what was told at the beginning already."""
        if change.pulse:
            return change.seq >= self._known.get(change.id, 0)
        return change.seq > max(self._told, self._known.get(change.id, 0))

    async def _begin(self) -> AsyncIterator[str | Change]:
        """A snapshot, or what was missed. What is older than that is not told again."""
        service = self._call.service
        since = self._call.query.since
        seq = await service.sequence()
        if since is not None and since <= seq:
            while changes := await service.changes(since):
                for change in changes:
                    since = change.seq
                    if self._job is None or change.id == self._job:
                        yield change
            self._told = since
            return
        jobs: list[Job] = []
        if self._job is not None:
            with contextlib.suppress(NoSuchJob):
                jobs = [await service.job(self._job)]
        else:
            made = await service.jobs(states=[State.PROCESSING], limit=_SHOWN)
            newest = await service.jobs(limit=_SHOWN)
            jobs = list({job.id: job for job in (*newest.jobs, *made.jobs)}.values())
        self._told = seq
        self._known = {job.id: job.seq for job in jobs}
        yield wire.snapshot(seq, jobs, self._call.language, self._call.options.prefix)


def _keep_small(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.set_write_buffer_limits(high=_BUFFER)
        raw = request.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, _KERNEL_BUFFER)
