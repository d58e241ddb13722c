"""What stands before every handler: who may ask, what a body may be, and what every answer says to browsers.

Closed by default: only names that are served, only pages of those names, no packed bodies. A request without ``Origin``
comes from no browser page and is let in. Tokens and quotas will stand here as well.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from vcompose.web.fault import Fault
from vcompose.web.operation import OPTIONS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ALWAYS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Names that are always served."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
"""What every answer says, unless it says something stricter itself."""

_ORIGIN: Final = re.compile(r"https?://([^/?#@\s]+)", re.IGNORECASE | re.ASCII)
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what may not come in."""
    check(request)
    return await handler(request)


def check(request: web.Request) -> None:
    """Raises Fault for what may not come in."""
    served = ALWAYS | request.app[OPTIONS].hosts
    host = _name(request.headers.get("Host", ""))
    if len(request.headers.getall("Host", [])) != 1 or host not in served:
        raise Fault(
            "host_not_allowed",
            "this server is not known by that name: call it by its own, or have the operator add it "
            "(vcompose serve --hosts NAME)",
        )
    if not all(map(_is_text, request.headers.values())):
        raise Fault("bad_request", "a header of the request holds bytes that are no text", close=True)
    for origin in request.headers.getall("Origin", []):
        match = _ORIGIN.fullmatch(origin)
        if match is None or _name(match[1]) not in served:
            raise Fault("origin_not_allowed", "a page from elsewhere may not use this server")
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise Fault("compressed_body", "send the body as it is, without Content-Encoding", close=True)


async def stricter(request: web.Request, response: web.StreamResponse) -> None:
    """Put the strict headers on every answer."""
    harden(response)
    if request.path.startswith("/api/"):
        response.headers.setdefault("Cache-Control", "no-store")


def harden(response: web.StreamResponse) -> None:
    """The strict headers."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if response.status >= 400:
        response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Server"] = "vcompose"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a byte that was no UTF-8, in the library's disguise
        return False
    return True


def host_name(text: str) -> str:
    """A host name as an operator writes it, in the form that it is compared in. Raises ValueError."""
    name = _name(text if not text.count(":") > 1 or text.startswith("[") else f"[{text}]")
    if name is None:
        raise ValueError(f"{text!r} is no host name: write it like films.example.org")
    return name


def _name(netloc: str) -> str | None:
    match = _HOST.fullmatch(netloc)
    return match[1].lower().removesuffix(".") if match else None
