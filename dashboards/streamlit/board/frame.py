"""What is around every page: the controls, the status line, panels, and drawing again without a reload.

sidebar (whole page again) ─▶ Choice ─▶ live(draw): only this part is drawn again, every few seconds
                                          store away? ─▶ a message what to type; the next refresh tries again
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import streamlit as st

from board import address, reads
from board.address import Address, StoreAway
from board.store import Store
from board.text import ago, clock
from board.windows import RANGE_WORDS, RANGES, floor, state

INTERVALS = {"1s": 1, "2s": 2, "5s": 5, "10s": 10, "30s": 30, "60s": 60}
ALL_SHOPS = "all"
CHOICE = "millrace_choice"
# Nothing written for so long: Millrace stands still or is away.
STALE_SECONDS = 15
# Shops and currencies are looked for this far back.
SHOPS_DAYS = 2

CSS = (Path(__file__).parent / "frame.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Choice:
    """What the viewer chose: range, shop (none: all), seconds between refreshes (none: paused)."""

    range_name: str
    wanted_shop: str | None
    every: int | None

    @property
    def length(self) -> timedelta:
        """The range's length."""
        return RANGES[self.range_name]

    @property
    def words(self) -> str:
        """The range in a sentence: "last …"."""
        return f"last {RANGE_WORDS[self.range_name]}"


@dataclass(frozen=True)
class Scene:
    """What a page draws from: the store, its newest event time, the choice, the shop shown and its currency."""

    store: Store
    choice: Choice
    at: datetime
    now: datetime
    progress: pd.DataFrame
    shop: str | None
    currency: str

    def watermark(self, table: str) -> datetime | None:
        """Windows of the table that end by then are final."""
        return self._of(table, "watermark")

    def written(self, table: str) -> datetime | None:
        """When rows of the table last came into the store."""
        return self._of(table, "written")

    def _of(self, table: str, column: str) -> datetime | None:
        rows = self.progress[self.progress["name"] == table]
        value = rows[column].iloc[0] if len(rows) else None
        return None if value is None or value is pd.NaT else value.to_pydatetime()

    def fresh(self, table: str, window_end: datetime | None = None) -> str:
        """How fresh what comes from the table is: its window and state, and when it was written."""
        parts = []
        if window_end is not None:
            parts.append(f"window until {clock(window_end)}, {state(self.watermark(table), window_end)}")
        elif self.watermark(table) is not None:
            parts.append(f"final until {clock(self.watermark(table))}")
        return " · ".join([*parts, f"written {ago(self.written(table), self.now)}"])


@st.cache_resource(show_spinner=False, max_entries=4)
def _open(found: Address) -> Store:
    return Store(found)


def store() -> Store:
    """The store to read now."""
    return _open(address.find())


def controls() -> None:
    """The sidebar. What is chosen is in the address, so that a link shows the same."""
    with st.sidebar:
        range_name = st.segmented_control(
            "Time range",
            list(RANGES),
            default="1h",
            key="range",
            bind="query-params",
            required=True,
            help="Ends at the newest event of the store.",
        )
        shop = st.selectbox(
            "Store",
            _shops(),
            key="store",
            bind="query-params",
            format_func=lambda name: "All stores" if name == ALL_SHOPS else name,
        )
        every = st.select_slider(
            "Refresh every",
            list(INTERVALS),
            value="2s",
            key="every",
            bind="query-params",
        )
        paused = st.toggle("Pause", key="pause", bind="query-params", help="Keep what is shown as it is.")
    wanted = None if shop in (None, ALL_SHOPS) else shop
    st.session_state[CHOICE] = Choice(range_name or "1h", wanted, None if paused else INTERVALS[every])


def _shops() -> list[str]:
    try:
        found = store()
        at = reads.clock(found)
        shops = reads.stores(found, _shops_since(at))["store_id"].tolist() if at else []
    except StoreAway:
        shops = []
    return [ALL_SHOPS, *shops]


def _shops_since(at: datetime) -> datetime:
    # By the minute, so that viewers share the answer.
    return floor(at, timedelta(minutes=1)) - timedelta(days=SHOPS_DAYS)


def live(title: str, draw: Callable[[Scene], None]) -> None:
    """A page: its title, and what `draw` draws, again and again without the page being loaded anew."""
    choice: Choice = st.session_state[CHOICE]
    st.html(f"<style>{CSS}</style>")
    st.title(title)

    def part() -> None:
        try:
            scene = look(choice)
            _status(scene)
            draw(scene)
        except StoreAway as away:
            with st.container(key="away"):
                st.warning(f"**{away.what}**\n\n{away.to_do}", icon=":material/database_off:")

    st.fragment(part, run_every=choice.every)()


def look(choice: Choice) -> Scene:
    """What there is to draw from now."""
    found = store()
    at = reads.clock(found)
    if at is None:
        raise StoreAway(
            f"The store `{found.address.shown}` is empty: no event has come yet.",
            "Send some to Millrace's Kafka port, or start it with the simulated shop: `millrace up`. "
            "This page fills by itself.",
        )
    shops = reads.stores(found, _shops_since(at))
    shop, currency = chosen(shops, choice.wanted_shop)
    return Scene(found, choice, at, datetime.now(UTC), reads.progress(found), shop, currency)


def chosen(shops: pd.DataFrame, wanted: str | None) -> tuple[str | None, str]:
    """The shop shown and its currency. Money of two currencies is never added: when shops differ in currency and none is
    chosen, the first is."""
    currencies = {row.store_id: row.currency for row in shops.itertuples() if isinstance(row.currency, str)}
    if wanted is not None and wanted in shops["store_id"].tolist():
        return wanted, currencies.get(wanted, "")
    if len(set(currencies.values())) > 1:
        first = min(currencies)
        return first, currencies[first]
    return None, next(iter(currencies.values()), "")


def _status(scene: Scene) -> None:
    last = reads.last_write(scene.store)
    silent = float("inf") if last is None else (scene.now - last).total_seconds()
    kind, words = ("live", "live") if scene.choice.every else ("paused", "paused")
    if silent > STALE_SECONDS:
        kind = "stale"
        words = f"stale: Millrace has written nothing for {ago(last, scene.now).removesuffix(' ago')}; start it: millrace up"
    day = f"{scene.at:%Y-%m-%d} " if scene.now - scene.at > timedelta(hours=20) else ""
    shop = f"store {scene.shop}" if scene.shop else "all stores"
    if scene.shop and scene.choice.wanted_shop is None:
        shop += " (stores differ in currency, which is never added: choose one)"
    facts = [f"events until {day}{clock(scene.at)} UTC", f"written {ago(last, scene.now)}", shop]
    st.html(
        f'<div class="status {kind}" role="status"><b>{html.escape(words)}</b> {html.escape(" · ".join(facts))}</div>'
    )


@contextmanager
def panel(key: str, title: str, note: str, fresh: str) -> Iterator[None]:
    """A section: what it is, over what, and how fresh."""
    with st.container(border=True, key=f"panel-{key}"):
        st.html(
            f'<div class="head"><h3>{html.escape(title)}</h3><p>{html.escape(note)}</p>'
            f'<p class="fresh">{html.escape(fresh)}</p></div>'
        )
        yield


def facts(key: str, values: list[tuple[str, str, str]]) -> None:
    """A row of numbers that wraps: label, value, what it means."""
    tiles = "".join(
        f'<div class="tile"><span>{html.escape(title)}</span><b>{html.escape(value)}</b><i>{html.escape(note)}</i></div>'
        for title, value, note in values
    )
    with st.container(key=f"facts-{key}"):
        st.html(f'<div class="tiles">{tiles}</div>')
