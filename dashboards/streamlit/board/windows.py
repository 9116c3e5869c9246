"""Sums over windows, by the rules of Millrace's own page.

Windows of `store_metrics` slide, so they overlap. What is added over time uses only the aligned ones:

    12:00 ├────5 min────┤                      aligned (start is a multiple of the width): may be added
    12:01   ├───────────┼──┤                   overlapping: a moving sum, for lines
    12:05               ├─────────────┤        aligned
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

WIDTH = timedelta(minutes=5)
RECENT = timedelta(minutes=5)
SECOND = timedelta(seconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# How far back charts and sums go, as in the URL.
RANGES = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
}
RANGE_WORDS = {"15m": "15 minutes", "1h": "hour", "6h": "6 hours", "24h": "24 hours"}
# Longer ranges draw only windows that do not overlap.
SLIDES_MAX = timedelta(hours=1)

FUNNEL = (
    ("product_views", "Product views"),
    ("cart_adds", "Cart adds"),
    ("checkouts", "Checkouts"),
    ("orders", "Orders"),
)


def floor(moment: datetime, width: timedelta) -> datetime:
    """The start of the aligned window that holds the moment."""
    return moment - (moment - EPOCH) % width


def aligned(frame: pd.DataFrame) -> pd.DataFrame:
    """The windows that do not overlap."""
    width = WIDTH // timedelta(microseconds=1)
    return frame[frame["window_start"].astype("int64") % width == 0]


def bounds(at: datetime, length: timedelta) -> tuple[datetime, datetime]:
    """Starts of the first aligned window of the range, and of the one that is still open."""
    newest = floor(at - timedelta(microseconds=1), WIDTH)
    return newest - length + WIDTH, newest


def between(frame: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    """Windows that start in `start..=end`."""
    return frame[(frame["window_start"] >= start) & (frame["window_start"] <= end)]


def current(frame: pd.DataFrame, at: datetime) -> pd.Series | None:
    """The open window that ends soonest: nearly a whole window long. Else the newest."""
    if frame.empty:
        return None
    later = frame[frame["window_end"] > at]
    return later.iloc[0] if len(later) else frame.iloc[-1]


def drawn(frame: pd.DataFrame, at: datetime, length: timedelta) -> pd.DataFrame:
    """The windows a line of the range goes through."""
    start, newest = bounds(at, length)
    if length > SLIDES_MAX:
        return between(aligned(frame), start, newest)
    open_now = current(frame, at)
    # Windows that began later than the one that ends soonest are open for longer: they would only show a fall.
    return between(frame, start, newest if open_now is None else open_now["window_start"])


def ratio(part: float, whole: float) -> float | None:
    """A part of a whole; none when there is nothing to divide by."""
    return part / whole if whole else None


def change(now: float | None, before: float | None) -> float | None:
    """The change as a part of what was before."""
    return None if now is None or not before else (now - before) / before


@dataclass(frozen=True)
class Tile:
    """A number of the overview: what kind it is (`money`, `count`, `share`), its change and recent course."""

    name: str
    label: str
    kind: str
    value: float | None
    change: float | None
    more_is_good: bool
    course: list[float]


def tiles(windows: pd.DataFrame, seconds: pd.DataFrame, today: pd.DataFrame, at: datetime) -> list[Tile]:
    """The numbers of the overview. Sums over five minutes are exact to the second; ratios and distinct counts cannot be
    added up from seconds and come from the window that ends soonest."""
    made = []
    midnight = floor(at - timedelta(microseconds=1), timedelta(days=1))
    so_far = between(aligned(windows), midnight, at)
    for name, title in (("net_minor", "Net revenue today"), ("gross_minor", "Gross revenue today")):
        value = float(today[name].sum()) if len(today) else None
        made.append(Tile(name, title, "money", value, None, True, _thinned(so_far[name].cumsum())))
    now = seconds[seconds["window_start"] >= at - RECENT]
    before = seconds[(seconds["window_start"] >= at - 2 * RECENT) & (seconds["window_start"] < at - RECENT)]
    covered = len(seconds) > 0 and seconds["window_start"].iloc[0] <= at - 2 * RECENT + SECOND
    complete = windows[(windows["window_end"] < at) & (windows["window_end"] > at - timedelta(minutes=35))]

    def recent(name: str, title: str, kind: str, value: object) -> None:
        has = value(now) if len(now) else None
        was = value(before) if covered and len(before) else None
        course = _thinned(complete.apply(value, axis=1)) if len(complete) else []
        made.append(Tile(name, title, kind, has, change(has, was), True, course))

    recent("gross_recent", "Revenue, last 5 min", "money", lambda part: float(_sum(part["gross_minor"])))
    recent("orders_recent", "Orders, last 5 min", "count", lambda part: float(_sum(part["orders"])))
    recent(
        "average_order",
        "Average order value",
        "money",
        lambda part: ratio(_sum(part["gross_minor"]), _sum(part["orders"])),
    )
    newest = current(windows, at)
    previous = None
    if newest is not None:
        same = windows[windows["window_start"] == newest["window_start"] - WIDTH]
        previous = same.iloc[0] if len(same) else None

    def window(name: str, title: str, kind: str, more_is_good: bool, value: object) -> None:
        has = None if newest is None else value(newest)
        was = None if previous is None else value(previous)
        course = _thinned(complete.apply(value, axis=1)) if len(complete) else []
        made.append(Tile(name, title, kind, has, change(has, was), more_is_good, course))

    window("conversion", "Conversion", "share", True, lambda row: ratio(row["orders"], row["visitors"]))
    window("visitors", "Visitors now", "count", True, lambda row: float(row["visitors"]))
    window(
        "decline_rate",
        "Payments declined",
        "share",
        False,
        lambda row: ratio(row["payments_declined"], row["payments_declined"] + row["payments_authorized"]),
    )
    return made


def _sum(values: object) -> float:
    return values.sum() if isinstance(values, pd.Series) else values


def _thinned(values: pd.Series, most: int = 30) -> list[float]:
    kept = [0.0 if value is None or value != value else float(value) for value in values]
    step = max(-(-len(kept) // most), 1)
    return kept[::-1][::step][::-1]


def funnel(frame: pd.DataFrame, at: datetime, length: timedelta) -> list[tuple[str, int]]:
    """From a product's page to an order: label and times reached."""
    start, newest = bounds(at, length)
    whole = between(aligned(frame), start, newest)
    return [(title, int(whole[name].sum())) for name, title in FUNNEL]


def by_category(frame: pd.DataFrame, at: datetime, length: timedelta) -> pd.DataFrame:
    """Revenue, units and views by category over the range, most revenue first."""
    start, newest = bounds(at, length)
    whole = between(aligned(frame), start, newest)
    sums = whole.groupby("category", as_index=False)[["gross_minor", "units", "product_views", "cart_adds"]].sum()
    return sums.sort_values(["gross_minor", "category"], ascending=[False, True], ignore_index=True)


def every_second(seconds: pd.DataFrame, at: datetime, number: int) -> pd.DataFrame:
    """A row for each of the last seconds: silence is a zero, not a gap."""
    starts = pd.date_range(end=at - SECOND, periods=number, freq="1s", unit="us")
    columns = ["events", "orders", "gross_minor", "payments_declined"]
    return (
        seconds.set_index("window_start")[columns]
        .reindex(starts, fill_value=0)
        .rename_axis("window_start")
        .reset_index()
    )


def state(watermark: datetime | None, window_end: datetime | None) -> str:
    """ "final" once the watermark has passed the window's end."""
    known = watermark is not None and watermark is not pd.NaT and window_end is not None
    return "final" if known and watermark >= window_end else "provisional"
