"""Build the documentation site in build/site, which is served as it is or opened from its folder.

    python docs/site/build.py                # build/site
    python docs/site/build.py --out FOLDER   # elsewhere

The Markdown pages of the repository are its source. They are copied to a folder of the same layout, so that a link
that works on GitHub works on the site. What links point to goes along. Warnings are errors, broken anchors included.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from latex2mathml.converter import convert

import agentsafe_envs

SITE = Path(__file__).parent
ROOT = SITE.parents[1]
CONFIG = SITE / "mkdocs.yml"

CARDS = ("baselines/students/", "baselines/data/", "leaderboard/submissions/", "leaderboard/reruns/")
"""Folders whose Markdown describes single models, data sets and submissions, and is no documentation."""

HOME = "docs/home.md"
"""Becomes the site's first page; on GitHub that is README.md."""

FORMULA = re.compile(r"^\$\$\n(.*?)\n\$\$$", re.MULTILINE | re.DOTALL)
"""TeX as GitHub shows it; the site gets MathML, which browsers draw by themselves."""

NAMED_SEARCH = (
    'data-md-component="search" role="dialog">',
    'data-md-component="search" role="dialog" aria-label="Search">',
)
"""Material's search dialog has no name for screen readers."""

LINK = re.compile(r"(\]\(|(?:src|srcset|href)=\")(?!\w+:|#)([^)\s\"#]*)")


def main() -> None:
    """Collect the pages, build them, and write llms.txt next to them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="folder of the site")
    out = parser.parse_args().out.resolve()
    pages = out.with_name(f"{out.name}-pages")
    collect(pages)
    made = out.with_name(f"{out.name}-mkdocs.yml")
    made.write_text(placed(CONFIG.read_text(encoding="utf-8"), pages, out), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--clean", "-f", str(made)])
    if done.returncode:
        sys.exit(done.returncode)
    for page in out.rglob("*.html"):
        page.write_text(page.read_text(encoding="utf-8").replace(*NAMED_SEARCH), encoding="utf-8")
    for page in pages.rglob("*.md"):
        target = out / page.relative_to(pages)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(page, target)
    (out / "llms.txt").write_text(llms(pages), encoding="utf-8")
    print(f"wrote {out / 'index.html'}")


def placed(config: str, pages: Path, out: Path) -> str:
    """The configuration with the folders of this build."""
    folders = {"docs_dir: ../../build/pages": f"docs_dir: {pages}", "site_dir: ../../build/site": f"site_dir: {out}"}
    for written, wanted in {**folders, "paths: [../..]": f"paths: [{ROOT}]"}.items():
        if written not in config:
            raise ValueError(f"{CONFIG} has no {written!r}, which a build replaces by {wanted!r}; put it back")
        config = config.replace(written, wanted)
    return config


def collect(pages: Path) -> None:
    """Write every page, and every file that a page links to, to the folder ``pages``."""
    shutil.rmtree(pages, ignore_errors=True)
    names = [name for name in tracked() if name.endswith(".md") and not name.startswith(CARDS)]
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in names}
    texts = {name: to_front(name, text) for name, text in texts.items()}
    texts["index.md"] = moved(texts.pop(HOME), PurePosixPath(HOME).parent)
    texts.pop("README.md")  # the home page stands in its place
    texts["docs/api.md"] = api_page()
    texts = {name: FORMULA.sub(formula, text) for name, text in texts.items()}
    linked = {target for name, text in texts.items() for target in targets(name, text)}
    for name, text in texts.items():
        place = pages / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    for name in sorted({*linked, "docs/site/site.css", "docs/site/logo.svg"} - texts.keys()):
        if (ROOT / name).is_file():
            (pages / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, pages / name)


def formula(found: re.Match[str]) -> str:
    """MathML that can be reached and scrolled by keyboard."""
    return convert(found[1], display="block").replace("<math ", '<math tabindex="0" ', 1)


def tracked() -> list[str]:
    """Files of the repository, those not committed yet included, as ``/``-separated paths."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


def targets(page: str, text: str) -> Iterable[str]:
    """Paths in the repository that a page's links lead to."""
    for _, target in LINK.findall(text):
        yield _normal(PurePosixPath(page).parent / target)


def moved(text: str, folder: PurePosixPath) -> str:
    """A page of ``folder`` with its links as they are from the root."""
    return LINK.sub(lambda match: match[1] + _normal(folder / match[2]) if match[2] else match[0], text)


def to_front(page: str, text: str) -> str:
    """A page whose links to the home page lead to the site's first page, so that there is no second one."""
    folder = PurePosixPath(page).parent
    front = "../" * len(folder.parts) + "index.md"
    return LINK.sub(lambda match: match[1] + (front if _normal(folder / match[2]) == HOME else match[2]), text)


def _normal(path: PurePosixPath) -> str:
    kept: list[str] = []
    for part in path.parts:
        if part == ".." and kept:
            kept.pop()
        elif part != ".":
            kept.append(part)
    return "/".join(kept)


def api_page() -> str:
    """Every public name of the package, for mkdocstrings to fill from its docstring."""
    names = [name for name in agentsafe_envs.__all__ if not name.startswith("__")]
    lines = [
        "# Python API",
        "",
        "What `import agentsafe_envs` brings. [The guide](python.md) shows how it is used.",
        "",
    ]
    for name in names:
        found = getattr(agentsafe_envs, name)
        lines += [f"::: {found.__module__}.{found.__qualname__}", ""]
    return "\n".join(lines)


def llms(pages: Path) -> str:
    """The list of pages as https://llmstxt.org has it: a title, what it is, and a line a page under each heading."""
    config = menu()
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", ""]
    for entry in config["nav"][1:]:
        ((heading, group),) = entry.items()
        lines += [f"## {heading}", ""]
        for page in group:
            ((title, name),) = page.items()
            lines.append(f"- [{title}]({name}): {first_sentence((pages / name).read_text(encoding='utf-8'))}")
        lines.append("")
    return "\n".join(lines)


def menu() -> dict[str, Any]:
    """The site's configuration, of which ``nav`` is the menu."""
    # The tag is for the slugs of anchors, which nothing here needs.
    return yaml.safe_load(re.sub(r"!!python\S+", "", CONFIG.read_text(encoding="utf-8")))


def first_sentence(page: str) -> str:
    """The first sentence of a page's first paragraph, without its links."""
    prose = re.sub(r"(?s:<!--.*?-->)|(?s:^ *```.*?^ *```$)|^[#|!].*$", "", page, flags=re.MULTILINE)
    words = " ".join(re.split(r"\n\s*\n", prose.strip())[0].split())
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", words)
    return re.split(r"(?<=[.?!]) ", words, maxsplit=1)[0]


if __name__ == "__main__":
    main()
