"""The sample clips of ``vcompose demo``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from vcompose.media.errors import first
from vcompose.media.sample import Sample, make_sample
from vcompose.media.tools import find_tools
from vcompose.settings import Settings, search_path

SAMPLES: Final = (
    Sample(number=1, size=(1280, 720), rate="30", codec="libx264", suffix="mp4", tone=440),
    Sample(number=2, size=(720, 1280), rate="25", codec="libx264", suffix="mov", tone=554),
    Sample(number=3, size=(640, 480), rate="24000/1001", codec="mpeg4", suffix="avi", tone=659),
    Sample(number=4, size=(854, 480), rate="30000/1001", codec="libvpx-vp9", suffix="webm", tone=880),
    Sample(number=5, size=(1280, 720), rate="30", codec="libx264", suffix="mp4", tone=None),
)


async def make_samples(folder: Path) -> list[Path]:
    """Make the sample clips in ``folder``, those that are there already excepted; gives their paths in order."""
    settings = Settings()
    tools = await find_tools(
        search_path=search_path(),
        ffmpeg=settings.ffmpeg,
        ffprobe=settings.ffprobe,
        allow_old=settings.allow_old_ffmpeg,
    )
    gate = asyncio.Semaphore(2)

    async def one(sample: Sample) -> Path:
        async with gate:
            return await make_sample(sample, folder, tools)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(sample)) for sample in SAMPLES]
    except ExceptionGroup as errors:
        raise first(errors) from None
    return [task.result() for task in tasks]
