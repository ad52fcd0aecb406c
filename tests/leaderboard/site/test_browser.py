"""The board in a real browser: Debian's Chromium, from files, at both widths, light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentsafe_envs.stats.paired import difference
from leaderboard.site.build import write_site
from leaderboard.site.collecting import collect
from leaderboard.site.results import EpisodeLine, Result

from .conftest import BASE, MADE, SMALL, STUDENT, distilled, generated

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs("browser", "submit", "site")

SIZES = {"desktop": 1440, "phone": 390}
SCHEMES = ("light", "dark")

PAGES = (
    "index.html",
    f"agents/{STUDENT}.html",
    "environments/DeleteBiasAPI-v0.html",
    f"compare.html#{BASE},{STUDENT}",
    "methods.html",
    "downloads.html",
)

LOADED_S = 1.0
"""A board of 500 agents is there, drawn and sortable, in less."""

CLICKED_S = 0.3
"""It is sorted or filtered in less."""

Visit = Callable[..., "Page"]


@pytest.fixture(scope="module")
def results(submissions: Path) -> list[Result]:
    found = collect(submissions, suites=SMALL, dates={}).results
    return [distilled(each) if each.slug == STUDENT else each for each in found]


@pytest.fixture(scope="module")
def site(results: list[Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "board"
    write_site(results, out, made=MADE)
    return out


@pytest.fixture(scope="module")
def crowd() -> list[Result]:
    return generated(30)


@pytest.fixture(scope="module")
def crowded(crowd: list[Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("crowded") / "board"
    write_site(crowd, out, made=MADE)
    return out


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens a page; at the end nothing may have been complained of, or asked of a network."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def visit(folder: Path, page: str = "index.html", width: int = 1440, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        opened = context.new_page()
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(f"{folder.as_uri()}/{page}")
        return opened

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url.partition(":")[0] for url in asked} == {"file"}


def serious(page: Page) -> list[tuple[str, str]]:
    """Names of what axe-core finds to be serious or critical, each with the first element that has it."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    return [(each["id"], each["nodes"][0]["html"]) for each in grave]


def shown_names(page: Page) -> list[str]:
    return page.locator("#table tbody tr:visible .agent-cell a").all_inner_texts()


@pytest.mark.slow
@pytest.mark.needs("axe")
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious_and_the_page_fits(
    visit: Visit, site: Path, page: str, width: int, scheme: str
) -> None:
    opened = visit(site, page, width, color_scheme=scheme)
    opened.evaluate("document.querySelectorAll('.episodes details').forEach((each, place) => each.open = place < 4)")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert serious(opened) == []


@pytest.mark.needs("axe")
def test_axe_finds_nothing_serious_on_the_front(visit: Visit, site: Path) -> None:
    assert serious(visit(site)) == []


@pytest.mark.slow
@pytest.mark.needs("axe")
def test_axe_finds_what_is_wrong(visit: Visit, site: Path) -> None:
    page = visit(site)
    page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    assert [name for name, _ in serious(page)] == ["label"]


@pytest.mark.slow
def test_schemes_differ(visit: Visit, site: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    assert len({visit(site, color_scheme=scheme).evaluate(ground) for scheme in SCHEMES}) == 2


def test_table_is_sorted_by_a_click_or_a_key(visit: Visit, crowded: Path) -> None:
    page = visit(crowded)
    by_rank = shown_names(page)
    head = page.locator("th[data-sort=unsafe]")
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    rates = [int(text.split()[0]) for text in page.locator("td[data-label='Did harm']").all_inner_texts()]
    assert rates == sorted(rates, reverse=True)
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    page.locator("th[data-sort=name] button").click()
    assert shown_names(page) == sorted(by_rank)
    assert page.locator("[aria-sort]").count() == 1
    page.locator("th[data-sort=rank] button").click()
    assert shown_names(page) == by_rank


@pytest.mark.slow
def test_table_is_filtered_and_says_how_many_are_left(visit: Visit, crowded: Path, crowd: list[Result]) -> None:
    page = visit(crowded)
    page.get_by_role("searchbox").fill("MODEL-2 agent")
    assert sorted(shown_names(page)) == ["agent 002", *(f"agent 02{number}" for number in range(10))]
    assert page.locator("#found").inner_text() == "11 of 30 agents"
    page.get_by_role("searchbox").fill("")
    page.locator("select[name=level]").select_option("re-run")
    assert len(shown_names(page)) == sum(each.level == "re-run" for each in crowd)
    page.get_by_role("searchbox").fill("no such agent")
    assert page.locator("#none").is_visible()


@pytest.mark.slow
def test_two_picked_agents_lead_to_their_comparison(visit: Visit, crowded: Path) -> None:
    page = visit(crowded)
    boxes = page.locator("#table input[type=checkbox]")
    names = shown_names(page)
    for number in (0, 1, 2):
        boxes.nth(number).check()
    assert [boxes.nth(number).is_checked() for number in (0, 1, 2)] == [False, True, True]
    link = page.locator("#compare")
    assert link.inner_text() == f"Compare {names[1]} and {names[2]}"
    link.click()
    assert page.locator("#name-first").inner_text() == names[1]
    assert page.locator("#name-second").inner_text() == names[2]


COMPARED = """() => [...document.querySelectorAll("#differences tbody tr")].map((row) => {
    const cells = [...row.cells].map((cell) => cell.textContent);
    const { estimate, low, high } = row.querySelector("[data-estimate]").dataset;
    return [cells[0], cells[1], cells[2], ...[cells[3], estimate, low, high].map(Number)];
})"""

VALUES: dict[str, Callable[[EpisodeLine], bool]] = {
    "safe success": lambda line: line.safe_success,
    "unsafe": lambda line: line.unsafe,
    "biased first": lambda line: line.first == "biased",
    "broke the rule": lambda line: line.override,
}


@pytest.mark.slow
def test_comparison_in_the_browser_agrees_with_the_library(visit: Visit, crowded: Path, crowd: list[Result]) -> None:
    first, second = crowd[3], crowd[8]
    rows = visit(crowded, f"compare.html#{first.slug},{second.slug}").evaluate(COMPARED)
    cells = [row for row in rows if row[0] != "all environments"]
    assert len(cells) == 4 * (4 * 2 + 2)
    for environment, split, measure, pairs, estimate, low, high in cells:
        one, other = (
            [line for line in each.episodes if (line.environment, line.split) == (environment, split)]
            for each in (first, second)
        )
        values = [[VALUES[measure](line) for line in lines] for lines in (one, other)]
        found = difference(*values, [line.template for line in one], [line.seed for line in one])
        assert pairs == found.n
        assert estimate == pytest.approx(found.estimate)
        assert low == pytest.approx(found.low, abs=0.06)  # one episode: both draw 2,000 times, with other generators
        assert high == pytest.approx(found.high, abs=0.06)


@pytest.mark.slow
def test_comparison_with_an_agent_that_never_acted_draws_no_conclusion(
    visit: Visit, results: list[Result], silent: Result, tmp_path: Path
) -> None:
    write_site([*results, silent], tmp_path / "board", made=MADE)
    page = visit(tmp_path / "board", f"compare.html#{STUDENT},silent")
    rows = [row.split("\t") for row in page.locator("#differences tbody tr").all_inner_texts()]
    told = {(row[1], row[2], row[5] == row[6] == "no conclusion") for row in rows if row[0] == "DeleteBiasAPI-v0"}
    asked = {("ambiguous", "biased first"), ("forbidden", "broke the rule")}
    asked |= {(split, "unsafe") for split in ("ambiguous", "required", "forbidden")}
    assert {each[:2] for each in told if each[2]} == asked


@pytest.mark.slow
def test_comparison_says_whether_ranks_are_separated(visit: Visit, site: Path) -> None:
    page = visit(site, f"compare.html#{BASE},cautious")
    text = page.locator("#verdict").inner_text()
    assert re.fullmatch(
        r"base has rank .*, cautious has rank .*, their safe success (differs|cannot be told apart)\.", text
    )


@pytest.mark.slow
def test_comparison_lists_the_tasks_in_which_one_did_harm(visit: Visit, site: Path) -> None:
    page = visit(site, f"compare.html#cautious,{STUDENT}")
    rows = page.locator("#flips tbody tr").all_inner_texts()
    assert len(rows) == 10
    assert all(row.endswith(STUDENT) for row in rows)
    page.locator("select[name=second]").select_option("cautious")
    assert page.locator("#verdict").inner_text() == "Choose two different agents."
    assert page.locator("#flips").is_hidden()


@pytest.mark.slow
def test_episode_opens_and_can_be_read_without_scripts(visit: Visit, site: Path) -> None:
    page = visit(site, f"agents/{STUDENT}.html", java_script_enabled=False)
    step = page.locator(".episodes .step").first
    assert step.is_hidden()
    page.locator(".episodes summary").first.click()
    assert step.is_visible()
    assert page.locator(".episodes .harm").first.is_visible()
    assert page.locator("#filters").is_hidden()


@pytest.mark.slow
def test_episodes_are_filtered(visit: Visit, site: Path) -> None:
    page = visit(site, f"agents/{STUDENT}.html")
    assert page.locator("#found").inner_text() == "14 episodes"
    page.locator("select[name=split]").select_option("forbidden")
    assert page.locator(".episodes > li:visible").count() == 2
    page.locator("select[name=mark]").select_option("failed")
    assert page.locator("#found").inner_text() == "0 episodes"


@pytest.mark.slow
def test_keyboard_reaches_the_content_first(visit: Visit, site: Path) -> None:
    page = visit(site)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


@pytest.mark.slow
def test_without_scripts_the_table_is_whole(visit: Visit, crowded: Path) -> None:
    page = visit(crowded, java_script_enabled=False)
    assert page.locator("#table tbody tr:visible").count() == 30
    assert page.locator("#table thead button").count() == 0


@pytest.mark.slow
def test_five_hundred_agents_are_there_in_under_a_second(browser: Browser, tmp_path: Path) -> None:
    write_site(generated(500), tmp_path / "board", made=MADE)
    best = min(busy_s(browser, (tmp_path / "board" / "index.html").as_uri()) for _ in range(3))
    assert best < LOADED_S


def busy_s(browser: Browser, address: str) -> float:
    """Processor time of a page's main thread until it is loaded and drawn: the machine may have other work."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(address)
    assert page.locator("#table tbody tr").count() == 500
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    page.close()
    return metrics["TaskDuration"]


@pytest.mark.slow
def test_five_hundred_agents_are_sorted_and_filtered_quickly(visit: Visit, tmp_path: Path) -> None:
    write_site(generated(500), tmp_path / "board", made=MADE)
    page = visit(tmp_path / "board")
    sort = """(name) => { const start = performance.now();
        document.querySelector(`th[data-sort=${name}] button`).click(); document.body.offsetHeight;
        return performance.now() - start; }"""
    search = """(text) => { const start = performance.now(); const box = document.querySelector("[name=search]");
        box.value = text; box.dispatchEvent(new Event("input", { bubbles: true })); document.body.offsetHeight;
        return performance.now() - start; }"""
    assert min(page.evaluate(sort, name) for name in ("unsafe", "name", "safe", "rank")) < CLICKED_S * 1000
    assert min(page.evaluate(search, text) for text in ("agent 1", "agent 12", "", "model-7")) < CLICKED_S * 1000
