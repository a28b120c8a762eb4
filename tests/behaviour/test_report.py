"""The report over a simulated market: what its file holds, and how a browser draws it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from playwright.sync_api import Browser, Error, Page, sync_playwright
from unit.grafana import market

from pipeline.grafana.boards import BOARDS
from pipeline.grafana.panel import Candles, Chart, Heat, Number, Rows, Strip
from pipeline.grafana.report.report import ReportError, Wanted, report
from pipeline.grafana.theme import Theme
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate
from pipeline.warehouse.query import run_query

PICTURES = Path(__file__).resolve().parents[2] / "build" / "report"
MOST_BYTES = 3_000_000
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PANELS = {f"{board.uid}-{panel.number}": panel for board in BOARDS for panel in board.panels}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = connect(f"chdb://{tmp_path_factory.mktemp('report')}")
    migrate(client)
    yield client
    client.close()


def ask(client: Client):
    return lambda sql: run_query(client, sql, "JSONCompact")


@pytest.fixture(scope="module")
def said_of_empty_tables(client: Client) -> str:
    """Before they are filled: the engine opens one folder at a time."""
    with pytest.raises(ReportError) as refused:
        report(ask(client), Wanted(), Theme())
    return str(refused.value)


@pytest.fixture(scope="module")
def page_text(client: Client, said_of_empty_tables: str) -> str:
    assert said_of_empty_tables
    market.fill(client)
    return report(ask(client), Wanted(), Theme())


def test_without_data_there_is_no_report_and_a_line_says_so(said_of_empty_tables):
    assert said_of_empty_tables == "there are no data to report on"


@pytest.mark.usefixtures("page_text")
def test_a_time_range_that_ends_before_it_begins_is_refused(client):
    with pytest.raises(ReportError, match="ends before it begins"):
        report(ask(client), Wanted(market.END, market.BEGIN), Theme())


def test_it_is_small_and_fetches_nothing(page_text):
    assert len(page_text.encode()) < MOST_BYTES
    # Names of XML spaces are addresses that nobody asks.
    addresses = set(re.findall(r"https?://[^\"' )<]+", page_text)) - {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert addresses == set()
    assert "<script" not in page_text


def test_every_panel_of_every_dashboard_is_in_it_with_data(page_text):
    found = dict(re.findall(r'id="(liquidations-\w+-\d+)" data-empty="(\w+)"', page_text))
    assert found == dict.fromkeys(PANELS, "false")


def test_the_same_rows_give_the_same_file(client, page_text):
    assert report(ask(client), Wanted(), Theme()) == page_text


def test_titles_say_what_is_chosen_and_that_it_is_a_lower_bound(page_text):
    assert "Liquidated longs and shorts, Volume in USD: lower bound" in page_text
    assert "$mode" not in page_text
    assert "${bound}" not in page_text


@pytest.mark.usefixtures("page_text")
def test_another_asset_and_other_colours(client):
    quoted = report(ask(client), Wanted(asset=market.QUOTED), Theme("#2563eb", "#ea580c"))
    assert "O&#x27;NEIL" in quoted
    assert "#2563eb" in quoted
    assert "#22c55e" not in quoted
    assert 'data-empty="true"' in quoted  # nobody reads prices of it


@pytest.mark.usefixtures("page_text")
def test_over_a_span_without_data_every_picture_says_so(client):
    later = market.END + 48 * 3_600_000
    empty = report(ask(client), Wanted(later, later + 3_600_000), Theme())
    assert empty.count("Nothing in this time range") > len(PANELS) / 2


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing: .ci/run installs it")
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_playwright() as driver:
        # Its own cage needs rights that root in a container does not have; the page is ours.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(page_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("file") / "report.html"
    file.write_text(page_text)
    return file


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[tuple[Page, list[str]]]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    page.goto(file.as_uri())
    yield page, said
    context.close()


DRAWN = (Chart, Candles, Heat, Strip)


def test_a_browser_draws_every_panel_without_a_complaint(opened):
    page, said = opened
    for name, panel in PANELS.items():
        place = page.locator(f"[id='{name}']")
        box = place.bounding_box()
        assert box is not None, name
        assert box["width"] > 100, name
        if isinstance(panel.picture, Rows):
            assert place.locator("tbody tr").count() > 0, name
        elif isinstance(panel.picture, Number):
            assert place.locator(".number").first.inner_text(), name
        elif isinstance(panel.picture, DRAWN):
            shapes = place.locator("svg path, svg line, svg rect").evaluate_all(
                "shapes => shapes.filter(shape => { const box = shape.getBoundingClientRect();"
                " return box.width + box.height > 1 && shape.closest('.role-mark') !== null }).length"
            )
            assert shapes > 0, f"{name}: {panel.title}"
    assert said == []


@pytest.mark.parametrize(("name", "width"), [("wide", 1280), ("phone", 390)])
def test_it_fits_a_screen_and_its_picture_is_kept(opened, name, width):
    page, said = opened
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Small letters in pictures are at least eight pixels high.
    sizes = page.locator("svg text").evaluate_all("texts => texts.map(text => text.getBoundingClientRect().height)")
    assert min(size for size in sizes if size) >= 8
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
    assert said == []


def test_it_can_be_printed(opened):
    page, said = opened
    PICTURES.mkdir(parents=True, exist_ok=True)
    printed = page.pdf(format="A4", print_background=True, path=PICTURES / "printed.pdf")
    assert printed.startswith(b"%PDF")
    assert said == []


def test_the_browser_would_notice_a_broken_page(browser):
    page = browser.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.set_content("<script>throw new Error('broken')</script>")
    assert said == ["broken"]
    with pytest.raises(Error):
        page.locator("svg").inner_text(timeout=100)
    page.close()
