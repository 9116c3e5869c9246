"""Every question to the store, on SQLite and on a real PostgreSQL 15, with the same answers."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from servers import Postgres
from shop import AT, CONTRACTS, rows, write_postgres

from board import reads
from board.address import StoreAway, parse
from board.store import DOCUMENTS, TIMES, TRUTHS, Store

HOUR = AT - timedelta(hours=1)


def test_times_are_utc_and_documents_are_read(filled: Store) -> None:
    assert reads.clock(filled) == AT and reads.clock(filled).tzinfo is not None
    progress = reads.progress(filled).set_index("name")
    assert progress.loc["vitals", "sources"][0]["end_offset"] == 12
    assert str(progress["watermark"].dt.tz) == "UTC" and progress["written"].notna().all()
    session = reads.sessions(filled, HOUR, None).iloc[-1]
    assert session["cart_abandoned"] in (True, False)
    steps = reads.journey(filled, "visitor-00000001", AT - timedelta(minutes=40, seconds=1))
    assert [step["event_type"] for step in steps] == ["page_viewed"] * 6


def test_windows_by_shop(filled: Store) -> None:
    for shop, number in ((None, 64), ("main", 64), ("nowhere", 0)):
        found = reads.windows(filled, HOUR, shop)
        assert len(found) == number
        assert found["window_start"].is_monotonic_increasing
        assert found["gross_minor"].sum() == number * 4_000
        assert len(reads.seconds(filled, AT - timedelta(minutes=5), shop)) == (300 if number else 0)
    assert reads.categories(filled, HOUR)["gross_minor"].sum() == 64 * 1_000
    assert reads.stores(filled, AT - timedelta(days=2)).to_dict("records")[0] | {"orders": 5} == {
        "store_id": "main",
        "currency": "EUR",
        "orders": 5,
    }
    assert sorted(reads.days(filled, AT - timedelta(days=30), None)["currency"]) == ["EUR", "SEK"]


def test_sessions_carts_and_signals(filled: Store) -> None:
    assert reads.session_count(filled, HOUR, None) == 3
    assert reads.session_count(filled, HOUR, "nowhere") == 0
    [cart] = reads.carts(filled, HOUR, "main").to_dict("records")
    assert (cart["reason"], cart["products_added"], cart["cart_minor"]) == ("left at checkout", ["sku-1"], 2_500)
    assert reads.cart_reasons(filled, HOUR, None).values.tolist() == [["left at checkout", 1, 2_500]]
    assert reads.cart_reasons(filled, HOUR, "nowhere").empty
    assert reads.channels(filled, HOUR)["sessions"].sum() == 10
    found = reads.signals(filled, HOUR)
    assert len(found) == 3 and len(found["payment_ids"].iloc[0]) == 12
    assert reads.signals(filled, AT).empty


def test_stock_most_urgent_first(filled: Store) -> None:
    found = reads.stock(filled, "", None)
    assert found["product_id"].tolist() == ["sku-worse", "sku-gone", "sku-low", "sku-rushed", "sku-calm"]
    assert found.set_index("product_id").loc["sku-rushed", "units_sold"] == 60
    assert reads.stock(filled, "LAMPS rush", None)["product_id"].tolist() == ["sku-rushed"]
    assert reads.stock(filled, "", "low")["product_id"].tolist() == ["sku-low"]
    counts = reads.stock_by_status(filled).set_index("status")
    assert (counts.loc["in_stock", "products"], counts.loc["oversold", "oversold_units"]) == (2, 4)


def test_what_is_typed_is_never_sql(filled: Store) -> None:
    for typed in ("'; DROP TABLE stock_levels; --", "%", "_", "100%", "a:b", '"'):
        assert reads.stock(filled, typed, None).empty
        assert reads.stock(filled, "", typed).empty
        assert reads.windows(filled, HOUR, typed).empty
        assert reads.dead_letters(filled, HOUR, typed).empty
    assert len(reads.stock(filled, "", None)) == 5


def test_dead_letters_and_history(filled: Store) -> None:
    since = reads.last_write(filled) - timedelta(hours=1)
    [dead] = reads.dead_counts(filled, since).to_dict("records")
    assert (dead["code"], dead["records"]) == ("not_json", 1)
    assert reads.dead_letters(filled, since, "not_json")["place"].tolist() == [7]
    assert sorted(reads.history(filled, since)["records_behind"]) == [1, 2]
    assert reads.ledger(filled, HOUR)["records"].sum() == 420


def test_nothing_can_be_written(filled: Store) -> None:
    for statement in ("DELETE FROM vitals", "CREATE TABLE mine (a BIGINT)"):
        with pytest.raises(StoreAway, match="cannot be read"):
            filled.query(statement)
    assert reads.clock(filled) == AT


def test_an_empty_store_says_what_to_do(tmp_path: Path, postgres: Postgres) -> None:
    (tmp_path / "empty.db").touch()
    for url in (f"sqlite://{tmp_path}/empty.db", postgres.create("empty")):
        with pytest.raises(StoreAway, match="is empty") as away:
            reads.clock(Store(parse(url)))
        assert "millrace up" in away.value.to_do
    with pytest.raises(StoreAway, match="is not there"):
        reads.clock(Store(parse(f"sqlite://{tmp_path}/none.db")))


def test_a_database_that_was_away_is_found_again() -> None:
    server = Postgres()
    try:
        url = server.create("shop")
        write_postgres(url, {"vitals": rows()["vitals"]})
        store = Store(parse(url))
        ask = "SELECT max(window_end) AS clock FROM vitals"
        assert store.query(ask).iloc[0, 0] == AT
        server.halt()
        with pytest.raises(StoreAway, match="cannot be read"):
            store.query(ask)
        server.resume()
        assert store.query(ask).iloc[0, 0] == AT
        server.halt()
        server.resume()
        assert store.query(ask).iloc[0, 0] == AT, "a restart in between is not noticed"
    finally:
        server.close()


def test_columns_have_the_types_of_the_contracts() -> None:
    for path in (CONTRACTS / "results").glob("*.json"):
        for name, schema in json.loads(path.read_text(encoding="utf-8"))["properties"].items():
            assert (name in TIMES) == (schema.get("format") == "date-time"), f"{path.name}: {name}"
            assert (name in DOCUMENTS) == ("array" in schema["type"]), f"{path.name}: {name}"
            assert (name in TRUTHS) == ("boolean" in schema["type"]), f"{path.name}: {name}"
