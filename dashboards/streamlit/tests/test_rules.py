"""The rules without a store: addresses, masks, words, sums, grouping, conditions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from board import address, figures, frame, jobs, mask, signals, text, ways, windows
from board.address import StoreAway

AT = datetime(2026, 3, 1, 10, 2, tzinfo=UTC)


def test_urls_as_millrace_writes_them() -> None:
    for url, kind, target in [
        ("sqlite:///tmp/a.db", "sqlite", "/tmp/a.db"),
        ("sqlite://a/b.db", "sqlite", "a/b.db"),
        ("sqlite:a.db", "sqlite", "a.db"),
        ("sqlite:///tmp/a%20b.db?mode=ro", "sqlite", "/tmp/a b.db"),
        ("postgres://u:p@h/d", "postgres", "postgres://u:p@h/d"),
        ("postgresql://h/d", "postgres", "postgresql://h/d"),
    ]:
        found = address.parse(url)
        assert (found.kind, found.target) == (kind, target)
    for url in ("mysql://h/d", "sqlite:", "sqlite::memory:", "postgres"):
        with pytest.raises(StoreAway):
            address.parse(url)


def test_passwords_are_never_shown() -> None:
    for url, shown in [
        ("postgres://shop:s3cret@db:5432/shop", "postgres://shop:***@db:5432/shop"),
        ("postgres://shop:p@ss/w?rd@db/shop", "postgres://shop:***@db/shop"),
        (
            "postgres://db/shop?user=a&password=s3cret&sslmode=require",
            "postgres://db/shop?user=a&password=***&sslmode=require",
        ),
        ("postgres://db/shop", "postgres://db/shop"),
    ]:
        assert address.masked(url) == shown


def test_where_the_store_is(tmp_path: Path) -> None:
    here = {"MILLRACE_DATA_DIR": str(tmp_path)}
    with pytest.raises(StoreAway, match="Nothing is running"):
        address.find(here)
    (tmp_path / "millrace.db").touch()
    assert address.find(here).target == str(tmp_path / "millrace.db")
    (tmp_path / "running.json").write_text(json.dumps({"pid": 1, "store": "sqlite:///elsewhere/m.db"}))
    assert address.find(here).target == "/elsewhere/m.db"
    (tmp_path / "running.json").write_text(json.dumps({"pid": 1, "store": ""}))
    with pytest.raises(StoreAway, match="PostgreSQL"):
        address.find(here)
    assert address.find(here | {"MILLRACE_STORE_URL": "postgres://h/d"}).kind == "postgres"


def test_masks_as_the_main_page() -> None:
    for value, shown in [
        ("", ""),
        ("ab", "…"),
        ("abcd", "a…cd"),
        ("visitor-12", "vi…-12"),
        ("card_7f3e9a1c44b2", "card…44b2"),
        ("ünïcödé-visitor", "ünïc…itor"),
    ]:
        assert mask.identifier(value) == shown
    for value, shown in [
        ("203.0.113.77", "203.0.113.x"),
        ("2001:db8::1", "2001:db8:…"),
        ("not an address", "not …ress"),
    ]:
        assert mask.address(value) == shown
    row = {
        "signal_id": "velocity:card_7f3e9a1c44b2:1700000000",
        "entity_kind": "ip",
        "entity": "203.0.113.77",
        "payment_ids": ["pay_1"],
        "journey": [{"visitor_id": "visitor-000001", "path": "/"}],
        "user_id": None,
    }
    assert mask.row(row) == {
        "signal_id": "velocity:card…44b2:1700000000",
        "entity_kind": "ip",
        "entity": "203.0.113.x",
        "payment_ids": ["pay_1"],
        "journey": [{"visitor_id": "visi…0001", "path": "/"}],
        "user_id": None,
    }
    for raw, shown in [
        (b'{"user_id" : "u-123456789","n":1}', b'{"user_id" : "u-*******89","n":1}'),
        (b'{"ip":"203.0.113.77","path":"/a"}', b'{"ip":"20********77","path":"/a"}'),
        (b'{"anonymous_id":"cut off in the mid', b'{"anonymous_id":"cu**************id'),
        (b"from 203.0.113.77 v1.2.3", b"from 203.0.113.** v1.2.3"),
        (b'{"user_id":null}', b'{"user_id":null}'),
    ]:
        assert mask.raw(raw) == shown


def test_words() -> None:
    for minor, currency, shown in [
        (1_999, "EUR", "€19.99"),
        (1_999_000, "EUR", "€19,990"),
        (500, "JPY", "¥500"),
        (-250, "CHF", "-CHF 2.50"),
        (1_234, "KWD", "KWD 1.234"),
        (None, "EUR", "–"),
    ]:
        assert text.money(minor, currency) == shown
    assert [text.length(s) for s in (0.44, 42, 300, 10_800, 200_000)] == ["0.4 s", "42 s", "5 min", "3 h", "2 d"]
    assert (text.share(0.0254), text.count(1948.0), text.label("card_testing")) == ("2.5%", "1,948", "Card testing")


def _windows(minutes: int) -> pd.DataFrame:
    starts = pd.date_range(end=AT - timedelta(minutes=1), periods=minutes, freq="1min", unit="us")
    ones = dict.fromkeys("visitors page_views product_views cart_adds checkouts orders payments_authorized".split(), 2)
    return pd.DataFrame(
        {
            "window_start": starts,
            "window_end": starts + windows.WIDTH,
            **ones,
            "payments_declined": 1,
            "gross_minor": 100,
            "net_minor": 90,
        }
    )


def test_overlapping_windows_are_not_added() -> None:
    frame_ = _windows(130)
    # 09:05 to 10:00 are twelve windows that do not overlap.
    assert windows.funnel(frame_, AT, timedelta(hours=1)) == [
        ("Product views", 24),
        ("Cart adds", 24),
        ("Checkouts", 24),
        ("Orders", 24),
    ]
    # Of the open ones the first to end is drawn last.
    shown = windows.drawn(frame_, AT, timedelta(hours=1))
    assert len(shown) == 54 and shown["window_end"].iloc[-1] == AT + timedelta(minutes=1)
    assert len(windows.drawn(frame_, AT, timedelta(hours=6))) == 26


def test_tiles() -> None:
    starts = pd.date_range(end=AT - windows.SECOND, periods=610, freq="1s", unit="us")
    orders = [1] * 310 + [2] * 300
    seconds = pd.DataFrame(
        {
            "window_start": starts,
            "window_end": starts + windows.SECOND,
            "events": 7,
            "orders": orders,
            "payments_declined": 0,
            "gross_minor": [1_000 * n for n in orders],
        }
    )
    today = pd.DataFrame({"net_minor": [270_000], "gross_minor": [300_000]})
    tiles = {tile.name: tile for tile in windows.tiles(_windows(130), seconds, today, AT)}
    assert (tiles["net_minor"].value, tiles["gross_recent"].value, tiles["gross_recent"].change) == (
        270_000,
        600_000,
        1.0,
    )
    assert (tiles["average_order"].value, tiles["conversion"].value) == (1_000, 1.0)
    assert tiles["decline_rate"].value == pytest.approx(1 / 3)
    nothing = windows.tiles(_windows(0), seconds.head(0), today.head(0), AT)
    assert [tile.value for tile in nothing] == [None] * 8


def test_silence_is_a_zero() -> None:
    one = pd.DataFrame(
        {
            "window_start": [pd.Timestamp(AT - timedelta(seconds=3))],
            "events": 7,
            "orders": 1,
            "gross_minor": 5,
            "payments_declined": 0,
        }
    )
    assert windows.every_second(one, AT, 4)["events"].tolist() == [0, 7, 0, 0]


def test_currencies_are_never_added() -> None:
    mixed = pd.DataFrame({"store_id": ["de", "uk", "xx"], "currency": ["EUR", "GBP", None]})
    assert frame.chosen(mixed, None) == ("de", "EUR")
    assert frame.chosen(mixed, "uk") == ("uk", "GBP")
    assert frame.chosen(mixed.head(1), None) == (None, "EUR")
    assert frame.chosen(mixed.head(1), "gone") == (None, "EUR")


def test_one_attack_is_one_line() -> None:
    def row(start_minute: int, payments: int, severity: str) -> dict[str, object]:
        start = pd.Timestamp(AT.replace(hour=0, minute=0) + timedelta(minutes=start_minute))
        return {
            "window_start": start,
            "window_end": start + timedelta(minutes=10),
            "rule": "velocity",
            "entity_kind": "card_token",
            "entity": "card_7f3e9a1c44b2",
            "severity": severity,
            "payments": payments,
            "declines": 1,
            "cards": 1,
            "amount_minor": payments * 100,
            "currency": "EUR",
            "first_seen": start,
            "last_seen": start + timedelta(minutes=8),
            "payment_ids": [f"pay-{start_minute // 10 * 100 + n}" for n in range(payments)],
        }

    rows = pd.DataFrame([row(0, 5, "medium"), row(5, 8, "medium"), row(10, 12, "high")])
    [attack] = signals.groups(rows, {"fraud_velocity": AT}.get).to_dict("records")
    assert (attack["severity"], attack["entity"], attack["windows"], attack["state"]) == (
        "high",
        "card…44b2",
        3,
        "final",
    )
    # The window in between overlaps both: it is not added to them.
    assert (attack["payments"], attack["amount_minor"]) == (20, 1_700)
    assert signals.groups(rows.head(0), {}.get).empty
    day = rows["last_seen"].max().to_pydatetime() + timedelta(minutes=1)
    assert signals.over_time(rows, day, "1h", timedelta(hours=1)).sum().to_dict() == {
        "critical": 0,
        "high": 1,
        "medium": 2,
        "low": 0,
    }


def test_conditions() -> None:
    for expected, facts in {
        "ok": (True, 1.0, 0, 700.0, None),
        "behind": (True, 1.0, 490, 700.0, 20.0),
        "stalled": (True, 99.0, 1, 1.0, None),
        "unbalanced": (False, 1.0, 0, 1.0, None),
    }.items():
        assert jobs.condition(*facts) == expected
    assert jobs.condition(True, 1.0, 40, 700.0, 20.0) == "ok", "forty at twenty a second are on their way"
    assert jobs.lag_records([{"offset": 10, "end_offset": 12}]) == 2
    assert jobs.lag_records([{"offset": 10, "end_offset": None}]) is None


def test_ways() -> None:
    assert [ways.page_kind(path) for path in ("/product/17?x=1", "/", "/p/1", None)] == [
        "Product",
        "Home",
        "Product",
        "Unknown page",
    ]
    sessions = pd.DataFrame(
        {
            "channel": ["ads", "ads", None],
            "landing_path": ["/"] * 3,
            "exit_path": ["/cart", "/", "/"],
            "stage": ["purchase", "cart", "visit"],
            "cart_abandoned": [False, True, False],
        }
    )
    flow = ways.flow(sessions)
    assert (0, "Ads", 2) in flow.nodes and (3, "Left a cart", 1) in flow.nodes
    assert sum(number for *_, number in flow.links) == 9
    funnel = pd.DataFrame({"channel": ["ads"] * 2, "stage": ["visit", "purchase"], "sessions": [6, 1]})
    assert ways.reached(funnel).loc["ads"].tolist() == [7, 1, 1, 1, 1, 1]


def test_colours_are_names_the_page_knows() -> None:
    script = (Path(frame.__file__).parent / "chart.js").read_text()
    figure = (
        figures.funnel([("a", 2), ("b", 1)]).to_json()
        + figures.sankey(ways.Flow([(0, "a", 1), (1, "b", 1)], [(0, 1, 1)])).to_json()
    )
    named = {part.split(")")[0] for part in figure.split("var(--")[1:]}
    assert named and all(f"{name}: " in script for name in named), named
