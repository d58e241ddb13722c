"""Clips: receiving them, telling what is in them, giving them back, taking them away."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import PurePath
from typing import Annotated, Final
from urllib.parse import unquote

from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import Field

from vcompose.jobs.intake import clean_name
from vcompose.jobs.shelf import StoredClip
from vcompose.web import wire
from vcompose.web.fault import Fault
from vcompose.web.files import Download, send
from vcompose.web.operation import Answer, Call, NoQuery, Query, answer, idle_limited, operation

_BLOCK: Final = 1 << 18
_MOST_FIELDS: Final = 16
_ODD: Final = (BadContentDispositionHeader, BadContentDispositionParam)
_BROKEN: Final = (ValueError, RuntimeError, AssertionError, HttpProcessingError, web.RequestPayloadError, *_ODD)
"""What the library raises for a form that is none, or warns of."""
for _kind in _ODD:
    warnings.filterwarnings("ignore", category=_kind)  # a stranger's words have no place on our stderr
_MOST_FIELD: Final = 1 << 16

_MEDIA: Final = {"MP4 or MOV": "video/mp4", "Matroska or WebM": "video/x-matroska", "AVI": "video/x-msvideo"}
_BY_SUFFIX: Final = {".mov": "video/quicktime", ".qt": "video/quicktime", ".webm": "video/webm"}
"""Families whose members browsers tell apart; a name decides nothing but this."""


class Page(Query):
    """A page of a list: how many, and which (the ``next`` of the page before)."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,15}$")] | None = None

    @property
    def before(self) -> int | None:
        """The cursor as a number."""
        return None if self.cursor is None else int(self.cursor)


@operation(
    "POST",
    "/clips",
    summary="Upload one clip as the file of a multipart form",
    upload=True,
    answers={201: Answer(text="The clip", model=wire.ClipDocument, headers={"Location": "the clip's address"})},
    problems=(
        "bad_multipart", "unsupported_media_type", "too_large", "request_timeout", "empty_file", "not_a_video",
        "no_space", "stopping",
    ),
)  # fmt: skip
async def upload_clip(call: Call[NoQuery, None]) -> web.StreamResponse:
    """The file is hashed as it comes and never held in memory."""
    request = call.request
    if request.content_type != "multipart/form-data":
        raise Fault("unsupported_media_type", "send the file as a multipart form: curl -F file=@clip.mp4")
    call.service.admit(request.content_length or 0)
    with _form_errors():
        reader = await request.multipart()
    part = await _next_file(reader, request)
    if part is None:
        raise Fault("bad_multipart", "the multipart form has no file: curl -F file=@clip.mp4", close=True)
    name = clean_name(_decoded(part.filename or ""))
    async with call.service.receive(name, expected=request.content_length) as incoming:
        while block := await _read(request, lambda: part.read_chunk(_BLOCK)):
            await incoming.write(block)
        if await _next_file(reader, request) is not None:
            raise Fault("bad_multipart", "the multipart form has two files: send one a request", close=True)
        stored = await call.service.add(incoming)
    return answer(
        wire.clip(stored), status=201, headers={"Location": f"{call.options.prefix}{wire.API}/clips/{stored.id}"}
    )


def _decoded(name: str) -> str:
    """A file's name as the form tells it: browsers escape the quotation mark, some libraries all that is not ASCII."""
    with contextlib.suppress(UnicodeDecodeError):
        decoded = unquote(name, errors="strict")
        if name.isascii() and not decoded.isascii():
            return decoded
    return name.replace("%22", '"')


async def _next_file(reader: MultipartReader, request: web.Request) -> BodyPartReader | None:
    """The form's next file; fields before it are passed over."""
    for _ in range(_MOST_FIELDS):
        part = await _next(reader, request)
        if part is None or part.filename is not None:
            return part
        await _pass_over(part, request)
    return None


async def _next(reader: MultipartReader, request: web.Request) -> BodyPartReader | None:
    found: list[BodyPartReader | None] = []

    async def read() -> bytes:
        part = await reader.next()
        if isinstance(part, MultipartReader):
            raise Fault("bad_multipart", "the multipart form holds another one: send the file alone", close=True)
        found.append(part)
        return b""

    await _read(request, read)
    return found[0]


async def _read(request: web.Request, read: Callable[[], Awaitable[bytes]]) -> bytes:
    """The next bytes of a form. Raises Fault for one that is broken, or stops coming."""
    with _form_errors():
        return await idle_limited(request, read)


@contextlib.contextmanager
def _form_errors() -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise Fault("bad_multipart", "the multipart form is broken: send the file again", close=True) from error


async def _pass_over(part: BodyPartReader, request: web.Request) -> None:
    left = _MOST_FIELD
    while block := await _read(request, lambda: part.read_chunk(8192)):
        left -= len(block)
        if left < 0:
            raise Fault("bad_multipart", "a field of the multipart form is too long", close=True)


@operation(
    "GET",
    "/clips",
    summary="The clips, newest first",
    query=Page,
    answers={200: Answer(text="A page of clips", model=wire.ClipList)},
)
async def list_clips(call: Call[Page, None]) -> web.StreamResponse:
    """A page of clips."""
    page = await call.service.clips(before=call.query.before, limit=call.query.limit)
    items = [wire.clip(one) for one in page.clips]
    return answer(wire.ClipList(items=items, next=None if page.next is None else str(page.next)))


@operation(
    "GET",
    "/clips/{clip}",
    summary="A clip, and what was found in it",
    answers={200: Answer(text="The clip", model=wire.ClipDocument)},
    problems=("not_found",),
)
async def get_clip(call: Call[NoQuery, None]) -> web.StreamResponse:
    """One clip."""
    return answer(wire.clip(await call.service.clip(call.path("clip"))))


@operation(
    "GET",
    "/clips/{clip}/content",
    summary="The clip's bytes, whole or a range of them",
    query=Download,
    answers={
        200: Answer(text="All bytes", media="video/*"),
        206: Answer(text="A range of the bytes", media="video/*"),
        304: Answer(text="They are as you have them"),
    },
    problems=("not_found", "range_not_satisfiable", "precondition_failed"),
)
async def get_clip_content(call: Call[Download, None]) -> web.StreamResponse:
    """A clip's bytes."""
    clip = await call.service.clip(call.path("clip"))
    return await send(call.request, call.service.content(clip), clip.name, _media(clip), attach=call.query.attach)


@operation(
    "DELETE",
    "/clips/{clip}",
    summary="Take a clip away; its films stay",
    answers={204: Answer(text="It is gone")},
    problems=("not_found", "clip_in_use"),
)
async def delete_clip(call: Call[NoQuery, None]) -> web.StreamResponse:
    """Take a clip away."""
    await call.service.delete_clip(call.path("clip"))
    return web.Response(status=204)


def _media(clip: StoredClip) -> str:
    container = str(clip.found["container"])
    if container not in _MEDIA:
        return "application/octet-stream"
    return _BY_SUFFIX.get(PurePath(clip.name).suffix.lower(), _MEDIA[container])
