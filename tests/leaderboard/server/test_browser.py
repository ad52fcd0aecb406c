"""A real browser: an archive goes in by the page for uploads, and its row stands on the front."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.leaderboard.server.hosting import Host
from tests.leaderboard.server.test_pages import publish
from tests.leaderboard.server.test_uploads import archive, nothing_committed, submission, worker

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["nothing_committed", "submission"]

pytestmark = [pytest.mark.needs("browser"), pytest.mark.slow]


@pytest.fixture
def address(host: Host) -> Iterator[str]:
    """The board over HTTP, on a port of this machine."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(host.app, port=0, lifespan="off", log_level="warning"))
    serving = threading.Thread(target=server.run)
    serving.start()
    while not server.started:
        assert serving.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    serving.join()


@pytest.fixture
def page() -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        opened = browser.new_page()
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("console", lambda message: complaints.append(message.text))
        yield opened
        browser.close()
    assert complaints == []


def upload(page: Page, token: dict[str, str], file: Path) -> None:
    page.get_by_label("Token").fill(token["Authorization"].removeprefix("Bearer "))
    page.get_by_label("Archive", exact=True).set_input_files(file)
    page.get_by_role("button", name="Upload").click()


def says(page: Page, text: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#state")).to_contain_text(text, timeout=20_000)


@pytest.mark.needs("bubblewrap")
@pytest.mark.usefixtures("nothing_committed")
def test_from_an_upload_to_the_row(host: Host, address: str, page: Page, tmp_path: Path, submission: bytes) -> None:
    file = tmp_path / "cautious.tar.gz"
    file.write_bytes(submission)
    publish(host)
    page.goto(address)
    assert page.locator("#table").count() == 0
    page.get_by_role("link", name="Submit").click()
    team = host.team("one")
    upload(page, team, file)
    says(page, "queued: waiting for a worker")
    assert worker(host).work_once()
    says(page, "verified: level: replayed")
    assert page.locator("#checks li").count() > 10
    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])")
    assert team["Authorization"].removeprefix("Bearer ") not in kept
    publish(host)
    page.goto(address)
    row = page.locator("#table tbody tr")
    assert row.locator("a").first.inner_text() == "cautious"
    assert row.locator(".level").inner_text() == "replayed"
    row.locator("a").first.click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download submissions/").click()
    assert download.value.path().read_bytes() == submission


@pytest.mark.needs("axe")
@pytest.mark.parametrize("name", ["upload", "seasons"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_the_server_have_no_serious_fault(address: str, page: Page, scheme: Any, name: str) -> None:
    from tests.leaderboard.site.test_browser import serious

    page.emulate_media(color_scheme=scheme)
    page.goto(f"{address}/{name}")
    assert serious(page) == []


def test_what_is_refused_is_told_on_the_page(host: Host, address: str, page: Page, tmp_path: Path) -> None:
    file = tmp_path / "nothing.tar.gz"
    file.write_bytes(archive(b"<img src=x onerror=alert(1)>"))
    page.goto(f"{address}/upload")
    upload(page, host.team("one"), file)
    says(page, "queued: waiting for a worker")
    assert worker(host).work_once()
    says(page, "refused: ")
    assert page.locator("img").count() == 0
