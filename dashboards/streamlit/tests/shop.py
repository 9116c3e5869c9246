"""A small shop as Millrace would have written it: the tables from the contracts, a few rows that tests can add up."""

from __future__ import annotations

import base64
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

CONTRACTS = Path(__file__).parents[3] / "contracts"
# The end of the newest second; a whole minute, in the middle of a day.
AT = datetime.now(UTC).replace(hour=12, minute=2, second=0, microsecond=0)
TYPES = {"integer": "BIGINT", "number": "DOUBLE PRECISION", "boolean": "BOOLEAN", "array": "JSONB", "object": "JSONB"}
MINUTE = timedelta(minutes=1)


def statements() -> list[str]:
    """What creates the tables: the store's own, and one for each result."""
    migrations = sorted((CONTRACTS / "migrations").glob("*.sql"))
    text = "\n".join(migration.read_text(encoding="utf-8") for migration in migrations)
    made = "\n".join(line for line in text.splitlines() if not line.startswith("--")).split(";")
    for path in sorted((CONTRACTS / "results").glob("*.json")):
        contract = json.loads(path.read_text(encoding="utf-8"))
        columns = []
        for name, schema in contract["properties"].items():
            kind = next(kind for kind in schema["type"] if kind != "null")
            is_time = schema.get("format") == "date-time"
            columns.append(f'"{name}" {"TIMESTAMPTZ" if is_time else TYPES.get(kind, "TEXT")}')
        key = ", ".join(f'"{name}"' for name in contract["x-millrace"]["key"])
        made.append(f'CREATE TABLE "{contract["title"]}" ({", ".join(columns)}, UNIQUE ({key}))')
    return [statement for statement in made if "CREATE" in statement or "ALTER" in statement]


def rows(at: datetime = AT, written: datetime | None = None) -> dict[str, list[dict[str, Any]]]:
    """Two hours of a shop that sells four orders a minute's window at 10 EUR, an attack, a few sessions and products."""
    written = written or datetime.now(UTC)
    midnight = at.replace(hour=0, minute=0)

    def window(back: int) -> dict[str, Any]:
        start = at - back * MINUTE
        return {
            "window_start": start,
            "window_end": start + 5 * MINUTE,
            "store_id": "main",
            "currency": "EUR",
            "visitors": 50,
            "page_views": 100,
            "searches": 5,
            "product_views": 40,
            "cart_adds": 20,
            "checkouts": 12,
            "orders": 4,
            "payments_authorized": 9,
            "payments_declined": 1,
            "refunds": 1,
            "gross_minor": 4_000,
            "refunded_minor": 400,
            "net_minor": 3_600,
        }

    def second(back: int) -> dict[str, Any]:
        start = at - timedelta(seconds=back)
        return {
            "window_start": start,
            "window_end": start + timedelta(seconds=1),
            "store_id": "main",
            "currency": "EUR",
            "events": 7,
            "page_views": 3,
            "cart_adds": 1,
            "orders": 1 + (back <= 300),
            "payments_declined": 0,
            "gross_minor": 1_000,
        }

    def session(number: int, stage: str, events: int) -> dict[str, Any]:
        start = at - timedelta(minutes=40, seconds=number)
        last = start + timedelta(seconds=10 * (events - 1))
        bought = stage == "purchase"
        step = {
            "event_time": start.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "event_type": "page_viewed",
            "path": "/",
            "product_id": None,
        }
        return {
            "session_start": start,
            "session_end": last + 30 * MINUTE,
            "visitor_id": f"visitor-{number:08}",
            "user_id": None,
            "store_id": "main",
            "channel": "ads",
            "country": "DE",
            "device_type": "mobile",
            "landing_path": "/",
            "exit_path": "/cart",
            "last_event_time": last,
            "events": events,
            "page_views": events,
            "searches": 0,
            "product_views": 1,
            "cart_adds": 1,
            "cart_removes": 0,
            "checkouts": 0,
            "payment_entries": 0,
            "payments_declined": 0,
            "orders": int(bought),
            "revenue_minor": 2_500 * bought,
            "currency": "EUR" if bought else None,
            "stage": stage,
            "products_viewed": [],
            "products_added": ["sku-1"],
            "products_removed": [],
            "cart_minor": 2_500,
            "cart_abandoned": not bought,
            "journey": [step] * events,
        }

    def signal(start: datetime, payments: int, severity: str) -> dict[str, Any]:
        return {
            "signal_id": f"velocity:card_7f3e9a1c44b2:{int(start.timestamp())}",
            "window_start": start,
            "window_end": start + 10 * MINUTE,
            "rule": "velocity",
            "entity_kind": "card_token",
            "entity": "card_7f3e9a1c44b2",
            "severity": severity,
            "payments": payments,
            "declines": 1,
            "cards": 1,
            "amount_minor": payments * 100,
            "currency": "EUR",
            "first_seen": start + MINUTE,
            "last_seen": start + 8 * MINUTE,
            "payment_ids": [f"pay-{start.minute}-{number}" for number in range(payments)],
        }

    def level(name: str, status: str, available: int) -> dict[str, Any]:
        return {
            "product_id": f"sku-{name}",
            "product_name": f"Lamp {name}",
            "category": "lamps",
            "on_hand": available + 2,
            "reserved": 2,
            "available": available,
            "reorder_point": 5,
            "status": status,
            "adjustments": 0,
            "last_change": at,
        }

    def progress(table: str, job: str) -> dict[str, Any]:
        # Everything is read: whatever the clock says of a shop at noon, nobody is behind.
        source = {"topic": "user_events", "partition": 0, "offset": 12, "end_offset": 12}
        return {
            "table": table,
            "job": job,
            "backend": "embedded",
            "epoch": 3,
            "time": written,
            "watermark": at - timedelta(seconds=10),
            "output_mode": "update",
            "records_in": 10,
            "records_counted": 8,
            "records_late": 1,
            "records_malformed": 1,
            "records_duplicate": 0,
            "rows_out": 5,
            "state_groups": 1,
            "state_bytes": 1_048_576,
            "epoch_micros": 900,
            "sources": [source],
        }

    closed = [session(1, "purchase", 6), session(2, "cart", 4), session(3, "visit", 1)]
    cart = {
        key: closed[1][key]
        for key in (
            "session_start session_end visitor_id user_id store_id channel device_type last_event_time products_added "
            "products_removed cart_minor stage"
        ).split()
    }
    broken = base64.b64encode(b'{"user_id":"u-123456789","ip":"203.0.113.77"').decode()
    tables = "store_metrics vitals category_metrics revenue_daily ledger".split()
    made = {
        "store_metrics": [window(back) for back in range(1, 150)],
        "vitals": [second(back) for back in range(1, 650)],
        "category_metrics": [
            {
                "window_start": at - back * MINUTE,
                "window_end": at - (back - 5) * MINUTE,
                "category": name,
                "product_views": 2,
                "cart_adds": 1,
                "order_lines": 1,
                "units": 1,
                "gross_minor": gross,
            }
            for back in range(1, 70)
            for name, gross in (("lamps", 300), ("chairs", 700))
        ],
        "revenue_daily": [
            {
                "window_start": midnight,
                "window_end": midnight + timedelta(days=1),
                "store_id": "main",
                "currency": currency,
                "orders": 5,
                "refunds": 1,
                "gross_minor": gross,
                "refunded_minor": 0,
                "net_minor": gross - 1_000,
            }
            for currency, gross in (("EUR", 123_456), ("SEK", 99))
        ],
        "sessions": closed,
        "abandoned_carts": [cart | {"reason": "left at checkout"}],
        "session_funnel": [
            {
                "window_start": at.replace(minute=0),
                "window_end": at.replace(minute=0) + 60 * MINUTE,
                "channel": "ads",
                "stage": stage,
                "sessions": number,
                "events": 3,
                "revenue_minor": 0,
            }
            for stage, number in (("visit", 6), ("cart", 3), ("purchase", 1))
        ],
        "fraud_signals": [
            signal(at.replace(minute=0) - 20 * MINUTE, 5, "medium"),
            signal(at.replace(minute=0) - 15 * MINUTE, 8, "medium"),
            signal(at.replace(minute=0) - 10 * MINUTE, 12, "high"),
        ],
        "stock_levels": [
            level("calm", "in_stock", 90),
            level("rushed", "in_stock", 30),
            level("low", "low", 4),
            level("gone", "out_of_stock", 0),
            level("worse", "oversold", -4),
        ],
        "stock_cover": [
            {
                "window_start": at - 60 * MINUTE,
                "window_end": at,
                "product_id": "sku-rushed",
                "category": "lamps",
                "units_sold": 60,
                "available": 30,
                "hours_of_cover": 0.5,
            }
        ],
        "ledger": [{"window_start": at - MINUTE, "window_end": at, "stream": "user_events", "records": 420}],
        "job_progress": [progress(table, "metrics") for table in tables] + [progress("sessions", "sessions")],
        "job_progress_history": [
            {
                "minute": datetime.now(UTC).replace(second=0, microsecond=0) - back * MINUTE,
                "table": "vitals",
                "job": "metrics",
                "records_in": 5,
                "records_behind": back,
            }
            for back in (1, 2)
        ],
        "dead_letters": [
            {
                "dead_letter_id": "user_events/0/7",
                "kind": "malformed",
                "code": "not_json",
                "reason": "it ends too early",
                "topic": "user_events",
                "partition": 0,
                "offset": 7,
                "first_seen": datetime.now(UTC) - 5 * MINUTE,
                "value_base64": broken,
            }
        ],
        "sink_offsets": [
            {"sink": "millrace-store", "topic": table, "partition": 0, "next_offset": 1, "updated_at": written}
            for table in [*tables, "sessions", "job_progress"]
        ],
    }
    return made


def write_sqlite(path: Path, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Creates the tables in a file, if they are not there, and fills them."""

    def kept(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return json.dumps(value) if isinstance(value, list) else value

    connection = sqlite3.connect(path)
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'vitals'").fetchone():
        for statement in statements():
            connection.execute(statement)
    for table, many in tables.items():
        for row in many:
            names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
            connection.execute(
                f'INSERT OR REPLACE INTO "{table}" ({names}) VALUES ({marks})', [kept(value) for value in row.values()]
            )
    connection.commit()
    connection.close()


def write_postgres(url: str, tables: dict[str, list[dict[str, Any]]]) -> None:
    """The same in an empty database."""

    def kept(value: Any) -> Any:
        return psycopg.types.json.Jsonb(value) if isinstance(value, list) else value

    with psycopg.connect(url) as connection:
        for statement in statements():
            connection.execute(statement)
        for table, many in tables.items():
            for row in many:
                names, marks = ", ".join(f'"{name}"' for name in row), ", ".join(["%s"] * len(row))
                connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', [kept(v) for v in row.values()])
