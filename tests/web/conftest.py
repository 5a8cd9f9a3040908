"""A real browser on a real server. Every page that a test opens is watched: nothing may be asked of another machine,
and nothing may go wrong in the console."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from sqlalchemy import Engine

from service.store.database import open_engine
from tests.api.conftest import api, bring, claim, enqueue, make_model, settings, trained

__all__ = ["api", "bring", "claim", "enqueue", "make_model", "settings", "trained"]

WIDE = {"width": 1280, "height": 900}
PATIENCE_MS = 20_000
"""A busy machine is no fault of the page."""


@pytest.fixture
def database(tmp_path: Path, migrated_file: Path) -> Iterator[Engine]:
    """SQLite only: that both databases answer alike, the tests of the API see to."""
    engine = open_engine(f"sqlite:///{shutil.copy(migrated_file, tmp_path)}")
    yield engine
    engine.dispose()


# Of this package, not of the whole session: as long as it is there, no other test could run an event loop.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("browser tests need Chromium: apt-get install chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # Its own sandbox does not work as root, as which containers run.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """What a page did that it should not have done."""

    def __init__(self) -> None:
        self.hosts: set[str] = set()
        self.errors: list[str] = []

    def follow(self, page: Page) -> None:
        page.on("request", self._asked)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob"):
            self.hosts.add(parts.hostname or "")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} ({message.location.get('url')})")


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A test that provokes an error clears `errors` itself."""
    seen = Watched()
    yield seen
    assert seen.hosts <= {"127.0.0.1"}
    assert seen.errors == []


@pytest.fixture
def open_page(chromium: Browser, watched: Watched) -> Iterator[Callable[..., Page]]:
    """Opens pages in a browser without history; keyword arguments are Playwright's for a new context."""
    contexts = []

    def open_page(url: str, **given: object) -> Page:
        context = chromium.new_context(**({"viewport": WIDE} | given))
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        watched.follow(page)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(api: httpx.Client, open_page: Callable[..., Page]) -> Page:
    """The table of experiments, in a wide window."""
    return open_page(str(api.base_url))
