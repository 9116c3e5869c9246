"""What the shop does now, these five minutes, today, and over the chosen range."""

from __future__ import annotations

import base64
import html
from datetime import timedelta

import pandas as pd
import streamlit as st

from board import figures, reads, text, windows
from board.chart import chart
from board.frame import Scene, live, panel
from board.windows import Tile

PULSE_SECONDS = 150
DAYS = 30


def _tile(tile: Tile, currency: str) -> str:
    shown = {"money": lambda value: text.money(value, currency), "count": text.count, "share": text.share}[tile.kind]
    note = "&nbsp;"
    if tile.change is not None:
        good = (tile.change >= 0) == tile.more_is_good
        sign = "▲" if tile.change >= 0 else "▼"
        colour = "up" if good else "down"
        note = (
            f'<span class="{colour}" style="display:inline">{sign} {abs(tile.change) * 100:.1f}%</span> vs 5 min before'
        )
    return (
        f'<div class="tile"><span>{html.escape(tile.label)}</span><b data-tile="{tile.name}">'
        f"{html.escape(shown(tile.value))}</b><i>{note}</i>{_spark(tile.course)}</div>"
    )


def _spark(values: list[float]) -> str:
    """The recent course as a small picture; its colour is readable on light and dark."""
    top = max(values, default=0)
    if len(values) < 2 or top <= 0:
        return ""
    points = " ".join(
        f"{100 * at / (len(values) - 1):.1f},{24 - 22 * value / top:.1f}" for at, value in enumerate(values)
    )
    picture = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 26" preserveAspectRatio="none"><polyline fill="none" '
        f'stroke="#2f8fba" stroke-width="1.5" vector-effect="non-scaling-stroke" points="{points}"/></svg>'
    )
    # Streamlit takes drawings out of HTML, but leaves pictures in.
    return f'<img alt="" src="data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()}">'


def draw(scene: Scene) -> None:
    """The page."""
    at, length, shop, money = scene.at, scene.choice.length, scene.shop, scene.currency
    midnight = windows.floor(at - timedelta(microseconds=1), timedelta(days=1))
    since = min(at - 2 * length - 2 * windows.WIDTH, midnight)
    metrics = reads.windows(scene.store, windows.floor(since, timedelta(minutes=1)), shop)
    seconds = reads.seconds(scene.store, at - 2 * windows.RECENT - timedelta(seconds=2), shop)
    days = reads.days(scene.store, midnight - timedelta(days=DAYS), shop)
    # A store may take a foreign currency now and then; it is not added to its own.
    days = days[days["currency"] == money]
    newest = windows.current(metrics, at)
    until = None if newest is None else newest["window_end"]

    tiles = windows.tiles(metrics, seconds, days[days["window_start"] == midnight], at)
    with st.container(key="tiles"):
        st.html(f'<div class="tiles four">{"".join(_tile(tile, money) for tile in tiles)}</div>')

    left, right = st.columns([2, 1])
    with (
        left,
        panel(
            "revenue",
            "Revenue and orders",
            f"each 5-minute window, {scene.choice.words}",
            scene.fresh("store_metrics", until),
        ),
    ):
        shown = windows.drawn(metrics, at, length)
        before = metrics[metrics["window_start"].isin(shown["window_start"] - length)]
        watermark = scene.watermark("store_metrics")
        finals = [windows.state(watermark, end) == "final" for end in shown["window_end"]]
        figure = figures.revenue(shown, before, finals, money, pd.Timedelta(length)) if len(shown) else None
        chart("revenue", figure, "Revenue and orders by 5-minute window", 430, "No window yet")
    with right, panel("pulse", "Pulse", "by second, last 2½ minutes", scene.fresh("vitals", at)):
        figure = figures.pulse(windows.every_second(seconds, at, PULSE_SECONDS), money) if len(seconds) else None
        chart("pulse", figure, "Events, orders, revenue and declined payments by second", 430)

    left, middle, right = st.columns(3)
    with left, panel("funnel", "Funnel", scene.choice.words, scene.fresh("store_metrics", until)):
        steps = windows.funnel(metrics, at, length)
        chart(
            "funnel",
            figures.funnel(steps) if steps[0][1] else None,
            "From product views to orders",
            320,
            "No visitors yet",
        )
    with (
        middle,
        panel(
            "categories",
            "Categories",
            f"revenue, {scene.choice.words}, all stores",
            scene.fresh("category_metrics", until),
        ),
    ):
        sums = windows.by_category(reads.categories(scene.store, windows.bounds(at, length)[0]), at, length)
        top = sums[sums["gross_minor"] > 0].head(12)
        values = [text.major(value, money) for value in top["gross_minor"]]
        figure = figures.bars(
            "categories", top["category"].tolist(), values, f"Revenue, {money}", hover=f"%{{x:,.2f}} {money}"
        )
        chart("categories", figure if len(top) else None, "Revenue by category", 320, "Nothing sold yet")
    with (
        right,
        panel(
            "days",
            "Revenue by day",
            f"last {DAYS} days, UTC",
            scene.fresh("revenue_daily", midnight + timedelta(days=1)),
        ),
    ):
        by_day = days.groupby("window_start", as_index=False)[["gross_minor", "net_minor"]].sum()
        chart(
            "days",
            figures.days(by_day, money) if len(by_day) else None,
            "Gross and net revenue by day",
            320,
            "No day with an order yet",
        )


live("Overview", draw)
