"""HTTP as bytes over a socket: for what no client would send, and for seeing all that comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

PATIENCE: Final = 20.0
"""Seconds after which a test says that an answer does not come."""

STRICT: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "server": "vcompose",
}
"""What every answer must say, whoever made it."""
UPGRADE: Final = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; the names of its headers are in small letters."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """A header that may be there once at most."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, f"{name} is there {len(found)} times: {found}"
        return found[0] if found else None

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def assert_strict(self) -> None:
        """Every strict header is there, and nothing tells what the server is made of."""
        for name, value in STRICT.items():
            assert self.header(name) == value, f"{name}: {self.header(name)} in {self.status}"
        policy = self.header("content-security-policy") or ""
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "script-src 'unsafe-inline'" not in policy
        assert self.header("permissions-policy")
        told = b"".join(f"{name}: {value}\n".encode() for name, value in self.headers) + self.body
        for word in (b"aiohttp", b"Python/"):
            assert word not in told, f"{word.decode()} is told: {told[:300]!r}"

    def assert_problem(self, status: int, code: str) -> dict[str, Any]:
        """It is a problem document (RFC 9457) of that status and code; gives it."""
        assert (self.status, self.header("content-type")) == (status, "application/problem+json; charset=utf-8"), self
        self.assert_strict()
        assert self.header("cache-control") == "no-store"
        document: dict[str, Any] = self.document
        assert (document["status"], document["code"]) == (status, code), document
        assert document["type"] == f"urn:vcompose:problem:{code}"
        assert isinstance(document["title"], str)
        assert document["title"]
        assert isinstance(document["detail"], str)
        assert document["detail"]
        return document


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes; a connection that the other side closed meanwhile is no error here."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def reply(self, *, head: bool = False) -> Reply:
        """The next answer."""
        async with asyncio.timeout(PATIENCE):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
            status = int(first.split(" ")[1])
            headers: list[tuple[str, str]] = []
            for line in lines:
                name, separator, value = line.partition(":")
                assert separator, f"no header: {line!r}"
                headers.append((name.strip().lower(), value.strip()))
            given = dict(headers)
            body = b""
            if head or status in {101, 204, 304} or status == 100:
                pass
            elif "chunked" in given.get("transfer-encoding", ""):
                while size := int(await self.reader.readline(), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readline()
            elif "content-length" in given:
                body = await self.reader.readexactly(int(given["content-length"]))
            else:
                body = await self.reader.read()
        return Reply(status=status, headers=tuple(headers), body=body)

    async def closed(self, seconds: float = PATIENCE) -> bytes:
        """What still comes until the other side closes. Raises TimeoutError when it does not."""
        rest = bytearray()
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionError):
                while data := await self.reader.read(1 << 16):
                    rest += data
        return bytes(rest)


@contextlib.asynccontextmanager
async def wire(url: str, *, receive: int | None = None) -> AsyncIterator[Wire]:
    """Connect to a server; ``receive`` are the bytes that the kernel takes ahead of the reader."""
    parts = urlsplit(url)
    raw = socket.socket()
    if receive is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (parts.hostname, parts.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=receive or 1 << 16)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def request(
    method: str, path: str, *headers: bytes, body: bytes = b"", host: bytes | None = b"localhost", length: bool = True
) -> bytes:
    """A request as bytes; ``headers`` are whole lines without their ends."""
    lines = [f"{method} {path} HTTP/1.1".encode(), *headers]
    if host is not None:
        lines.insert(1, b"Host: " + host)
    if length and (body or method in {"POST", "PUT", "PATCH"}):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def ask(url: str, method: str, path: str, *headers: bytes, **arguments: Any) -> Reply:
    """One request on a connection of its own, and its answer."""
    async with wire(url) as connection:
        await connection.send(request(method, path, *headers, **arguments))
        return await connection.reply(head=method == "HEAD")
