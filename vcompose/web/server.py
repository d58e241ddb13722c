"""The server beneath the application: connections, what the parser refuses, and what a request may expect."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_request import BaseRequest

from vcompose.jobs.job import JobError
from vcompose.web import wire
from vcompose.web.fault import Fault
from vcompose.web.guard import check, harden
from vcompose.web.operation import SERVICE, language, problem_answer
from vcompose.web.problems import preferred

log = structlog.get_logger("vcompose.web")

_BACKLOG: Final = 1024
_UNREAD_SECONDS: Final = 600
"""A paused player reads nothing for a while, and asks again when its connection is gone."""
Expecting = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens; ``port`` 0 takes a free one."""

    host: str
    port: int
    header_seconds: float = 10.0
    """Seconds until a request's header must be there, and that a quiet connection is kept."""


class _Connection(web.RequestHandler):
    """One connection. What its parser refuses is answered like everything else, and no stranger writes traces."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the kernel end a connection whose reader takes nothing for long: a film's would be held for ever."""
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with contextlib.suppress(OSError):  # no TCP
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_SECONDS * 1000)

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called by the library for what is no request, and for what escapes the application."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if status >= 500:
            log.error("request_broken", exc_info=exc)
            code, detail = "internal_error", "the server made a mistake; its log says which"
        elif isinstance(exc, LineTooLong):
            code, detail = "header_too_large", "the request's header is too large"
        else:
            code, detail = "bad_request", "this is no HTTP request"
        log.info("request_refused", code=code, remote=request.remote)
        problem = wire.problem(code, detail, preferred(request.headers.get(hdrs.ACCEPT_LANGUAGE)))
        response = problem_answer(problem)
        harden(response)
        response.force_close()
        return response


@contextlib.asynccontextmanager
async def listening(app: web.Application, address: Address) -> AsyncIterator[int]:
    """Serve an application; gives the port. Raises OSError when the address cannot be had."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    try:
        loop = asyncio.get_running_loop()
        manager = runner.server
        assert manager is not None

        def connection() -> _Connection:
            # no access log: the application writes a line for each request itself
            return _Connection(
                manager,
                loop=loop,
                access_log=None,  # type: ignore[arg-type]
                keepalive_timeout=address.header_seconds,
                auto_decompress=False,
            )

        server = await loop.create_server(connection, address.host, address.port, backlog=_BACKLOG)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
    finally:
        await runner.cleanup()


def expecting(*, upload: bool) -> Expecting:
    """What ``Expect: 100-continue`` is told: to go on only where the request would not be refused for its header."""

    async def told(request: web.Request) -> web.StreamResponse | None:
        if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
            problem = wire.problem("expectation_failed", "only Expect: 100-continue is understood", language(request))
            response = problem_answer(problem)
            response.force_close()
            return response
        try:
            check(request)
            if upload:
                request.app[SERVICE].admit(request.content_length or 0)
        except (Fault, JobError):
            return None  # the final answer comes instead
        if request.version == HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer itself has not begun
        return None

    return told
