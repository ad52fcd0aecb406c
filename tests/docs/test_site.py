"""The documentation site: it builds without a warning, loads nothing from elsewhere, and lists its pages for models."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest

pytestmark = pytest.mark.needs("docs")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_build", ROOT / "docs" / "site" / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, str(ROOT / "docs" / "site" / "build.py"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loading = re.compile(r"<(?:script|img|source|iframe)[^>]*src=\"?https?:|<link[^>]*stylesheet[^>]*href=\"?https?:")
    assert [page.name for page in site.rglob("*.html") if loading.search(page.read_text(encoding="utf-8"))] == []
    assert [sheet.name for sheet in site.rglob("*.css") if "url(http" in sheet.read_text(encoding="utf-8")] == []


@pytest.mark.slow
def test_search_has_a_name_and_formulas_are_drawn(site: Path) -> None:
    page = (site / "docs" / "metrics.html").read_text(encoding="utf-8")
    assert 'role="dialog" aria-label="Search"' in page
    assert page.count("<math ") == 3
    assert "$$" not in page


@pytest.mark.slow
def test_models_find_every_listed_page(site: Path) -> None:
    listed = re.findall(r"^- \[.+\]\((.+)\): (.+)$", (site / "llms.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(listed) > 20
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} - {"docs/home.md"} <= dict(listed).keys()
    assert not (site / "docs" / "home.html").exists()
    assert [name for name, _ in listed if not (site / name).is_file()] == []
    assert {f"docs/environments/{page.name}" for page in (ROOT / "docs" / "environments").glob("*.md")} <= dict(
        listed
    ).keys()


def test_every_page_has_a_place_in_the_menu(build: ModuleType) -> None:
    listed = {
        name for group in build.menu()["nav"][1:] for page in next(iter(group.values())) for name in page.values()
    }
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} - {build.HOME}
    assert pages - listed == set()
    for name in listed - {"docs/api.md"}:
        said = build.first_sentence((ROOT / name).read_text(encoding="utf-8"))
        assert len(said.split()) > 3, f"{name} begins with {said!r}, which llms.txt would say of it"


def test_links_to_the_home_page_lead_to_the_first_page(build: ModuleType) -> None:
    text = "[home](../home.md) [this](a.md) [web](https://example.org)"
    wanted = "[home](../../index.md) [this](a.md) [web](https://example.org)"
    assert build.to_front("docs/decisions/b.md", text) == wanted


def test_links_of_a_moved_page_still_lead_there(build: ModuleType) -> None:
    text = "[a](b.md#c) [up](../CONTRIBUTING.md) [web](https://example.org) [here](#d) ![i](images/i.svg)"
    wanted = "[a](docs/b.md#c) [up](CONTRIBUTING.md) [web](https://example.org) [here](#d) ![i](docs/images/i.svg)"
    assert build.moved(text, PurePosixPath("docs")) == wanted


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("# Head\n\nOne [two](x.md). Three.\n", "One two."),
        ("# Head\n\n<!-- not run: x -->\n```sh\nmake\n```\n\nAfter. All.", "After."),
        ("# Head\n\n| a |\n", ""),
    ],
)
def test_the_first_sentence_of_a_page_is_found(build: ModuleType, page: str, sentence: str) -> None:
    assert build.first_sentence(page) == sentence


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["[x](nowhere.md)", "[x](#no-such-heading)"])
def test_a_broken_link_stops_the_build(tmp_path: Path, broken: str, build: ModuleType) -> None:
    pages = tmp_path / "pages"
    (pages / "docs" / "site").mkdir(parents=True)
    (pages / "index.md").write_text(f"# Home\n\n{broken}\n")
    config = build.placed(build.CONFIG.read_text(encoding="utf-8"), pages, tmp_path / "out").partition("\nnav:\n")[0]
    (tmp_path / "mkdocs.yml").write_text(f"{config}\nnav: [index.md]\n")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(tmp_path / "mkdocs.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Aborted with 1 warnings in strict mode" in done.stdout + done.stderr
