"""The description of the interface: it is one, it leaves nothing out, and the server keeps to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import requests
import schemathesis
from conftest import MakeClip
from filmmaker import Filmmaking
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from rawhttp import ask
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok
from scripted import Library
from serving import API, Serving, serving

from vcompose import assets
from vcompose.jobs.service import Limits
from vcompose.media.tools import Tools
from vcompose.web.application import build
from vcompose.web.operation import Options
from vcompose.web.problems import KINDS

EXAMPLES: Final = 18
"""Requests for each operation, of those that are as described, and again of those that are not."""


async def described(service: Serving) -> dict[str, Any]:
    """The document that the server gives."""
    reply = await ask(service.url, "GET", "/openapi.json")
    assert reply.header("content-type") == "application/json; charset=utf-8"
    document: dict[str, Any] = reply.document
    return document


async def test_it_is_openapi(service: Serving) -> None:
    document = await described(service)
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()
    text = json.dumps(document)
    assert "$defs" not in text
    for reference in re.findall(r'"\$ref": "([^"]+)"', text):
        assert reference.startswith("#/components/schemas/")
        assert reference.rpartition("/")[2] in document["components"]["schemas"], reference
    assert "function-" not in text
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))


async def test_it_leaves_nothing_out(service: Serving) -> None:
    document = await described(service)
    app = build(service.service, Options(), static=assets.static(), version="0")
    served = set()
    for route in app.router.routes():
        assert route.resource is not None
        if route.method != "HEAD":
            served.add((route.method.lower(), route.resource.canonical))
    told = {(method, path) for path, methods in document["paths"].items() for method in methods}
    pages = {"/", "/docs", "/openapi.json", "/static/{name}"}
    assert told == {one for one in served if one[1] not in pages}
    assert sum(path.startswith(API) for _, path in told) >= 15
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            parts = set(re.findall(r"\{(\w+)\}", path))
            declared = {p["name"] for p in one.get("parameters", ()) if p["in"] == "path"}
            assert declared == parts, (method, path)
            assert one["summary"]
            for status in ("400", "403", "415", "421", "500"):
                content = one["responses"][status]["content"]
                assert set(content) == {"application/problem+json"}, (method, path, status)


async def test_every_code_is_known(service: Serving) -> None:
    document = await described(service)
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            for status, answer in one["responses"].items():
                if int(status) >= 400 and answer["description"].startswith("A problem: "):
                    for code in answer["description"].removeprefix("A problem: ").split(", "):
                        assert KINDS[code].status == int(status), (method, path, code)


async def test_a_proxys_prefix_is_in_it(tmp_path: Path, tools: Tools) -> None:
    async with serving(tmp_path / "data", tools, options=Options(prefix="/films")) as service:
        document = await described(service)
        assert document["servers"] == [{"url": "/films"}]
        OpenAPIV31SpecValidator(document).validate()


async def test_messages_are_described(service: Serving) -> None:
    schemas = (await described(service))["components"]["schemas"]
    for name, kind in (("SnapshotMessage", "snapshot"), ("JobMessage", "job"), ("DeletedMessage", "deleted"),
                       ("HeartbeatMessage", "heartbeat")):  # fmt: skip
        assert schemas[name]["properties"]["type"]["const"] == kind
    assert set(schemas["JobDocument"]["required"]) == {
        "id", "state", "percent", "stage", "seq", "attempt", "speed", "seconds_left", "created", "started", "finished",
        "error", "output", "clips",
    }  # fmt: skip


async def test_jobs_and_messages_are_as_described(
    tmp_path: Path, tools: Tools, library: Library, make_clip: MakeClip
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(make_clip("1.mp4", seed=1, size="64x64", seconds=0.4).read_bytes())
    films = Filmmaking(film, held=True)
    options = Options(heartbeat=0.2)
    limits = Limits(grace=0.0, keep_free=0, jobs=1)
    data = library.copy(tmp_path / "data")
    async with serving(data, tools, limits=limits, options=options, filmmaker=films) as service:
        document = await described(service)

        def keeps(name: str, told: Any) -> None:
            schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
            OAS31Validator(schema).validate(told)

        seen: dict[str, set[str]] = {"types": set(), "states": set()}
        names = {
            "snapshot": "SnapshotMessage",
            "job": "JobMessage",
            "deleted": "DeletedMessage",
            "heartbeat": "HeartbeatMessage",
        }

        async def listen(socket: aiohttp.ClientWebSocketResponse) -> None:
            async for message in socket:
                told = json.loads(message.data)
                seen["types"].add(told["type"])
                seen["states"] |= {told["job"]["state"]} if told["type"] == "job" else set()
                keeps(names[told["type"]], told)

        async with service.session.ws_connect(f"{service.url}{API}/ws") as socket:
            listening = asyncio.create_task(listen(socket))
            jobs = [await service.submit(*library.clips, size="80x64") for _ in range(4)]
            await films.begun.wait()
            films.tell(40)
            await service.call(
                "GET", f"/compositions/{jobs[0]['id']}", params={"after": jobs[0]["seq"] + 1, "wait": "20"}
            )
            await service.call("POST", f"/compositions/{jobs[1]['id']}/cancel")
            for path, name in (("/compositions", "JobList"), ("/events", "EventList"), ("/clips", "ClipList")):
                keeps(name, (await service.call("GET", path))[1])
            film.rename(tmp_path / "away")  # what is being made cannot be made
            films.let()
            assert (await service.ended(jobs[0]["id"]))["state"] == "failed"
            (tmp_path / "away").rename(film)
            done = await service.submit(*library.clips[:2])
            assert (await service.ended(done["id"]))["state"] == "completed"
            await service.call("DELETE", f"/compositions/{jobs[1]['id']}")
            for path, name in (("/compositions", "JobList"), ("/events", "EventList")):
                keeps(name, (await service.call("GET", path, headers={"Accept-Language": "zh"}))[1])
            async with asyncio.timeout(20):
                while seen["types"] != set(names):
                    await asyncio.sleep(0.05)
            assert not listening.done(), listening.result()
            listening.cancel()
        assert seen["states"] == {"pending", "processing", "completed", "failed", "cancelled"}
        wanted = {"clips": [{"clip": clip} for clip in library.clips]}
        keeps("PlanDocument", (await service.call("POST", "/compositions/plan", json=wanted))[1])
        keeps("Problem", (await service.call("POST", "/compositions/plan", json={"clips": [1]}))[1])
        keeps("Problem", (await service.call("DELETE", "/compositions/j_nobody"))[1])


# ---- the server keeps to it ------------------------------------------------------------------------------------------


@contextmanager
def elsewhere(
    make: Callable[[], AbstractAsyncContextManager[Serving]],
) -> Iterator[tuple[Serving, Callable[[Any], Any]]]:
    """Serve in a thread of its own, for a client that blocks; the second runs coroutines there."""
    ready = threading.Event()
    made: list[tuple[Serving, asyncio.AbstractEventLoop, asyncio.Event]] = []
    failed: list[BaseException] = []

    async def serve() -> None:
        async with make() as service:
            stop = asyncio.Event()
            made.append((service, asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(60)
    try:
        assert made, failed
        service, loop, _ = made[0]
        yield service, lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)
    finally:
        for _, loop, stop in made:
            loop.call_soon_threadsafe(stop.set)
        thread.join(60)
    assert not failed, failed


UNREASONABLE: Final = [
    # a schema cannot say that a clip must be there, that two make a film, or that bytes must be a video: such requests
    # are refused with 400 and 422, which are described
    "positive_data_acceptance",
]


@pytest.mark.timeout(180)
def test_the_server_keeps_to_it(tmp_path: Path, tools: Tools, library: Library, make_clip: MakeClip) -> None:
    film = make_clip("1.mp4", seed=1, size="64x64", seconds=0.4)

    def make() -> AbstractAsyncContextManager[Serving]:
        limits = Limits(grace=0.0, keep_free=0, upload=1 << 20)
        return serving(library.copy(tmp_path / "data"), tools, limits=limits, filmmaker=Filmmaking(film))

    with elsewhere(make) as (service, run), requests.Session() as session:
        one, other, spare = library.clips
        done = run(_completed(service, one, other))
        gone = run(_completed(service, one, other))
        document = session.get(f"{service.url}/openapi.json", timeout=20).json()
        schema = schemathesis.openapi.from_dict(document)
        excluded = CHECKS.get_by_names(UNREASONABLE)
        met: dict[str, set[int]] = {}

        def check(operation: Any, mode: Any, real: dict[str, str]) -> None:
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
            def asked(case: Any, known: bool) -> None:
                if known and mode is schemathesis.GenerationMode.POSITIVE:
                    _made_real(case, real, one, other)
                _hurried(case)
                answer = case.call_and_validate(
                    base_url=service.url, session=session, excluded_checks=excluded, timeout=30
                )
                met.setdefault(operation.label, set()).add(answer.status_code)

            # nothing is wrong for an operation that takes any text
            with contextlib.suppress(Unsatisfiable):
                asked()

        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            if operation.path.endswith("/ws"):  # no requests with answers
                continue
            deletes = operation.method.lower() == "delete"
            real = {"clip": spare if deletes else one, "job": gone["id"] if deletes else done["id"]}
            for mode in schemathesis.GenerationMode:
                check(operation, mode, real)
        assert run(_alive(service))
    assert len(met) >= 16
    statuses = set().union(*met.values())
    assert {200, 202, 204, 400, 404, 422} <= statuses, met
    assert not {status for status in statuses if status >= 500} - {503, 507}, met


def _made_real(case: Any, real: dict[str, str], one: str, other: str) -> None:
    """Names of things that are there, where the schema can only say that they are texts."""
    for name, value in real.items():
        if case.path_parameters and name in case.path_parameters:
            case.path_parameters[name] = value
    if isinstance(case.body, dict) and isinstance(case.body.get("clips"), list):
        case.body["clips"] = [{"clip": one}, {"clip": other}]
        case.body.pop("transition", None)
        wanted = case.body.get("output")
        if isinstance(wanted, dict):
            for name in ("filename", "size", "fps", "codec", "mode"):
                wanted.pop(name, None)


def _hurried(case: Any) -> None:
    """Nobody waits in a test."""
    try:
        if case.query and float(case.query.get("wait", 0)) > 0.02:
            case.query["wait"] = 0.02
    except (TypeError, ValueError):
        pass


async def _completed(service: Serving, *clips: str) -> dict[str, Any]:
    return await service.ended((await service.submit(*clips))["id"])


async def _alive(service: Serving) -> bool:
    return (await ask(service.url, "GET", "/readyz")).status == 200
