"""The README's curl session, run as it stands against a running service."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import MakeClip
from serving import Serving

README = Path(__file__).parents[1] / "README.md"


def session() -> str:
    """The shell block that talks to the service."""
    (found,) = [block for block in re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL) if "curl" in block]
    return str(found)


async def test_the_curl_session(service: Serving, make_clip: MakeClip, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on the PATH: apt-get install curl")
    place = tmp_path / "clips"
    place.mkdir()
    shutil.copy(make_clip("beach.mp4", seed=1, seconds=6.0, size="640x480"), place / "beach.mp4")
    shutil.copy(make_clip("party.mov", seed=2, seconds=6.0, size="480x640"), place / "party.mov")
    shell = await asyncio.create_subprocess_exec(
        "sh", "-eu", "-c", session(), cwd=place, env={**os.environ, "VCOMPOSE_URL": service.url},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(shell.communicate(), 90)
    lines = out.decode().splitlines()
    assert shell.returncode == 0, err.decode() + out.decode()
    assert lines[-2:] == ["100 % done", "cancelled"]
    percents = [int(line.split()[0]) for line in lines[:-1]]
    assert percents == sorted(percents)
    jobs = (await service.call("GET", "/compositions"))[1]["items"]
    assert [job["state"] for job in jobs] == ["cancelled", "completed"]
    assert (place / "holiday.mp4").stat().st_size == jobs[1]["output"]["bytes"]
