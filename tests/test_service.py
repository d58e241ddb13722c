"""The whole way through the running service, with real clips, over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from conftest import MakeClip
from serving import API, Serving, serving

from vcompose.media.probe import probe
from vcompose.media.tools import Tools


async def test_two_clips_become_a_film(service: Serving, make_clip: MakeClip, tools: Tools, tmp_path: Path) -> None:
    one = await service.upload(make_clip(seed=1), name="海滩 one.mp4")
    other = await service.upload(make_clip("other.mp4", seed=2, size="240x320"))
    assert one["name"] == "海滩 one.mp4"
    assert one["video"]["shown_size"] == "320x240"
    messages: list[dict[str, Any]] = []
    async with service.session.ws_connect(f"{service.url}{API}/ws") as socket:
        assert (await socket.receive_json())["type"] == "snapshot"
        job = await service.submit(one["id"], other["id"], filename="假日.mp4")
        assert job["state"] == "pending"
        while not messages or messages[-1]["job"]["finished"] is None:
            messages.append(await asyncio.wait_for(socket.receive_json(), 60))
    percents = [message["job"]["percent"] for message in messages]
    assert percents == sorted(percents)
    done = await service.ended(job["id"])
    assert done["state"] == "completed"
    assert messages[-1]["job"] == done
    assert done["output"]["filename"] == "假日.mp4"
    history = await service.service.history(job["id"])
    assert [percent for _, _, percent in history][2:] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    film = tmp_path / "film.mp4"
    async with service.session.get(f"{service.url}{done['output']['url']}", params={"download": "1"}) as answer:
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert "filename*=UTF-8''%E5%81%87%E6%97%A5.mp4" in answer.headers["Content-Disposition"]
        film.write_bytes(await answer.read())
    assert film.stat().st_size == done["output"]["bytes"]
    assert abs(float((await probe(film, tools)).length) - done["output"]["duration"]) < 0.05


async def test_a_cancel_leaves_nothing(service: Serving, make_clip: MakeClip) -> None:
    clips = [await service.upload(make_clip(f"{n}.mp4", seed=n, seconds=20.0, size="640x480")) for n in (1, 2)]
    job = await service.submit(*(clip["id"] for clip in clips), mode="encode", size="1280x720")
    await service.call("GET", f"/compositions/{job['id']}", params={"after": job["seq"] + 1, "wait": 10})
    status, cancelled = await service.call("POST", f"/compositions/{job['id']}/cancel")
    assert (status, cancelled["state"]) == (200, "cancelled")
    assert not list((service.folder / "work").iterdir())
    assert not list((service.folder / "children").iterdir())
    status, refused = await service.call("POST", f"/compositions/{job['id']}/cancel")
    assert (status, refused["code"], refused["state"]) == (409, "wrong_state", "cancelled")


async def test_a_job_goes_on_after_a_stop(tmp_path: Path, make_clip: MakeClip, tools: Tools) -> None:
    data = tmp_path / "data"
    async with serving(data, tools) as first:
        clips = [await first.upload(make_clip(f"{n}.mp4", seed=n, seconds=8.0, size="640x480")) for n in (1, 2)]
        job = await first.submit(*(clip["id"] for clip in clips), mode="encode", size="1280x720")
        await first.call("GET", f"/compositions/{job['id']}", params={"after": job["seq"] + 2, "wait": 10})
        before = (await first.call("GET", f"/compositions/{job['id']}"))[1]
    assert before["state"] == "processing"
    async with serving(data, tools) as second:
        done = await second.ended(job["id"])
    assert done["state"] == "completed"
    assert done["attempt"] == 2


async def test_an_idempotency_key_gives_the_same_job(service: Serving, make_clip: MakeClip) -> None:
    clip = await service.upload(make_clip())
    one = await service.submit(clip["id"], clip["id"], key="press-1")
    assert (await service.submit(clip["id"], clip["id"], key="press-1"))["id"] == one["id"]
    wanted = {"clips": [{"clip": clip["id"]}] * 3}
    status, problem = await service.call("POST", "/compositions", json=wanted, headers={"Idempotency-Key": "press-1"})
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    await service.ended(one["id"])


async def test_fewer_than_two_clips_in_chinese(service: Serving) -> None:
    status, problem = await service.call(
        "POST", "/compositions", json={"clips": []}, headers={"Accept-Language": "zh-CN"}
    )
    assert (status, problem["code"]) == (400, "too_few_clips")
    assert problem["detail"] == "至少需要选择两个视频进行合成"


async def test_a_page_from_elsewhere_is_refused(service: Serving) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
        status, problem = await service.call("GET", "/compositions", headers={"Origin": origin})
        assert (status, problem["code"]) == (403, "origin_not_allowed")
    async with service.session.get(f"{service.url}/healthz", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 421


async def test_a_clip_that_the_disk_lost_is_told(service: Serving, make_clip: MakeClip) -> None:
    clips = [await service.upload(make_clip(f"{n}.mp4", seed=n)) for n in (1, 2)]
    sha256 = clips[1]["sha256"]
    (service.folder / "clips" / sha256[:2] / sha256).unlink()
    job = await service.ended((await service.submit(*(clip["id"] for clip in clips)))["id"])
    assert (job["state"], job["error"]["code"], job["error"]["clip"]) == ("failed", "clip_lost", clips[1]["id"])


async def test_a_plan_tells_what_would_be_done(service: Serving, make_clip: MakeClip) -> None:
    clips = [
        await service.upload(make_clip(f"{n}.mp4", seed=n, size=size)) for n, size in ((1, "320x240"), (2, "240x320"))
    ]
    wanted = {"clips": [{"clip": clip["id"]} for clip in clips]}
    status, plan = await service.call("POST", "/compositions/plan", json=wanted)
    assert status == 200
    assert [clip["treatment"] for clip in plan["clips"]] == ["encode", "encode"]
    assert plan["clips"][1]["reasons"][0]["code"] == "other_size"
    assert abs(plan["duration"] - 4.0) < 0.2
    assert 0 < plan["seconds"] < 60
    assert plan["bytes"] > 10_000
    assert (await service.call("GET", "/compositions"))[1]["items"] == []
    status, problem = await service.call("POST", "/compositions", json={**wanted, "output": {"mode": "copy"}})
    assert (status, problem["code"]) == (422, "cannot_copy")
    assert set(problem["clips"]) <= {clip["id"] for clip in clips}
