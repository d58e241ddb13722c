"""The Python client against the running service, also where sockets do not get through and connections break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from conftest import MakeClip
from serving import Serving

from vcompose.client import Client, Document, ServiceError


async def test_from_clips_to_a_film(service: Serving, make_clip: MakeClip, tmp_path: Path) -> None:
    async with Client(service.url) as films:
        clips = [await films.upload(make_clip(seed=seed), name=f'"海" {seed}.mp4') for seed in (1, 2)]
        assert [clip["name"] for clip in clips] == ['"海" 1.mp4', '"海" 2.mp4']
        job = await films.compose([clips[0]["id"], {"clip": clips[1]["id"]}], output={"filename": "holiday.mp4"})
        seen = [now async for now in films.follow(job["id"])]
        assert [now["seq"] for now in seen] == sorted(now["seq"] for now in seen)
        assert [now["percent"] for now in seen] == sorted(now["percent"] for now in seen)
        assert seen[-1]["state"] == "completed"
        await films.download(job["id"], tmp_path / "holiday.mp4")
        assert (tmp_path / "holiday.mp4").stat().st_size == seen[-1]["output"]["bytes"]
        await films.delete(job["id"])
        with pytest.raises(ServiceError) as refused:
            await films.download(job["id"], tmp_path / "gone.mp4")
        assert (refused.value.status, refused.value.code) == (404, "not_found")
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["holiday.mp4"]


async def test_without_sockets_it_polls(service: Serving, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Client(service.url) as films:
        clip = await films.upload(make_clip())
        tried: list[str] = []

        def blocked(*_: Any, **__: Any) -> Any:
            tried.append("socket")
            raise aiohttp.ClientConnectionError("blocked")

        monkeypatch.setattr(films._session, "ws_connect", blocked)
        job = await films.compose([clip["id"], clip["id"]], output={"mode": "encode"})
        done: Document = await films.wait(job["id"])
        assert done["state"] == "completed"
        assert tried


async def test_a_cancel_and_a_refusal(service: Serving, make_clip: MakeClip) -> None:
    async with Client(service.url, language="zh") as films:
        clip = await films.upload(make_clip(seconds=20.0, size="640x480"))
        job = await films.compose([clip["id"], clip["id"]], output={"mode": "encode", "size": "1280x720"})
        assert (await films.cancel(job["id"]))["state"] == "cancelled"
        with pytest.raises(ServiceError, match="已取消"):
            await films.cancel(job["id"])
        with pytest.raises(ServiceError, match="至少需要选择两个视频进行合成"):
            await films.compose([clip["id"]])


async def test_a_lost_answer_makes_one_job(
    service: Serving, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(service.url) as films:
        clip = await films.upload(make_clip())
        call = films._call
        lost: list[Document] = []

        async def losing(method: str, path: str, **arguments: Any) -> Document:
            answer = await call(method, path, **arguments)
            if path == "compositions" and not lost:
                lost.append(answer)
                raise aiohttp.ServerDisconnectedError
            return answer

        monkeypatch.setattr(films, "_call", losing)
        job = await films.compose([clip["id"], clip["id"]])
        assert job["id"] == lost[0]["id"]
        await films.wait(job["id"])
    assert len((await service.call("GET", "/compositions"))[1]["items"]) == 1
