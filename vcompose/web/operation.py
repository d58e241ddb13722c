"""Operations: one declaration each for what is called, what is asked, what is answered.

The declaration is the single source: the request is validated by it, the answer's schema is published from it, and
``/openapi.json`` can say nothing that the handlers do not do.
"""

# ruff: noqa: RUF001 - Chinese punctuation is meant

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from vcompose.jobs.service import Service
from vcompose.web import wire
from vcompose.web.fault import Fault
from vcompose.web.problems import Language, preferred


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an operator chose for the web: host names that are served, a proxy's path prefix, bytes of a JSON body,
    seconds without a byte of a body, seconds after which a request is slow, seconds between heartbeats, seconds that a
    socket's reader may take nothing.
    """

    hosts: frozenset[str] = frozenset()
    prefix: str = ""
    most_body: int = 1 << 20
    body_idle: float = 30.0
    slow: float = 0.5
    heartbeat: float = 5.0
    send: float = 0.9


SERVICE: Final = web.AppKey("service", Service)
OPTIONS: Final = web.AppKey("options", Options)


_MOST_ISSUES: Final = 20
_WHAT: Final = {
    "extra_forbidden": ("there is no such field", "没有这个字段"),
    "missing": ("it is missing", "缺少该字段"),
    "string_type": ("it must be text", "应为文本"),
    "float_type": ("it must be a number", "应为数字"),
    "int_type": ("it must be a whole number", "应为整数"),
    "int_parsing": ("it must be a whole number", "应为整数"),
    "float_parsing": ("it must be a number", "应为数字"),
    "list_type": ("it must be a list", "应为列表"),
    "model_type": ("it must be an object", "应为对象"),
    "model_attributes_type": ("it must be an object", "应为对象"),
}
"""Faults that are common, in words of ours: English and Chinese."""


class Query(BaseModel):
    """What may stand behind the question mark: lax about numbers in texts, strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Query):
    """Nothing may."""


_Q = TypeVar("_Q", bound=Query)
_B = TypeVar("_B", bound="BaseModel | None")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[_Q, _B]):
    """One validated request."""

    request: web.Request
    query: _Q
    body: _B

    @property
    def service(self) -> Service:
        """The jobs' room."""
        return self.request.app[SERVICE]

    @property
    def options(self) -> Options:
        """What the operator chose."""
        return self.request.app[OPTIONS]

    @property
    def language(self) -> Language:
        """The reader's."""
        return language(self.request)

    def path(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer that an operation may give: its model (None: no document), media type and headers."""

    text: str
    model: type[BaseModel] | None = None
    media: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A declared operation. ``problems`` are the codes of the errors that are particular to it; ``upload`` tells that
    its body is a multipart file.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Callable[[Call[Any, Any]], Awaitable[web.StreamResponse]]
    query: type[Query]
    body: type[BaseModel] | None
    answers: dict[int, Answer]
    problems: tuple[str, ...]
    headers: dict[str, str]
    upload: bool = False

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Validate, then call the handler."""
        query = _query(self.query, request)
        body = None if self.body is None else await _body(self.body, request)
        return await self.handler(Call(request=request, query=query, body=body))


_Handler = Callable[[Call[Any, Any]], Awaitable[web.StreamResponse]]


def operation(
    method: str,
    path: str,
    *,
    summary: str,
    answers: dict[int, Answer],
    query: type[Query] = NoQuery,
    body: type[BaseModel] | None = None,
    problems: tuple[str, ...] = (),
    headers: dict[str, str] | None = None,
    upload: bool = False,
) -> Callable[[_Handler], Operation]:
    """Declare an operation; the handler's name is its id."""

    def declare(handler: _Handler) -> Operation:
        return Operation(
            method=method,
            path=path,
            name=handler.__name__,
            summary=summary,
            handler=handler,
            query=query,
            body=body,
            answers=answers,
            problems=problems,
            headers=headers or {},
            upload=upload,
        )

    return declare


def language(request: web.Request) -> Language:
    """The language that a request is answered in."""
    return preferred(request.headers.get("Accept-Language"))


def answer(document: BaseModel, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A document as a response."""
    return answer_text(wire.text(document), status=status, headers=headers)


def answer_text(text: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A document that is JSON already, as a response."""
    return web.Response(
        text=text,
        status=status,
        content_type="application/json",
        headers={"Vary": "Accept-Language", **(headers or {})},
    )


def problem_answer(problem: wire.Problem, headers: dict[str, str] | None = None) -> web.Response:
    """A problem document as a response."""
    return web.Response(
        text=wire.text(problem), status=problem.status, content_type="application/problem+json", headers=headers
    )


async def idle_limited(request: web.Request, read: Callable[[], Awaitable[bytes]]) -> bytes:
    """The next bytes of a body. Raises Fault (``request_timeout``) when none comes for too long."""
    reading = asyncio.ensure_future(read())
    try:
        while True:
            came = request.content.total_bytes
            done, _ = await asyncio.wait([reading], timeout=request.app[OPTIONS].body_idle)
            if done:
                return reading.result()
            if request.content.total_bytes == came:  # else it comes slowly, and that is no fault
                raise Fault("request_timeout", "the request's body stopped coming: send it again", close=True)
    finally:
        if not reading.done():
            reading.cancel()
            await asyncio.wait([reading])
        if not reading.cancelled():
            reading.exception()  # a connection lost is told by our own cancellation: nobody else need hear of it


async def _body(model: type[BaseModel], request: web.Request) -> BaseModel:
    if request.content_type != "application/json":
        raise Fault("unsupported_media_type", "send JSON, and say so: Content-Type: application/json")
    limit = request.app[OPTIONS].most_body
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    data = bytearray()
    while block := await idle_limited(request, request.content.readany):
        data += block
        if len(data) > limit:
            raise _too_large(limit)
    try:
        return model.model_validate_json(bytes(data))
    except ValidationError as error:
        raise _invalid("the request", error) from error


def _too_large(limit: int) -> Fault:
    return Fault("too_large", f"the request is larger than {limit} bytes", parameters={"limit": limit}, close=True)


def _query(model: type[Query], request: web.Request) -> Query:
    values: dict[str, object] = {}
    for name in request.query:
        given = request.query.getall(name)
        several = name in model.model_fields and "list" in str(model.model_fields[name].annotation)
        if not several and len(given) > 1:
            raise Fault("bad_request", f"{name} is given {len(given)} times in the address: give it once")
        values[name] = given if several else given[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _invalid("the address", error) from error


def _invalid(what: str, error: ValidationError) -> Fault:
    if error.error_count() > _MOST_ISSUES:  # a list of ninety thousand would hold the loop
        return Fault("bad_request", f"{what} has {error.error_count()} faults: look up its form in /docs")
    found = error.errors(include_url=False, include_context=False, include_input=False)
    code = "bad_json" if any(one["type"] == "json_invalid" for one in found) else "bad_request"
    # of the place only what stands in the document: the model's own parts are not the reader's
    told = sorted(
        {
            (".".join(str(part) for part in one["loc"] if not set("[(") & set(str(part))), one["type"], one["msg"])
            for one in found
        }
    )
    issues = [
        wire.Issue(where=_plain(where), what=_plain(_WHAT.get(kind, (message, ""))[0])) for where, kind, message in told
    ]
    first, (_, kind, message) = issues[0], told[0]
    at = f"{first.where}: " if first.where else ""
    chinese = _WHAT.get(kind, ("", _plain(message)))[1]
    return Fault(
        code,
        f"{what} is not as it must be: {at}{first.what}",
        errors=issues,
        parameters={"where": at.replace(": ", "：") + chinese},
    )


def _plain(text: str) -> str:
    """Text that can stand in JSON whatever a stranger sent."""
    return text.encode("utf-8", "replace").decode()[:300]
