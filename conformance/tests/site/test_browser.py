"""The site in a real browser, where there is Chromium."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.records import record_file
from conformance.site.build import site
from conformance.tests.fakes import a_record, a_timing, an_environment, some_blocks
from conformance.tests.runs import a_run, an_xfail, red, some_timings
from conformance.tests.site.test_build import HOSTILE
from conformance.timing.model import Phase
from conformance.triage.repro.script import Compiler

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of playwright's own pipes, when its process ends
]
PAGES = {
    "#/": "Results on torch 2.13.0",
    "#/backend/fake": "fake",
    "#/case/base.smoke.arithmetic": "base.smoke.arithmetic",
    "#/case/demo.first.two": "demo.first.two",
    "#/case/constructor": "No such case",
    "#/clause/GM-1": "GM-1",
    "#/clauses": "Clauses",
    "#/cases": "Cases",
    "#/search?q=verdict:fail": "Search",
    "#/search?q=constructor:x": "Search",
    "#/compare": "Compare",
    "#/timing": "Timing",
    "#/timing/fake?phase=forward": "Timing of fake",
    "#/timing/none": "Timing of none",
    "#/backend/constructor": "No such backend",
    "#/cause/constructor": "No such root cause",
    "#/clause/constructor": "No such clause",
    "#/help": "How to read this",
    "#/release/2.13.0": "torch 2.13.0",
    "#/release/2.0": "No such release",
    "#/nothing": "No such page",
    "#/case/%": "This page cannot be shown",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all tests here."""
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of a few records and timings, some of them hostile."""
    root = tmp_path_factory.mktemp("site")
    timings = some_timings(root / "t.jsonl", a_timing(), a_timing("demo.first.two", "other"))
    path = a_run(
        root / "a.jsonl",
        a_record("base.smoke.arithmetic", clauses=("GM-1",)),
        red(case_id="demo.first.two", clauses=("GM-1",)),
        red(case_id="pre_dispatch.no_grad_simple"),
        an_xfail(case_id="demo.first.three"),
        red(case_id="demo.first.four", message=HOSTILE),
        red(case_id="demo.first.five", backend="__proto__"),
    )
    site([path, timings], root / "site", lambda _: {"fake": Compiler(expression='"eager"')})
    return root / "site"


class _Visit:
    """A page, what its console said, and what was asked of other places."""

    def __init__(self, browser: Any, folder: Path, **options: Any) -> None:
        self.page = browser.new_page(**options)
        self.folder = folder
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(f"a dialog: {dialog.message}"))
        self.page.on("request", lambda asked: self.elsewhere.append(asked.url) if asked.url[:7] != "file://" else None)

    def open(self, place: str) -> None:
        self.page.goto("about:blank")
        self.page.goto(f"file://{self.folder}/index.html{place}")
        self.page.wait_for_function("document.body.dataset.ready !== undefined")


@pytest.fixture
def visit(browser: Any, folder: Path) -> Iterator[_Visit]:
    """A visitor, who sees no error and is sent nowhere else."""
    made = _Visit(browser, folder)
    yield made
    made.page.close()
    assert made.errors == []
    assert made.elsewhere == []


@pytest.mark.parametrize("place", PAGES)
def test_every_kind_of_page_opens(visit: _Visit, place: str) -> None:
    """It has its heading, and each link on it leads to a page that is there."""
    visit.open(place)
    assert visit.page.locator("h1").all_inner_texts() == [PAGES[place]]
    links = visit.page.eval_on_selector_all("main a[href^='#/']", "all => all.map(each => each.getAttribute('href'))")
    for link in sorted(set(links))[:15]:
        visit.open(link)
        assert visit.page.locator("h1").inner_text() not in {"No such page", "This page cannot be shown"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "place", ["#/", "#/backend/fake", "#/search?q=fake", "#/case/demo.first.two", "#/compare", "#/timing"]
)
def test_axe_finds_nothing_serious(browser: Any, folder: Path, place: str, scheme: str) -> None:
    """In either colour scheme."""
    visit = _Visit(browser, folder, color_scheme=scheme)
    visit.open(place)
    found = axe.Axe().run(visit.page).response["violations"]
    visit.page.close()
    serious = [each for each in found if each["impact"] in {"serious", "critical"}]
    assert [(each["id"], each["nodes"][0]["html"][:120]) for each in serious] == []


def test_filters_are_found_by_word_and_key(visit: _Visit) -> None:
    """All of them must hold, a minus excludes, and the address is one that others can open."""
    wanted = {
        "": 6,
        "verdict:fail": 4,
        "Verdict:FAIL": 4,
        "-verdict:pass clause:GM-1": 1,
        "verdict:pass verdict:fail": 5,
        "three": 1,
        "verdict:none": 0,
    }
    for text, count in wanted.items():
        visit.open("#/search")
        visit.page.fill("#q", text)
        visit.page.press("#q", "Enter")
        visit.page.wait_for_function(f"document.getElementById('found').dataset.count === '{count}'")
        visit.open(f"#{visit.page.url.partition('#')[2]}")
        assert visit.page.get_attribute("#found", "data-count") == str(count)


def test_a_search_that_finds_nothing_says_why(visit: _Visit) -> None:
    """No such filter, or no such value, with those that there are."""
    visit.open("#/search?q=colour:red backend:fakee")
    text = visit.page.locator("main").inner_text()
    assert "There is no filter colour; there are backend, case," in text
    assert "Nothing has backend:fakee; there are __proto__, fake." in text


def test_a_link_leads_to_the_top_and_back_to_where_it_was(visit: _Visit) -> None:
    """As between pages that a server sends."""
    visit.page.set_viewport_size({"width": 800, "height": 200})
    visit.open("#/help")
    visit.page.evaluate("window.scrollTo(0, 10000)")
    visit.page.click("main a[href^='#/clauses']")
    visit.page.wait_for_function("document.querySelector('h1').textContent === 'Clauses'")
    assert visit.page.evaluate("window.scrollY") == 0
    visit.page.go_back()
    visit.page.wait_for_function("window.scrollY > 0")


def test_clauses_are_not_shown_as_markdown(visit: _Visit) -> None:
    """Code, emphasis and links are what they mean."""
    visit.open("#/clauses")
    assert visit.page.locator("main code").count() > 20
    assert "`" not in visit.page.locator("main").inner_text()
    assert "](" not in visit.page.locator("main").inner_text()


def test_every_backend_says_where_it_was_run(browser: Any, tmp_path: Path) -> None:
    """Under the release that it was run on, whichever folder its records are in."""
    a_run(tmp_path / "records" / "a.jsonl", red(backend="old"), environment=an_environment(cpu="Old CPU"))
    newer = an_environment(torch="2.14.0", cpu="New CPU")
    a_run(tmp_path / "records" / "2.14.0" / "b.jsonl", a_record(), environment=newer)
    site([tmp_path / "records"], tmp_path / "site")
    visit = _Visit(browser, tmp_path / "site")
    visit.open("#/")
    assert "Run on other releases: old (2.13.0)" in visit.page.locator("main").inner_text()
    visit.open("#/release/2.13.0")
    assert "Old CPU" in visit.page.locator("main").inner_text()
    visit.open("#/release/2.14.0")
    text = visit.page.locator("main").inner_text()
    visit.page.close()
    assert ("New CPU" in text, "Old CPU" in text) == (True, False)


def test_hostile_text_is_shown_and_does_nothing(visit: _Visit) -> None:
    """The visitor's fixture would have seen a dialog."""
    visit.open("#/case/demo.first.four")
    assert HOSTILE.split("\u202e")[0] in visit.page.locator("main").inner_text()
    visit.page.click("button.plain")
    visit.page.wait_for_selector(".detail h2")
    assert visit.page.locator("main script, main img").count() == 0


def test_a_backend_may_be_called_as_a_part_of_javascript(visit: _Visit) -> None:
    """Its cells, its page, and what was seen of its request are there."""
    visit.open("#/backend/__proto__")
    assert "The backend __proto__" in visit.page.locator("main").inner_text()
    visit.open("#/case/demo.first.five")
    visit.page.click("button.plain")
    visit.page.wait_for_selector(".detail .note")


def test_a_script_is_downloaded(visit: _Visit) -> None:
    """Of a request that does not conform, from its case's page."""
    visit.open("#/case/pre_dispatch.no_grad_simple")
    visit.page.click("button.plain")
    with visit.page.expect_download() as download:
        visit.page.click("button.script")
    assert download.value.suggested_filename == "repro-fake-pre_dispatch.no_grad_simple.py"
    assert "torch.compile(" in Path(download.value.path()).read_text(encoding="utf-8")


def test_timings_are_drawn_and_said_in_words(visit: _Visit) -> None:
    """A plot of each backend, the same as a table, and a row on the page of the case."""
    visit.open("#/timing?phase=forward")
    visit.page.wait_for_selector(".plot[data-drawn]")
    assert visit.page.locator(".plot").count() == 2
    assert visit.page.locator(".plot .legendtext").all_text_contents()[:2] == ["fake", "other"]
    visit.page.select_option("select >> nth=-1", "backward")
    visit.page.wait_for_function("document.querySelector('main').innerText.includes('It was not timed.')")
    visit.open("#/case/demo.first.two")
    assert "Timing on torch 2.13.0" in visit.page.locator("main").inner_text()


def test_releases_differ_in_speed_where_intervals_lie_apart(browser: Any, tmp_path: Path) -> None:
    """Not where they overlap, and not without timings of both."""
    for release, share in (("2.13.0", 0.5), ("2.14.0", 0.9)):
        machine = an_environment(torch=release)
        a_run(tmp_path / "records" / release / "a.jsonl", environment=machine)
        blocks = (some_blocks(Phase.FORWARD, share), some_blocks(Phase.STEP, 0.5))
        timing = a_timing(blocks=blocks)
        some_timings(tmp_path / "records" / release / "t.jsonl", timing, environment=machine)
    site([tmp_path / "records"], tmp_path / "site")
    visit = _Visit(browser, tmp_path / "site")
    visit.open("#/compare")
    text = visit.page.locator("main").inner_text()
    visit.page.close()
    assert "Slower now, relative to uncompiled: 1 of 2" in text
    assert "Faster now, relative to uncompiled: 0 of 2" in text


def test_a_request_has_an_address(visit: _Visit) -> None:
    """It opens what was seen: the difference, and the command."""
    visit.open("#/case/demo.first.two")
    visit.page.click("button.plain")
    visit.page.click("text=link to this")
    visit.page.wait_for_selector(".detail h2")
    visit.open(f"#{visit.page.url.partition('#')[2]}")
    visit.page.wait_for_selector(".detail h2")
    assert "conformance run --backend fake --case demo.first.two" in visit.page.locator(".detail").inner_text()


def test_a_file_of_the_visitors_own_is_a_release_beside_the_others(visit: _Visit, tmp_path: Path) -> None:
    """It is read in the browser; what is no record file is refused."""
    visit.open("#/")
    mine = a_run(tmp_path / "mine.jsonl", a_record(), red(case_id="demo.first.two", backend="mine"))
    visit.page.set_input_files("#file", mine)
    visit.page.wait_for_function("document.querySelector('h1').textContent.includes('mine.jsonl (yours)')")
    assert "mine" in visit.page.locator("table").first.inner_text()
    (tmp_path / "other.jsonl").write_text(json.dumps({"kind": "timings"}), encoding="utf-8")
    visit.page.set_input_files("#file", tmp_path / "other.jsonl")
    visit.page.wait_for_selector("[role=alert]")
    assert "holds no record" in visit.page.locator("main").inner_text()
    assert len(record_file.read(mine).records) == 2


def test_the_keyboard_reaches_the_results(visit: _Visit) -> None:
    """The first link skips to them; a page that is followed has the focus."""
    visit.open("#/")
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    assert visit.page.evaluate("document.activeElement.id") == "main"
    visit.page.click("nav a[href='#/clauses']")
    visit.page.wait_for_function("document.querySelector('h1').textContent === 'Clauses'")
    assert visit.page.evaluate("document.activeElement.id") == "main"


def test_the_last_page_that_was_asked_for_is_shown(visit: _Visit) -> None:
    """However long one before it takes."""
    visit.open("#/clauses")
    visit.page.evaluate("location.hash = '#/compare'; location.hash = '#/cases'")
    visit.page.wait_for_timeout(300)
    assert visit.page.locator("h1").inner_text() == "Cases"


@pytest.mark.parametrize("width", [360, 2560])
def test_nothing_is_wider_than_the_window(browser: Any, folder: Path, width: int) -> None:
    """Wide tables scroll within themselves."""
    visit = _Visit(browser, folder, viewport={"width": width, "height": 800})
    for place in (
        "#/",
        "#/backend/fake",
        "#/case/demo.first.two",
        "#/search?q=fake",
        "#/timing",
        "#/clauses",
        "#/help",
    ):
        visit.open(place)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.page.close()
