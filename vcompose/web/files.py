"""Files on their way out: ranges, conditions, and a name that a browser can only take as a name."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from vcompose.web.fault import Fault
from vcompose.web.operation import Query

_SANDBOX: Final = "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
"""Shown in a page of its own it is still a stranger's file."""
_RANGE: Final = re.compile(r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*")
"""One range of bytes (RFC 9110, 14.1.2)."""


class Download(Query):
    """``download=1`` sends the file as an attachment."""

    download: Literal["0", "1"] = "0"

    @property
    def attach(self) -> bool:
        """Whether it is to be saved rather than shown."""
        return self.download == "1"


class _Sent(web.FileResponse):
    """A file that was sent within its handler: there its status and its time are known to the log."""

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Once is enough; the library asks again afterwards."""
        return self._payload_writer if self.prepared else await super().prepare(request)


async def send(request: web.Request, path: Path, name: str, media: str, *, attach: bool) -> web.StreamResponse:
    """Send a file; the kernel moves its bytes.

    Raises Fault: ``not_found``, ``precondition_failed``, ``range_not_satisfiable``.
    """
    try:
        status = await asyncio.to_thread(path.stat)
    except OSError as error:
        raise Fault("not_found", "the file is no longer there") from error
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'  # as the response below names it
    wanted = request.headers.get(hdrs.IF_MATCH)
    if wanted is not None:
        same = names(wanted, etag)
    else:
        unmodified = request.if_unmodified_since
        same = unmodified is None or int(status.st_mtime) <= unmodified.timestamp()
    if not same:
        raise Fault("precondition_failed", "the file is not the one that you have: take it anew")
    known = request.headers.get(hdrs.IF_NONE_MATCH, "")
    passed_over: set[str] = {hdrs.ACCEPT_ENCODING}  # a packed twin beside the file is not the file
    if not names(known, etag):
        passed_over |= _checked(request, status.st_size, etag)
    headers = request.headers.copy()
    for name_of in passed_over:
        headers.popall(name_of, None)
    request = request.clone(headers=headers)
    response = _Sent(path)
    response.content_type = media
    response.headers[hdrs.CONTENT_DISPOSITION] = disposition(name, attach=attach)
    response.headers[hdrs.CACHE_CONTROL] = "private, no-cache"
    response.headers["Content-Security-Policy"] = _SANDBOX
    await response.prepare(request)
    return response


def _checked(request: web.Request, size: int, etag: str) -> set[str]:
    """Check the range; gives the headers to pass over: a range of several parts, of another unit or of another file is
    none, and the whole is sent. Raises Fault (``range_not_satisfiable``).
    """
    asked = request.headers.get(hdrs.RANGE)
    if asked is None:
        return set()
    match = _RANGE.fullmatch(asked.strip())
    condition = request.headers.get(hdrs.IF_RANGE)
    other = condition is not None and condition.strip() != etag and condition.lstrip()[:1] in {'"', "W"}
    if match is None or other:
        return {hdrs.RANGE}
    first, last, suffix = match.groups()
    beyond = int(suffix) == 0 if suffix is not None else int(first) >= size or (last != "" and int(last) < int(first))
    if beyond or size == 0:
        raise Fault(
            "range_not_satisfiable",
            f"the file has {size} bytes, and that range holds none of them",
            headers={hdrs.CONTENT_RANGE: f"bytes */{size}", hdrs.ACCEPT_RANGES: "bytes"},
        )
    return set()


def names(header: str, etag: str) -> bool:
    """Whether a list of entity tags (RFC 9110, 13.1.1 and 13.1.2) holds one; ``*`` is any."""
    return header.strip() == "*" or etag in re.findall(r'"[^"]*"', header)


def disposition(name: str, *, attach: bool) -> str:
    """``Content-Disposition`` (RFC 6266): the name in full as UTF-8, and in plain letters for old clients."""
    plain = re.sub(r"[^A-Za-z0-9 ._()\[\]-]", "_", name)
    full = quote(name.encode("utf-8", "replace"), safe="")
    return f"{'attachment' if attach else 'inline'}; filename=\"{plain}\"; filename*=UTF-8''{full}"
