"""The page in a real browser, against the real service: what a person sees, presses and hears of."""

# ruff: noqa: RUF001 - Chinese punctuation is meant

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from browser import PATIENCE, browsing, visiting
from conftest import MakeClip
from playwright.async_api import Browser, FilePayload, Locator, Page, Route, WebSocketRoute
from playwright.async_api import expect as expect_soon
from serving import Serving

STATIC: Final = Path(__file__).parents[1] / "static"
SOCKETS: Final = re.compile(r"/api/v1/ws")

RECORD_BARS: Final = """
window.bars = [];
document.addEventListener("DOMContentLoaded", () => {
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      const job = target.closest("#jobs > li");
      if (job) window.bars.push([job.dataset.id, target.value]);
    }
  }).observe(document.body, { subtree: true, attributeFilter: ["value"] });
});
"""
"""Writes down every value that a bar of a job ever has."""

PLAY: Final = """
async (video) => {
  video.muted = true;
  video.playbackRate = 4;
  const ended = new Promise((done) => { video.onended = done; });
  await video.play();
  await ended;
  return [video.currentTime, video.videoWidth, video.videoHeight];
}
"""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    expect_soon.set_options(timeout=PATIENCE)
    async with browsing() as started:
        yield started


@pytest.fixture
def clips(make_clip: MakeClip) -> list[Path]:
    """Two short clips that do not fit together: something is encoded."""
    return [
        make_clip("beach.mp4", seconds=1.5, size="320x180"),
        make_clip("party (1).mp4", seconds=1.5, size="320x240", rate="30", seed=2),
    ]


@pytest.fixture
def long_clips(make_clip: MakeClip) -> list[Path]:
    """Two clips whose film takes seconds to make."""
    return [
        make_clip("sea.mp4", seconds=4.0, size="1280x720", rate="50"),
        make_clip("sand.mp4", seconds=4.0, size="1280x718", rate="50", seed=2),
    ]


async def choose(page: Page, clips: list[Path]) -> None:
    """Upload clips by the page's file input, until all are in the library."""
    before = await page.locator("#clips > li").count()
    await page.locator("#files").set_input_files(clips)
    await expect_soon(page.locator("#clips > li")).to_have_count(before + len(clips))


async def put(service: Serving, clips: list[Path]) -> None:
    """Put clips into the library without the page."""
    for clip in clips:
        await service.upload(clip)


async def listed(service: Serving, what: str) -> list[dict[str, Any]]:
    """A list of the service: ``clips`` or ``compositions``."""
    status, document = await service.call("GET", f"/{what}")
    assert status == 200
    items: list[dict[str, Any]] = document["items"]
    return items


def jobs(page: Page, state: str = "") -> Locator:
    """The jobs that are shown, of one state or of all."""
    return page.locator(f'#jobs > li[data-state="{state}"]' if state else "#jobs > li")


async def widths(page: Page) -> tuple[int, int]:
    """How wide the page would be, and how wide it is."""
    wide, screen = await page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return int(wide), int(screen)


async def test_the_whole_story(service: Serving, browser: Browser, clips: list[Path], tmp_path: Path) -> None:
    async with visiting(browser, service.url) as visit:
        await visit.context.add_init_script(RECORD_BARS)
        page = await visit.open()
        await expect_soon(page.locator("#live")).to_have_text("live")
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(page.get_by_text("Choose at least two clips").first).to_be_visible()
        assert await listed(service, "compositions") == []

        await choose(page, clips)
        film = page.locator("#film > li .name")
        await expect_soon(film).to_have_text(["beach.mp4", "party (1).mp4"])
        # by keyboard, and heard by who does not see it
        await page.get_by_role("button", name="Move beach.mp4 down").press("Enter")
        await expect_soon(film).to_have_text(["party (1).mp4", "beach.mp4"])
        await expect_soon(page.locator("#announcement")).to_have_text("beach.mp4 is now number 2 of 2")
        await expect_soon(page.get_by_role("button", name="Move beach.mp4 up")).to_be_focused()
        await page.get_by_role("button", name="Add to film: party (1).mp4").click()
        await expect_soon(film).to_have_text(["party (1).mp4", "beach.mp4", "party (1).mp4"])

        await page.get_by_label("Name of the film").fill("holiday")
        async with page.expect_request(lambda request: request.method == "POST") as sent:
            await page.get_by_role("button", name="Compose").click()
        ids = {clip["name"]: clip["id"] for clip in await listed(service, "clips")}
        order = ["party (1).mp4", "beach.mp4", "party (1).mp4"]
        wanted = {"clips": [{"clip": ids[name]} for name in order], "output": {"filename": "holiday.mp4"}}
        assert (await sent.value).post_data_json == wanted

        job = jobs(page, "completed")
        await expect_soon(job).to_have_count(1)
        bars = [value for _, value in await page.evaluate("window.bars")]
        assert bars == sorted(bars)
        assert bars[-1] == 100
        assert any(0 < value < 100 for value in bars), bars

        length, width, height = await job.locator("video").evaluate(PLAY)
        assert length == pytest.approx(4.5, abs=0.2)
        assert (width, height) == (320, 240)
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Download holiday.mp4").click()
        saved = tmp_path / "saved.mp4"
        await (await download.value).save_as(saved)
        assert (await download.value).suggested_filename == "holiday.mp4"
        [told] = await listed(service, "compositions")
        assert saved.stat().st_size == told["output"]["bytes"]
        assert saved.read_bytes()[4:8] == b"ftyp"

        await page.reload()
        await expect_soon(jobs(page)).to_have_count(1)
        await expect_soon(job.locator(".name")).to_have_text("holiday.mp4")
        await expect_soon(film).to_have_text(order)

        await page.get_by_role("button", name="Delete the job holiday.mp4").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect_soon(jobs(page)).to_have_count(0)
        assert await listed(service, "compositions") == []


async def test_one_press_composes_the_library(service: Serving, browser: Browser, clips: list[Path]) -> None:
    await put(service, clips)
    async with visiting(browser, service.url) as visit:
        page = await visit.open()
        await expect_soon(page.locator("#film > li .name")).to_have_text(["beach.mp4", "party (1).mp4"])
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(jobs(page, "completed")).to_have_count(1)


async def test_a_second_job_is_cancelled_and_everybody_sees_it(
    service: Serving, browser: Browser, clips: list[Path], long_clips: list[Path]
) -> None:
    await put(service, clips)
    async with visiting(browser, service.url, allowed=("status of 409",)) as visit:
        page, other = await visit.open(), await visit.open()
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(jobs(page, "completed")).to_have_count(1)

        await page.get_by_role("button", name="Clear the list").click()
        await choose(page, long_clips)
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(jobs(page)).to_have_count(2)
        second = jobs(page).first
        await expect_soon(second).to_have_attribute("data-state", "processing")
        # the clips of a live job stay, and it is said why
        await page.get_by_role("button", name="Delete sea.mp4").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect_soon(page.locator("#clips .error")).to_have_text(re.compile(r"[a-z]{2}.*job"))
        await second.get_by_role("button", name="Cancel").press("Enter")
        await expect_soon(second).to_have_attribute("data-state", "cancelled")
        await expect_soon(second.locator(".state")).to_have_text("cancelled")
        await expect_soon(second.get_by_role("button", name="Delete")).to_be_focused()
        await expect_soon(jobs(other).first).to_have_attribute("data-state", "cancelled")
        states = [job["state"] for job in await listed(service, "compositions")]
        assert states == ["cancelled", "completed"]


async def test_names_from_strangers_are_text(service: Serving, browser: Browser, clips: list[Path]) -> None:
    name = "<img src=x onerror=alert(1)>.mp4"
    async with visiting(browser, service.url) as visit:
        page = await visit.open()
        await choose(page, clips[:1])
        file = FilePayload(name=name, mimeType="video/mp4", buffer=clips[1].read_bytes())
        await page.locator("#files").set_input_files(file)
        await expect_soon(page.locator("#film > li .name")).to_have_text(["beach.mp4", name])
        await expect_soon(page.locator("#clips > li .name").first).to_have_text(name)
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(jobs(page).locator(".name")).to_contain_text([name])
        await page.get_by_role("button", name=f"Delete {name}").click()
        await expect_soon(page.get_by_role("dialog")).to_contain_text(name)
        await page.get_by_role("dialog").get_by_role("button", name="Keep").click()
        assert await page.locator("img").count() == 0
        await expect_soon(jobs(page, "completed")).to_have_count(1)


async def test_without_sockets_it_polls_and_says_so(service: Serving, browser: Browser, clips: list[Path]) -> None:
    await put(service, clips)
    async with visiting(browser, service.url, allowed=("WebSocket", "status of 404")) as visit:
        await visit.context.add_init_script(RECORD_BARS)
        await visit.context.route_web_socket(SOCKETS, lambda socket: socket.close())
        page = await visit.open()
        await expect_soon(page.locator("#live")).to_have_text("live (polling)")
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(jobs(page, "completed")).to_have_count(1)
        bars = [value for _, value in await page.evaluate("window.bars")]
        assert bars == sorted(bars)
        # what another page deletes is gone here too; its film may just be asked for
        [job] = await listed(service, "compositions")
        await service.call("DELETE", f"/compositions/{job['id']}")
        await expect_soon(jobs(page)).to_have_count(0)


async def test_a_lost_socket_comes_back_where_it_was(service: Serving, browser: Browser, clips: list[Path]) -> None:
    await put(service, clips)
    opened: list[str] = []
    sockets: list[WebSocketRoute] = []

    def pass_on(socket: WebSocketRoute) -> None:
        opened.append(socket.url)
        sockets.append(socket)
        socket.connect_to_server()

    async with visiting(browser, service.url) as visit:
        await visit.context.route_web_socket(SOCKETS, pass_on)
        page = await visit.open()
        await expect_soon(page.locator("#live")).to_have_text("live")
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(jobs(page)).to_have_count(1)
        await sockets[0].close(code=1012)
        await expect_soon(page.locator("#live")).not_to_have_text("live")
        await expect_soon(jobs(page, "completed")).to_have_count(1)
        await expect_soon(page.locator("#live")).to_have_text("live")
        assert "since" not in opened[0]
        assert int(re.findall(r"since=(\d+)", opened[1])[0]) > 0


async def test_what_comes_late_takes_nothing_back(service: Serving, browser: Browser, clips: list[Path]) -> None:
    await put(service, clips)

    def repeat(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        told: list[str | bytes] = []

        def pass_on(message: str | bytes) -> None:
            socket.send(message)
            told.append(message)
            socket.send(told[len(told) // 2])

        server.on_message(pass_on)

    async with visiting(browser, service.url) as visit:
        await visit.context.add_init_script(RECORD_BARS)
        await visit.context.route_web_socket(SOCKETS, repeat)
        page = await visit.open()
        await expect_soon(page.locator("#live")).to_have_text("live")
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(jobs(page, "completed")).to_have_count(1)
        bars = [value for _, value in await page.evaluate("window.bars")]
        assert bars == sorted(bars)
        assert len(set(bars)) > 2


async def test_a_socket_that_says_nothing_is_given_up(service: Serving, browser: Browser) -> None:
    opened: asyncio.Queue[str] = asyncio.Queue()
    async with visiting(browser, service.url) as visit:
        await visit.context.route_web_socket(SOCKETS, lambda socket: opened.put_nowait(socket.url))
        await visit.context.clock.install()
        page = await visit.open()
        for _ in range(2):
            await asyncio.wait_for(opened.get(), PATIENCE / 1000)
            await page.clock.fast_forward(10_000)
        await expect_soon(page.locator("#live")).to_have_text("live (polling)")


async def test_answers_that_are_lost_make_no_second_job(service: Serving, browser: Browser, clips: list[Path]) -> None:
    await put(service, clips)
    keys: list[str] = []
    tries = 4

    async def lose(route: Route) -> None:
        if route.request.method == "POST":
            keys.append(route.request.headers["idempotency-key"])
        if route.request.method != "POST" or len(keys) > tries:
            await route.continue_()
            return
        await route.fetch()
        await route.abort("connectionreset")

    async with visiting(browser, service.url, allowed=("ERR_CONNECTION_RESET",)) as visit:
        page = await visit.open()
        await page.route("**/api/v1/compositions", lose)
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(page.locator("#compose-says")).to_contain_text("The server cannot be reached")
        assert len(keys) == tries
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(page.get_by_text("Accepted")).to_be_visible()
        assert len(set(keys)) == 1
        assert len(await listed(service, "compositions")) == 1
        # what was answered is done with: another press is another film
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(jobs(page)).to_have_count(2)
        assert len(set(keys)) == 2


async def test_a_failed_job_says_why_in_the_chosen_language(
    service: Serving, browser: Browser, clips: list[Path]
) -> None:
    await put(service, clips)
    # the disk loses a clip's bytes
    broken, _ = await listed(service, "clips")
    for path in (service.folder / "clips").rglob("*"):
        if path.is_file() and path.stat().st_size == broken["size"]:
            path.write_bytes(b"nothing that anybody could read")
    async with visiting(browser, service.url) as visit:
        page = await visit.open()
        # the live connection still speaks English: the browser does
        await page.get_by_label("Language / 语言").select_option("简体中文")
        await page.get_by_role("button", name="开始合成").click()
        await expect_soon(jobs(page, "failed")).to_have_count(1)
        await expect_soon(jobs(page).locator(".state")).to_have_text("失败")
        await expect_soon(jobs(page).locator(".error")).to_contain_text(re.compile("[一-鿿]{4}"))
        await expect_soon(jobs(page).locator(".error")).to_contain_text(broken["name"])


async def test_both_languages(service: Serving, browser: Browser, clips: list[Path], tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp4"
    notes.write_text("no video at all, only words\n" * 50)
    async with visiting(browser, service.url, language="zh-CN", allowed=("status of 4",)) as visit:
        page = await visit.open()
        await expect_soon(page.locator("html")).to_have_attribute("lang", "zh-CN")
        await page.get_by_role("button", name="开始合成").click()
        await expect_soon(page.get_by_text("至少需要选择两个视频进行合成").first).to_be_visible()
        await page.locator("#files").set_input_files(notes)
        # the server's own sentence, in the chosen language
        await expect_soon(page.locator("#uploads .error")).to_have_text(re.compile(r"[一-鿿]{4}"))
        await page.get_by_role("button", name="关闭 notes.mp4 的提示").click()

        await page.get_by_label("Language / 语言").select_option("English")
        await expect_soon(page.locator("html")).to_have_attribute("lang", "en")
        await expect_soon(page.get_by_role("button", name="Compose")).to_be_visible()
        await page.locator("#files").set_input_files(notes)
        await expect_soon(page.locator("#uploads .error")).to_have_text(re.compile(r"^[ -~’“”…]{20,}$"))
        await page.reload()
        await expect_soon(page.get_by_role("heading", name="Your film")).to_be_visible()

    async with visiting(browser, service.url, language="de-DE") as visit:
        page = await visit.open()
        await expect_soon(page.locator("html")).to_have_attribute("lang", "en")


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
async def test_a_narrow_screen_needs_no_scrolling_sideways(
    service: Serving, browser: Browser, clips: list[Path], language: str
) -> None:
    content = clips[0].read_bytes()
    names = ["a_very_long_name_without_any_place_to_break_it_" * 3 + ".mp4", "beach.mp4"]
    async with visiting(browser, service.url, language=language, width=360) as visit:
        page = await visit.open()
        await expect_soon(page.locator("#no-clips")).to_be_visible()
        wide, screen = await widths(page)
        assert wide <= screen
        files = [FilePayload(name=name, mimeType="video/mp4", buffer=content) for name in names]
        await page.locator("#files").set_input_files(files)
        await expect_soon(page.locator("#film > li")).to_have_count(2)
        await page.locator("#compose").click()
        await expect_soon(jobs(page, "completed").locator("video")).to_be_visible()
        wide, screen = await widths(page)
        assert wide <= screen


async def test_the_documentation_of_the_interface(service: Serving, browser: Browser) -> None:
    async with visiting(browser, service.url) as visit:
        page = await visit.open("/docs")
        await expect_soon(page.locator(".opblock").first).to_be_visible()
        clips = page.locator(".opblock[id$='-list_clips']")
        await clips.locator(".opblock-summary-control").click()
        await clips.get_by_role("button", name="Try it out").click()
        await clips.get_by_role("button", name="Execute").click()
        await expect_soon(clips.locator(".live-responses-table .response .response-col_status")).to_have_text("200")


async def test_a_waiting_server_is_waited_for(service: Serving, browser: Browser) -> None:
    refused = 0

    async def refuse_once(route: Route) -> None:
        nonlocal refused
        refused += 1
        if refused == 1:
            await route.abort("connectionrefused")
        else:
            await route.continue_()

    async with visiting(browser, service.url, allowed=("ERR_CONNECTION_REFUSED",)) as visit:
        await visit.context.route("**/api/v1/clips", refuse_once)
        page = await visit.open()
        await expect_soon(page.locator("#notice")).to_contain_text("The server cannot be reached")
        await expect_soon(page.locator("#notice")).to_be_hidden()
        await expect_soon(page.locator("#live")).to_have_text("live")


def test_every_sentence_is_there_in_both_languages() -> None:
    text = (STATIC / "words.js").read_text()
    english, chinese = (
        {
            key: set(re.findall(r"\{\w+\}", words))
            for key, words in re.findall(r'^  (\w+): "(.*)",$', table, re.MULTILINE)
        }
        for table in re.findall(r"^const (?:ENGLISH|CHINESE) = \{(.*?)^\};", text, re.MULTILINE | re.DOTALL)
    )
    assert english
    assert english == chinese


def test_vendored_files_are_those_that_are_listed() -> None:
    folder = STATIC / "vendor" / "swagger-ui"
    told = dict(
        re.findall(r"^\| (\S+) \| `([0-9a-f]{64})` \|$", (STATIC / "vendor" / "VERSIONS.md").read_text(), re.MULTILINE)
    )
    assert told == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


async def test_a_film_waits_for_clips_that_are_still_coming(
    service: Serving, browser: Browser, clips: list[Path], tmp_path: Path
) -> None:
    """Composed too early it would lack them, and nobody would notice."""
    await put(service, clips)
    go = asyncio.Event()

    async def held(route: Route) -> None:
        if route.request.method == "POST":
            await go.wait()
        await route.continue_()

    async with visiting(browser, service.url) as visit:
        await visit.context.route("**/api/v1/clips", held)
        page = await visit.open()
        await expect_soon(page.locator("#film > li")).to_have_count(2)
        third = tmp_path / "third.mp4"
        third.write_bytes(clips[0].read_bytes())
        await page.locator("#files").set_input_files(third)
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(page.locator("#compose-says")).to_contain_text("still being uploaded")
        assert await listed(service, "compositions") == []
        go.set()
        await expect_soon(page.locator("#film > li")).to_have_count(3)
        await page.get_by_role("button", name="Compose").click()
        await expect_soon(jobs(page, "completed")).to_have_count(1)
        (job,) = await listed(service, "compositions")
        assert len(job["clips"]) == 3
