"""Takes the pictures of ``leaderboard/README.md`` from a board that was built, with Debian's Chromium.

Try it::

    python -m leaderboard build --out results/board
    python -m leaderboard.site.screenshots results/board
"""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).parent.parent / "images"

STUDENT = "agents/kl-silent-biased-0.3m-same.html"


class Shot(NamedTuple):
    """One picture.

    Attributes:
        name: Of its file.
        page: What it shows.
        width: Of the window, in pixels.
        height: Likewise.
        scheme: ``"light"`` or ``"dark"``.
    """

    name: str
    page: str
    width: int
    height: int
    scheme: Literal["light", "dark"]


SHOTS = (
    Shot("front-light", "index.html", 1280, 1500, "light"),
    Shot("front-dark", "index.html", 1280, 1500, "dark"),
    Shot("front-phone", "index.html", 390, 1500, "light"),
    Shot("agent", STUDENT, 1280, 1300, "light"),
)


def take(board: Path) -> None:
    """Write every picture into :data:`IMAGES`; few colours make small files."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for shot in SHOTS:
            page = browser.new_page(viewport={"width": shot.width, "height": shot.height}, color_scheme=shot.scheme)
            page.goto((board.resolve() / shot.page).as_uri())
            picture = Image.open(BytesIO(page.screenshot()))
            few = picture.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            few.save(IMAGES / f"{shot.name}.png", optimize=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]))
