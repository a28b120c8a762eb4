"""The report over a simulated market: what its file holds, and how a browser draws it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from playwright.sync_api import Browser, Error, Page, sync_playwright
from unit.grafana import market

from pipeline.grafana.boards import BOARDS
from pipeline.grafana.panel import Candles, Chart, Heat, Number, Rows, Strip
from pipeline.grafana.report.report import ReportError, Wanted, report
from pipeline.grafana.report.words import in_words
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
    # The script is a part of the file, and so is what it reads.
    assert not re.findall(r"<script[^>]*\bsrc|@import|url\((?!#)", page_text)


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


def test_the_head_says_what_the_report_is_of_how_complete_it_is_and_by_which_rules(client, page_text):
    said = dict(re.findall(r"<dt>(\w[^<]*)</dt><dd>([^<]*)</dd>", page_text))
    ((events, usd),) = client.query(
        "SELECT sum(long_count + short_count), sum(long_usd + short_usd) FROM liquidations.bars_1m"
    ).result_rows
    (hashes,) = client.query("SELECT DISTINCT rules_hash FROM liquidations.anomalies").result_rows
    assert said["Time"].startswith("2026-09-16 06:00 to 07:30, 1.5 h; a column is 1 min. All times are UTC")
    assert said["Liquidated"].startswith(f"at least {in_words(usd, 'currencyUSD')} in {events:,} liquidations, ")
    # 20 minutes of one of four channels were not listened to.
    assert said["Listened to"].startswith("94.44 % of the time")
    assert "bybit shows every liquidation" in said["Feeds"]
    assert hashes[0] in said["Rules"]


@pytest.mark.usefixtures("page_text")
def test_the_head_of_one_asset_counts_that_asset(client):
    one = report(ask(client), Wanted(asset=market.QUOTED), Theme())
    said = dict(re.findall(r"<dt>(\w[^<]*)</dt><dd>([^<]*)</dd>", one))
    assert said["Of"] == "O&#x27;NEIL"
    assert re.search(r"in \d liquidations", said["Liquidated"])
    assert "Symbol: O&#x27;NEIL" in one


def picture_of(page_text: str, name: str) -> str:
    return page_text.partition(f'id="{name}"')[2].partition("</article>")[0]


def said_of(page_text: str, name: str) -> Any:
    (text,) = re.findall(r'class="said">(.*?)</script>', picture_of(page_text, name))
    return json.loads(text)


def test_cascades_are_marked_on_the_price_and_named_in_the_legend(client, page_text):
    rows = client.query("SELECT asset, position FROM liquidations.cascades WHERE asset = 'BTC'").result_rows
    marks = said_of(page_text, "liquidations-symbol-6")["marks"]
    assert len(marks) == len(rows) == 1
    assert marks[0][2].startswith("BTC longs: ")
    assert marks[0][0] * 1_000 == market.CRASH
    assert "Cascades, the 30 largest" in picture_of(page_text, "liquidations-symbol-6")
    assert "#f59e0b" in picture_of(page_text, "liquidations-symbol-6").partition('class="legend"')[0]
    assert len(said_of(page_text, "liquidations-market-5")["marks"]) == 2
    assert "marks" not in said_of(page_text, "liquidations-pipeline-7")


def test_axes_bear_the_unit_of_what_stands_beside_them(page_text):
    def labels(name: str) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]+)</text>", picture_of(page_text, name))

    assert any(label.startswith("$") for label in labels("liquidations-market-5"))
    levels = labels("liquidations-symbol-8")
    assert {"0", "1"} <= set(levels)
    assert any(label.startswith("$") for label in levels)
    assert any(label.endswith(" s") for label in labels("liquidations-pipeline-12"))
    for name, panel in PANELS.items():
        if isinstance(panel.picture, DRAWN):
            assert "UTC" in labels(name), name


# In a browser

DRAWN = (Chart, Candles, Heat, Strip)


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


def point_at(page: Page, name: str, x: float, y: float) -> list[str]:
    """Move the mouse to a place, as shares of a picture from the left and the top, and return what is said there."""
    picture = page.locator(f"[id='{name}']")
    picture.scroll_into_view_if_needed()
    box = picture.locator("svg .root > g > .background").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
    return page.locator(".tip").locator("h4, p").all_inner_texts()


def test_a_picture_says_its_values_where_it_is_pointed_at(client, opened):
    page, said = opened
    ((minute, longs, shorts),) = client.query(
        "SELECT start, sum(long_usd), sum(short_usd) FROM liquidations.bars_1m"
        " WHERE start = fromUnixTimestamp64Milli({crash:Int64}) GROUP BY start",
        parameters={"crash": market.CRASH},
    ).result_rows
    share = (market.CRASH - market.BEGIN + 30_000) / (market.END - market.BEGIN)
    head, *lines = point_at(page, "liquidations-market-5", share, 0.5)
    assert head == f"{minute:%Y-%m-%d %H:%M} to {minute + timedelta(minutes=1):%H:%M} UTC"
    words = [line.replace("\n", "") for line in lines]
    assert words[:2] == [f"longs{in_words(longs, 'currencyUSD')}", f"shorts{in_words(shorts, 'currencyUSD')}"]
    assert words[2].startswith("BTC longs: ")
    gap = (market.GAP[0] - market.BEGIN + 30_000) / (market.END - market.BEGIN)
    assert point_at(page, "liquidations-market-6", gap, 0.9)[1].replace("\n", "") == "okx SWAP0 %"
    page.mouse.move(1, 1)
    assert page.locator(".tip").count() == 0
    assert said == []


def test_a_tap_says_the_same_on_a_phone(browser, file):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(file.as_uri())
    picture = page.locator("[id='liquidations-market-5']")
    picture.scroll_into_view_if_needed()
    box = picture.locator("svg .root > g > .background").first.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + 40, box["y"] + 60)
    assert re.fullmatch(r"2026-09-16 06:\d\d to 06:\d\d UTC", page.locator(".tip h4").inner_text())
    tip = page.locator(".tip").bounding_box()
    assert tip is not None
    assert 0 <= tip["x"] < tip["x"] + tip["width"] <= 390
    heading = picture.locator("h3").bounding_box()
    assert heading is not None
    page.touchscreen.tap(heading["x"] + 5, heading["y"] + 5)
    assert page.locator(".tip").count() == 0
    context.close()


def test_without_scripts_nothing_but_that_is_missing(browser, file):
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("article svg").count() == sum(isinstance(panel.picture, DRAWN) for panel in PANELS.values())
    assert "findings)" in page.locator(".facts").inner_text()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_on_a_light_and_on_a_dark_screen(browser, file, scheme):
    """By the contrast of WCAG: 4.5 for text, of which soft words and axes are the weakest."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(file.as_uri())
    colours = page.evaluate(
        """() => {
          const of = (where, what) => getComputedStyle(document.querySelector(where))[what];
          return [of('.panel', 'backgroundColor'), of('.panel h3', 'color'), of('.panel .question', 'color'),
                  of('.panel svg text', 'fill'), of('.panel td', 'color'), of('.legend span', 'color')];
        }"""
    )
    ground, *words = [luminance(colour) for colour in colours]
    for word in words:
        assert (max(word, ground) + 0.05) / (min(word, ground) + 0.05) >= 4.5
    assert (ground < 0.2) == (scheme == "dark")
    page.screenshot(path=PICTURES / f"{scheme}.png")
    context.close()


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


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
