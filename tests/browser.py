"""A real browser for the tests of the page: Chromium as it is installed, driven by playwright.

A visit writes down what no page of ours may do (errors in the console, requests to other hosts, dialogs), and the test
fails at its end if there was any.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright._impl._driver import compute_driver_executable
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, async_playwright

PATIENCE = 30_000
"""Milliseconds that an expectation may take: two workers share the machine with ffmpeg."""


def chromium() -> str:
    """The browser's program; without one the test is skipped."""
    names = ("chromium", "chromium-browser")
    found = os.environ.get("VCOMPOSE_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no browser: install chromium, or set VCOMPOSE_CHROMIUM")
    node, *_ = compute_driver_executable()
    try:
        subprocess.run([node, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        pytest.skip(f"what drives the browser does not start (libatomic1 missing?): {said.decode().strip()}")
    return found


@contextlib.asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A started browser."""
    program = chromium()
    async with async_playwright() as playwright:
        # root, and many containers, have no sandbox; nothing but our own pages is opened
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(kw_only=True)
class Visit:
    """A person's visit: one browser context with its pages. ``allowed`` are patterns of console errors that a test
    brings about on purpose.
    """

    context: BrowserContext
    url: str
    allowed: tuple[str, ...] = ()
    faults: list[str] = field(default_factory=list)

    async def open(self, path: str = "/") -> Page:
        """A page of the service, watched."""
        page = await self.context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.on("request", self._request)
        page.on("dialog", self._dialog)
        await page.goto(self.url + path)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        known = any(re.search(pattern, message.text) for pattern in self.allowed)
        if message.type in {"error", "warning"} and not known:
            self.faults.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        asked = urlsplit(request.url)
        if asked.scheme not in {"data", "blob"} and asked.netloc != urlsplit(self.url).netloc:
            self.faults.append(f"another host: {request.url}")

    async def _dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        await dialog.dismiss()


@contextlib.asynccontextmanager
async def visiting(
    browser: Browser, url: str, *, language: str = "en-GB", width: int = 1200, allowed: tuple[str, ...] = ()
) -> AsyncIterator[Visit]:
    """A visit by somebody whose browser speaks ``language``, on a screen of ``width``. Fails if there were faults."""
    context = await browser.new_context(locale=language, viewport={"width": width, "height": 800})
    context.set_default_timeout(PATIENCE)
    visit = Visit(context=context, url=url, allowed=allowed)
    try:
        yield visit
    finally:
        await context.close()
    assert not visit.faults, "\n".join(visit.faults)
