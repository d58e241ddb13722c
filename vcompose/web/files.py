"""Files on their way out: ranges, conditions, and a name that a browser can only take as a name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from aiohttp import web

from vcompose.web.fault import Fault
from vcompose.web.operation import Query


class Download(Query):
    """``download=1`` sends the file as an attachment."""

    download: Literal["0", "1"] = "0"

    @property
    def attach(self) -> bool:
        """Whether it is to be saved rather than shown."""
        return self.download == "1"


def send(request: web.Request, path: Path, name: str, media: str, *, attach: bool) -> web.FileResponse:
    """A file as a response; the kernel moves its bytes."""
    if re.fullmatch(r"\s*bytes\s*=\s*-0+\s*", request.headers.get("Range", "")):  # "the last 0 bytes" are no range
        raise Fault("range_not_satisfiable", "a range of no bytes was asked for", headers={"Accept-Ranges": "bytes"})
    response = web.FileResponse(path)
    response.content_type = media
    response.headers["Content-Disposition"] = disposition(name, attach=attach)
    response.headers["Cache-Control"] = "private, no-cache"
    # shown in a page of its own it is still a stranger's file
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
    )
    return response


def disposition(name: str, *, attach: bool) -> str:
    """``Content-Disposition`` (RFC 6266): the name in full as UTF-8, and in plain letters for old clients."""
    plain = re.sub(r"[^A-Za-z0-9 ._()\[\]-]", "_", name)
    full = quote(name.encode("utf-8", "replace"), safe="")
    return f"{'attachment' if attach else 'inline'}; filename=\"{plain}\"; filename*=UTF-8''{full}"
