"""Every question to the store, by subject. Each is bound, bounded in time and rows, and shared by all viewers for a second.

Ranges end at the newest event time of the store, not now by the wall clock: a replay of last year shows last year.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from board.store import Store

# Viewers share an answer for so long; less than the shortest refresh.
SHARED_SECONDS = 0.8
ANSWERS_MAX = 256

WINDOW_ROWS_MAX = 40_000
DAY_ROWS_MAX = 2_000
SESSION_ROWS_MAX = 5_000
SESSIONS_LISTED_MAX = 50
CART_ROWS_MAX = 50
SIGNAL_ROWS_MAX = 5_000
STOCK_ROWS_MAX = 500
DEAD_COUNT_ROWS_MAX = 50
DEAD_LETTERS_MAX = 50
HISTORY_ROWS_MAX = 20_000


def _identity(store: Store) -> str:
    # The URL may hold a password, and keys of a cache are no place for one.
    return hashlib.sha256(store.address.target.encode()).hexdigest()


shared = st.cache_data(ttl=SHARED_SECONDS, max_entries=ANSWERS_MAX, show_spinner=False, hash_funcs={Store: _identity})


def _moment(frame: pd.DataFrame) -> datetime | None:
    value = frame.iloc[0, 0] if len(frame) else None
    return None if value is None or value is pd.NaT else value.to_pydatetime()


@shared
def progress(store: Store) -> pd.DataFrame:
    """Each streaming table's progress, with the time its rows were last written here (`written`)."""
    return store.query(
        'SELECT p."table" AS name, p.job, p.backend, p.epoch, p.time, p.watermark, p.records_in, p.records_counted, '
        "p.records_late, p.records_malformed, p.records_duplicate, p.rows_out, p.state_bytes, p.epoch_micros, p.sources, "
        "w.written FROM job_progress p LEFT JOIN (SELECT topic, max(updated_at) AS written FROM sink_offsets "
        'GROUP BY topic) w ON w.topic = p."table" ORDER BY p.job, p."table"'
    )


@shared
def last_write(store: Store) -> datetime | None:
    """When Millrace last wrote anything: while it runs, it tells of its progress every second."""
    return _moment(store.query("SELECT max(updated_at) AS written FROM sink_offsets"))


@shared
def clock(store: Store) -> datetime | None:
    """End of the newest second of event time."""
    seconds = _moment(store.query("SELECT max(window_end) AS clock FROM vitals"))
    return seconds or _moment(store.query("SELECT max(window_start) AS clock FROM store_metrics"))


@shared
def stores(store: Store, since: datetime) -> pd.DataFrame:
    """Each shop seen since then, with the currency of most of its orders."""
    days = store.query(
        "SELECT store_id, currency, CAST(sum(orders) AS BIGINT) AS orders FROM revenue_daily WHERE window_end > :since "
        "GROUP BY store_id, currency ORDER BY 3 DESC LIMIT 500",
        since=since,
    )
    traffic = store.query(
        "SELECT store_id, max(currency) AS currency, CAST(0 AS BIGINT) AS orders FROM store_metrics "
        "WHERE window_end > :since GROUP BY store_id LIMIT 500",
        since=since,
    )
    both = pd.concat([days, traffic], ignore_index=True).dropna(subset=["store_id"])
    return both.drop_duplicates("store_id").sort_values("store_id", ignore_index=True)


@shared
def windows(store: Store, since: datetime, shop: str | None) -> pd.DataFrame:
    """`store_metrics` since then: 5-minute windows, a minute apart, added over the chosen shops."""
    counts = (
        "visitors page_views product_views cart_adds checkouts orders payments_authorized payments_declined "
        "gross_minor net_minor"
    ).split()
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in counts)
    return (
        store.query(
            f"SELECT window_start, window_end, {sums} FROM store_metrics "
            "WHERE window_end > :since AND (CAST(:shop AS TEXT) IS NULL OR store_id = :shop) "
            "GROUP BY window_start, window_end ORDER BY window_start DESC LIMIT :most",
            since=since,
            shop=shop,
            most=WINDOW_ROWS_MAX,
        )
        .iloc[::-1]
        .reset_index(drop=True)
    )


@shared
def seconds(store: Store, since: datetime, shop: str | None) -> pd.DataFrame:
    """`vitals` since then: events, orders and revenue by second."""
    counts = "events orders payments_declined gross_minor".split()
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in counts)
    return store.query(
        f"SELECT window_start, window_end, {sums} FROM vitals "
        "WHERE window_end > :since AND (CAST(:shop AS TEXT) IS NULL OR store_id = :shop) "
        "GROUP BY window_start, window_end ORDER BY window_start LIMIT :most",
        since=since,
        shop=shop,
        most=WINDOW_ROWS_MAX,
    )


@shared
def categories(store: Store, since: datetime) -> pd.DataFrame:
    """`category_metrics` since then (no shop in it: categories are counted over all of them)."""
    return store.query(
        "SELECT window_start, window_end, category, product_views, cart_adds, units, gross_minor FROM category_metrics "
        "WHERE window_end > :since ORDER BY window_start DESC LIMIT :most",
        since=since,
        most=WINDOW_ROWS_MAX,
    )


@shared
def days(store: Store, since: datetime, shop: str | None) -> pd.DataFrame:
    """`revenue_daily` since then, by shop and currency."""
    return store.query(
        "SELECT window_start, window_end, store_id, currency, orders, refunds, gross_minor, net_minor FROM revenue_daily "
        "WHERE window_end > :since AND (CAST(:shop AS TEXT) IS NULL OR store_id = :shop) "
        "ORDER BY window_start LIMIT :most",
        since=since,
        shop=shop,
        most=DAY_ROWS_MAX,
    )


@shared
def session_clock(store: Store) -> datetime | None:
    """When the newest session was closed."""
    return _moment(store.query("SELECT max(session_end) AS clock FROM sessions"))


@shared
def session_count(store: Store, since: datetime, shop: str | None) -> int:
    """Sessions closed since then."""
    found = store.query(
        "SELECT count(*) AS number FROM sessions WHERE session_end > :since "
        "AND (CAST(:shop AS TEXT) IS NULL OR store_id = :shop)",
        since=since,
        shop=shop,
    )
    return int(found.iloc[0, 0])


@shared
def sessions(store: Store, since: datetime, shop: str | None) -> pd.DataFrame:
    """The newest sessions closed since then, without their journeys."""
    return store.query(
        "SELECT session_start, session_end, last_event_time, visitor_id, channel, country, device_type, landing_path, "
        "exit_path, events, product_views, cart_adds, orders, revenue_minor, currency, stage, cart_abandoned FROM sessions "
        "WHERE session_end > :since AND (CAST(:shop AS TEXT) IS NULL OR store_id = :shop) "
        "ORDER BY session_end DESC LIMIT :most",
        since=since,
        shop=shop,
        most=SESSION_ROWS_MAX,
    )


@shared
def journey(store: Store, visitor: str, start: datetime) -> list[dict[str, Any]]:
    """The steps of one session, in order."""
    found = store.query(
        "SELECT journey FROM sessions WHERE visitor_id = :visitor AND session_start = :start LIMIT 1",
        visitor=visitor,
        start=start,
    )
    return (found.iloc[0, 0] or []) if len(found) else []


@shared
def channels(store: Store, since: datetime) -> pd.DataFrame:
    """`session_funnel` since then, added up by channel and furthest stage."""
    return store.query(
        "SELECT channel, stage, CAST(sum(sessions) AS BIGINT) AS sessions, CAST(sum(revenue_minor) AS BIGINT) "
        "AS revenue_minor FROM session_funnel WHERE window_end > :since GROUP BY channel, stage LIMIT 500",
        since=since,
    )


@shared
def cart_reasons(store: Store, since: datetime, shop: str | None) -> pd.DataFrame:
    """Carts left behind in sessions closed since then and their worth, by likely reason, most first."""
    return store.query(
        "SELECT reason, count(*) AS carts, CAST(coalesce(sum(cart_minor), 0) AS BIGINT) AS cart_minor FROM abandoned_carts "
        "WHERE session_end > :since AND (CAST(:shop AS TEXT) IS NULL OR store_id = :shop) "
        "GROUP BY reason ORDER BY carts DESC, reason LIMIT 20",
        since=since,
        shop=shop,
    )


@shared
def carts(store: Store, since: datetime, shop: str | None) -> pd.DataFrame:
    """The newest carts left behind in sessions closed since then, with what was in them."""
    return store.query(
        "SELECT session_end, last_event_time, visitor_id, store_id, channel, device_type, cart_minor, stage, reason, "
        "products_added, products_removed FROM abandoned_carts WHERE session_end > :since "
        "AND (CAST(:shop AS TEXT) IS NULL OR store_id = :shop) ORDER BY session_end DESC LIMIT :most",
        since=since,
        shop=shop,
        most=CART_ROWS_MAX,
    )


@shared
def signals(store: Store, since: datetime) -> pd.DataFrame:
    """The newest fraud signals whose last payment was since then."""
    return store.query(
        "SELECT signal_id, window_start, window_end, rule, entity_kind, entity, severity, payments, declines, cards, "
        "amount_minor, currency, first_seen, last_seen, payment_ids FROM fraud_signals "
        "WHERE window_end > :since AND last_seen > :since ORDER BY last_seen DESC LIMIT :most",
        since=since,
        most=SIGNAL_ROWS_MAX,
    )


@shared
def stock_by_status(store: Store) -> pd.DataFrame:
    """Products and units promised beyond what there is, by state of stock."""
    return store.query(
        "SELECT status, count(*) AS products, CAST(coalesce(sum(CASE WHEN available < 0 THEN -available ELSE 0 END), 0) "
        "AS BIGINT) AS oversold_units FROM stock_levels GROUP BY status LIMIT 20"
    )


@shared
def stock(store: Store, search: str, status: str | None) -> pd.DataFrame:
    """The most urgent products that match, with the speed of sale of the newest hour."""
    words = search.lower().split()[:5]
    # Whether the text is in it: LIKE would take the % and _ of a search as its own.
    place = (
        "strpos(lower(coalesce(l.product_name, '') || ' ' || l.product_id || ' ' || coalesce(l.category, '')), :w{})"
    )
    if store.address.kind == "sqlite":
        place = place.replace("strpos(", "instr(")
    matches = "".join(f" AND {place.format(chr(97 + at))} > 0" for at in range(len(words)))
    bound = {f"w{chr(97 + at)}": word for at, word in enumerate(words)}
    return store.query(
        "SELECT l.product_id, coalesce(l.product_name, l.product_id) AS product_name, l.category, l.status, l.on_hand, "
        "l.reserved, l.available, l.reorder_point, l.last_change, coalesce(c.units_sold, 0) AS units_sold "
        "FROM stock_levels l LEFT JOIN (SELECT product_id, max(window_start) AS newest FROM stock_cover "
        "WHERE window_end > (SELECT max(window_start) FROM stock_cover) GROUP BY product_id) n "
        "ON n.product_id = l.product_id LEFT JOIN stock_cover c "
        "ON c.product_id = n.product_id AND c.window_start = n.newest "
        f"WHERE (CAST(:status AS TEXT) IS NULL OR l.status = :status){matches} "
        "ORDER BY CASE l.status WHEN 'oversold' THEN 0 WHEN 'out_of_stock' THEN 1 WHEN 'low' THEN 2 ELSE 3 END, "
        "CASE WHEN l.available < 0 THEN l.available ELSE 0 END, "
        "CASE WHEN coalesce(c.units_sold, 0) > 0 THEN 0 ELSE 1 END, "
        "CAST(l.available AS DOUBLE PRECISION) / CASE WHEN c.units_sold > 0 THEN c.units_sold ELSE 1 END, l.product_id "
        "LIMIT :most",
        status=status,
        most=STOCK_ROWS_MAX,
        **bound,
    )


@shared
def history(store: Store, since: datetime) -> pd.DataFrame:
    """Progress by minute since then."""
    return store.query(
        'SELECT "minute", "table" AS name, job, watermark, records_in, records_late, records_malformed, records_behind '
        'FROM job_progress_history WHERE "minute" > :since ORDER BY "minute" LIMIT :most',
        since=since,
        most=HISTORY_ROWS_MAX,
    )


@shared
def ledger(store: Store, since: datetime) -> pd.DataFrame:
    """Records by source stream and minute."""
    return store.query(
        "SELECT window_start, window_end, stream, records FROM ledger WHERE window_end > :since "
        "ORDER BY window_start LIMIT :most",
        since=since,
        most=WINDOW_ROWS_MAX,
    )


@shared
def dead_counts(store: Store, since: datetime) -> pd.DataFrame:
    """Dead letters set aside since then by kind, topic and cause, most first."""
    return store.query(
        "SELECT kind, topic, code, count(*) AS records, max(first_seen) AS last_seen FROM dead_letters "
        "WHERE first_seen > :since GROUP BY kind, topic, code ORDER BY records DESC, topic, code LIMIT :most",
        since=since,
        most=DEAD_COUNT_ROWS_MAX,
    )


@shared
def dead_letters(store: Store, since: datetime, code: str | None) -> pd.DataFrame:
    """The newest dead letters set aside since then, with their values."""
    return store.query(
        'SELECT dead_letter_id, kind, code, reason, field, topic, "partition" AS part, "offset" AS place, "table" AS name, '
        "event_time, first_seen, value_base64 FROM dead_letters WHERE first_seen > :since "
        "AND (CAST(:code AS TEXT) IS NULL OR code = :code) ORDER BY first_seen DESC LIMIT :most",
        since=since,
        code=code,
        most=DEAD_LETTERS_MAX,
    )


def back(moment: datetime, **length: float) -> datetime:
    """That long before."""
    return moment - timedelta(**length)
