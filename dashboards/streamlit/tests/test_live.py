"""The page in a real browser beside the running product, on SQLite and on PostgreSQL: numbers move, nothing flickers."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from browser import Browser
from servers import Millrace, Postgres, Streamlit

from board.address import parse
from board.store import Store
from board.text import money

BINARY = os.environ.get("MILLRACE_BINARY", "")
SHOTS = os.environ.get("MILLRACE_SCREENSHOTS", "")
# Charts that have something to show once the simulated shop has run for a while.
CHARTS = {"": 5, "sessions": 6, "fraud": 2, "inventory": 2, "health": 2}
# The product replays 45 minutes at its start; machines may be busy.
FILLED_SECONDS_MAX = 90.0

DRAWN = "[...document.querySelectorAll('.millrace-chart')].filter(c => !c.querySelector('.none').textContent && c.querySelector('.plot svg')).length"
FIGURES = "JSON.stringify([...document.querySelectorAll('.js-plotly-plot')].map(p => p.data.map(t => [t.x, t.y, t.link?.value])))"
TILES = "[...document.querySelectorAll('.tile b')].map(b => b.textContent).join('|')"
FAULTS = (
    "[...document.querySelectorAll('[data-testid=stException], [data-testid=stAlert]')].map(e => e.innerText).join('|')"
)
WATCH = """(() => {
  window.mark = 'loaded once'; window.removed = 0; window.faded = 0;
  window.nodes = [...document.querySelectorAll('.millrace-chart .plot')];
  window.drawings = window.nodes.map(node => node.querySelector('svg'));
  new MutationObserver(changes => changes.forEach(change => change.removedNodes.forEach(node => {
    if (node.nodeType === 1 && (node.matches('.millrace-chart, .js-plotly-plot') || node.querySelector('.js-plotly-plot')))
      window.removed += 1;
  }))).observe(document.body, {childList: true, subtree: true});
  const look = () => {
    for (let node of window.nodes) for (; node && node !== document.body; node = node.parentElement)
      if (Number(getComputedStyle(node).opacity) < 1) window.faded += 1;
    requestAnimationFrame(look);
  };
  look();
})()"""
# A chart that had nothing to show yet when the watch began may get its first drawing.
KEPT = """[window.mark === 'loaded once', window.removed, window.faded,
  window.nodes.length > 0 && window.nodes.every(node => node.isConnected),
  window.drawings.filter((drawing, at) => drawing && window.nodes[at].querySelector('svg') !== drawing).length]"""


@dataclass
class Running:
    """The product, its page and a browser."""

    product: Millrace
    page: Streamlit
    browser: Browser
    folder: Path
    store_url: str | None

    def store(self) -> Store:
        """The store, to compare with."""
        return Store(parse(self.store_url or f"sqlite://{self.product.data_dir}/millrace.db"))


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Everything started, once a store."""
    if not BINARY:
        pytest.skip("MILLRACE_BINARY names no program; run test.sh PATH_TO_MILLRACE_BINARY")
    folder = tmp_path_factory.mktemp(request.param)
    url = None
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.create("live")
    product = Millrace(BINARY, folder, url)
    page = None
    try:
        page = Streamlit(folder, {"MILLRACE_STORE_URL": url} if url else {"MILLRACE_DATA_DIR": str(product.data_dir)})
        with Browser() as browser:
            browser.size(1400, 1000)
            made = Running(product, page, browser, folder, url)
            yield made
            made.product.close()
    finally:
        product.close()
        if page:
            page.close()
        # Tens of megabytes of broker and lake.
        shutil.rmtree(folder, ignore_errors=True)


def opened(running: Running, page: str, query: str = "") -> Browser:
    """Opens a page and waits until it is filled."""
    browser = running.browser
    browser.goto(running.page.url(page) + query)
    browser.wait_for(f"{DRAWN} >= {CHARTS[page]} && /\\d/.test({TILES})", FILLED_SECONDS_MAX)
    return browser


def only_once(running: Running) -> None:
    """What does not depend on the store is tested on one of them."""
    if running.store_url:
        pytest.skip("tested beside SQLite; nothing in it depends on the store")


@pytest.mark.parametrize("page", list(CHARTS))
def test_numbers_move_by_themselves_and_nothing_flickers(running: Running, page: str) -> None:
    browser = opened(running, page, "?every=1s")
    browser.run(WATCH)
    before = browser.run(f"[{FIGURES}, {TILES}, document.querySelector('.status').innerText]")
    for at, what in enumerate((FIGURES, TILES, "document.querySelector('.status').innerText")):
        # An attack or an empty shelf may take its time; what else the page says may not.
        if what not in (FIGURES, TILES) or page in ("", "sessions") or (what is FIGURES and page == "health"):
            browser.run(f"window.before = {before[at]!r}")
            browser.wait_for(f"({what}) !== window.before", 60)
    same_page, removed, faded, same_nodes, drawn_anew = browser.run(KEPT)
    assert (same_page, removed, faded, same_nodes, drawn_anew) == (True, 0, 0, True, 0)
    assert browser.run(FAULTS) == "" and browser.problems == []
    overflow = browser.run("document.querySelector('[data-testid=stMain]').scrollWidth - innerWidth")
    assert overflow <= 0, f"the page is {overflow} pixels too wide"


def test_zoom_stays_and_pause_pauses(running: Running) -> None:
    only_once(running)
    browser = opened(running, "", "?every=1s")
    browser.run(
        "Plotly.relayout(document.querySelectorAll('.js-plotly-plot')[0], {'yaxis.range': [0, 1234]}).then(() => 0)"
    )
    browser.run(f"window.before = {FIGURES}")
    browser.wait_for(f"{FIGURES} !== window.before")
    assert browser.run("document.querySelectorAll('.js-plotly-plot')[0].layout.yaxis.range.join()") == "0,1234"
    browser = opened(running, "", "?every=1s&pause=true")
    before = browser.run("document.querySelector('.status').innerText")
    time.sleep(3)
    assert "paused" in before and browser.run("document.querySelector('.status').innerText") == before


@pytest.mark.parametrize("page", list(CHARTS))
def test_it_fits_a_phone(running: Running, page: str) -> None:
    only_once(running)
    try:
        running.browser.size(390, 844)
        browser = opened(running, page)
        wide = browser.run(
            "[...document.querySelectorAll('[class*=st-key-panel-], .tiles')].map(e => e.getBoundingClientRect())"
            ".filter(box => box.left < 0 || box.right > innerWidth).length"
        )
        assert wide == 0 and browser.run("document.documentElement.scrollWidth") <= 390
    finally:
        running.browser.size(1400, 1000)


def test_dark_and_light(running: Running) -> None:
    only_once(running)
    colours = []
    for dark in (False, True):
        running.browser.dark(dark)
        browser = opened(running, "")
        colours.append(browser.run("document.querySelector('.js-plotly-plot').layout.font.color"))
        if SHOTS:
            browser.screenshot(Path(SHOTS, f"overview-{'dark' if dark else 'light'}.png"))
    running.browser.dark(False)
    assert colours == ["#585d63", "#a4aab1"]


def test_a_stop_is_said_the_numbers_are_the_stores_and_a_start_is_found(running: Running) -> None:
    browser = opened(running, "", "?every=1s")
    browser.run("window.mark = 'loaded once'")
    running.product.close()
    browser.wait_for("document.querySelector('.status.stale')?.innerText.includes('millrace up')", 60)
    day = running.store().query(
        "SELECT CAST(sum(gross_minor) AS BIGINT) AS gross FROM revenue_daily WHERE currency = 'EUR' "
        "AND window_start = (SELECT max(window_start) FROM revenue_daily)"
    )
    shown = money(int(day.iloc[0, 0]), "EUR")
    browser.wait_for(f"document.querySelector('[data-tile=gross_minor]').textContent === {shown!r}", 30)
    running.product = Millrace(BINARY, running.folder, running.store_url)
    browser.wait_for("document.querySelector('.status.live')", 60)
    assert browser.run("window.mark") == "loaded once" and browser.run(FAULTS) == ""
    last = running.store().query("SELECT max(updated_at) AS written FROM sink_offsets").iloc[0, 0]
    assert (datetime.now(UTC) - last).total_seconds() < 60
