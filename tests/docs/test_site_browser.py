"""The documentation site in Debian's Chromium, at both widths, light and dark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.needs("docs", "browser", "axe")]

ROOT = Path(__file__).parents[2]
PAGES = ("index.html", "docs/metrics.html", "docs/environments/DeleteBiasAPI-v0.html", "docs/neighbours.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs") / "site"
    subprocess.run([sys.executable, str(ROOT / "docs" / "site" / "build.py"), "--out", str(out)], check=True)
    return out


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", [1440, 390], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_the_page_fits(
    browser: Browser, site: Path, page: str, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    opened, asked = context.new_page(), list[str]()
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(f"{site.as_uri()}/{page}")
    opened.wait_for_timeout(300)  # Material names regions that scroll only after the page is drawn
    fits = opened.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(opened).response["violations"]
    context.close()
    grave = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
    assert grave == []
    assert fits
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
