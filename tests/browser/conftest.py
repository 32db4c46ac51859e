"""A real Chromium for the gallery page: Debian's own, with nothing to reach on the network.

Without it the tests are skipped, unless KLING_BATCH_REQUIRE_BROWSER is 1.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from support.bench import HEAD, Bench
from support.gallery import EVIL

from kling_batch.cli.main import main

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
PAIRS = f"""\
pairs:
  - {{id: hero, image: knight, video: waltz, takes: 3, duration_seconds: 4}}
  - {{id: broken, image: knight, video: waltz, prompt: 'a bow [fail]'}}
  - {{id: evil, image: knight, video: waltz, prompt: '{EVIL}', duration_seconds: 9}}
  - {{id: "2026", image: knight, video: waltz, prompt: a year, quality_mode: 1080p}}
"""


@dataclass
class Tab:
    """A page in the browser, and what it asked of the network or complained of."""

    page: Any
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


Open = Callable[..., Tab]


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("KLING_BATCH_REQUIRE_BROWSER") == "1":
        pytest.fail(f"a browser is required here: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser, begun once."""
    executable = shutil.which("chromium")
    if executable is None:
        _unavailable("chromium is not installed")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _unavailable("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> Any:
    """The checker of accessibility."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        _unavailable("axe-playwright-python is not installed")
    return Axe()


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a batch that the simulator finished, as `report` writes it."""
    folder = tmp_path_factory.mktemp("gallery")
    Bench(folder, HEAD + PAIRS).run()
    assert main(["report", str(folder / "batch.yaml")]) == 0
    return folder / "outputs/batch/index.html"


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Opens a page from disk in a profile of its own; what it asks of the network is refused."""
    contexts = []

    def open_(path: Path, served: dict[str, bytes] | None = None, **options: Any) -> Tab:
        context = chromium.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(10_000)
        tab = Tab(context.new_page())

        def answer(route: Any) -> None:
            tab.asked.append(route.request.url)
            body = (served or {}).get(route.request.url)
            if body is None:
                route.abort()
            else:
                route.fulfill(body=body)

        context.route(lambda url: not url.startswith("file:"), answer)
        tab.page.on("console", lambda message: tab.complaints.append(message.text))
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.page.goto(path.as_uri())
        return tab

    yield open_
    for context in contexts:
        context.close()
