"""The sample clips of ``vcompose demo``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from vcompose.library import tools_of
from vcompose.media.sample import Sample, make_sample
from vcompose.media.tasks import together
from vcompose.settings import Settings

SAMPLES: Final = (
    Sample(number=1, size=(1280, 720), rate="30", codec="libx264", suffix="mp4", tone=440),
    Sample(number=2, size=(720, 1280), rate="25", codec="libx264", suffix="mov", tone=554),
    Sample(number=3, size=(640, 480), rate="24000/1001", codec="mpeg4", suffix="avi", tone=659),
    Sample(number=4, size=(854, 480), rate="30000/1001", codec="libvpx-vp9", suffix="webm", tone=880),
    Sample(number=5, size=(1280, 720), rate="30", codec="libx264", suffix="mp4", tone=None),
)


async def make_samples(folder: Path) -> list[Path]:
    """Make the sample clips in ``folder``, those that are there already excepted; gives their paths in order."""
    tools = await tools_of(Settings())
    gate = asyncio.Semaphore(2)

    async def one(sample: Sample) -> Path:
        async with gate:
            return await make_sample(sample, folder, tools)

    async with together() as group:
        tasks = [group.create_task(one(sample)) for sample in SAMPLES]
    return [task.result() for task in tasks]
