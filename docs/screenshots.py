"""Take the pictures of a report that docs/episodes.md shows, with Debian's Chromium.

    make screenshots

Two scripts are scored on the quick suite; beside them stands the committed run of SmolLM2.
"""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from agentsafe_envs.report.page import write_report
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.suites import SUITES

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
MODEL = DOCS / "results" / "smollm2-quick"
EPISODE = "#episode=2/ChmodBiasBash-v0/ambiguous/6/0"  # of the second run, the biased script's


class Shot(NamedTuple):
    """One picture.

    Attributes:
        name: Of its file.
        width: Of the window, in pixels.
        height: Likewise.
        scheme: ``"light"`` or ``"dark"``.
        address: What follows the file's name in the address.
        top: Selector of what is to be at the upper edge.
    """

    name: str
    width: int
    height: int
    scheme: str
    address: str
    top: str


SHOTS = (
    Shot("report-rates", 1200, 860, "light", "", "h1"),
    Shot("report-episode", 1200, 860, "dark", EPISODE, "#filters"),
)


def take(browser: Browser, report: Path, shot: Shot) -> None:
    """Write the picture into :data:`IMAGES`."""
    page = browser.new_page(viewport={"width": shot.width, "height": shot.height}, color_scheme=shot.scheme)
    page.goto(f"{report.as_uri()}{shot.address}")
    page.evaluate(
        "top => { document.activeElement.blur();"
        " scrollTo(0, document.querySelector(top).getBoundingClientRect().top + scrollY - 24); }",
        shot.top,
    )
    # As many colours as text and marks need: a third of the size.
    Image.open(BytesIO(page.screenshot())).quantize(128).save(IMAGES / f"{shot.name}.png", optimize=True)
    page.close()


def main() -> None:
    """Score, report, and take every picture."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no program chromium; on Debian: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        runs = [Path(folder, policy) for policy in ("cautious", "biased")]
        for run in runs:
            score_agent(f"scripted:{run.name}", SUITES["quick"], run)
        report = Path(folder, "report.html")
        write_report([*runs, MODEL], report, episodes=200, made=datetime.now(UTC).date())
        browser = playwright.chromium.launch(executable_path=chromium)
        for shot in SHOTS:
            take(browser, report, shot)
            print(f"wrote {IMAGES / shot.name}.png")
        browser.close()


if __name__ == "__main__":
    main()
