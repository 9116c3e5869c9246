"""Reads the store, and only reads: one way to ask for SQLite and PostgreSQL, answers as data frames with UTC times.

Statements are written once, with parameters as `:name`. Whatever goes wrong is a `StoreAway` that says what to do.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
import urllib.parse
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import psycopg

from board.address import POSTGRES, SQLITE, Address, StoreAway

CONNECT_SECONDS_MAX = 3
STATEMENT_SECONDS_MAX = 10
BUSY_SECONDS_MAX = 5

# Columns by type: SQLite keeps times and JSON as text, and truth as a number.
TIMES = {
    "window_start",
    "window_end",
    "session_start",
    "session_end",
    "last_event_time",
    "first_seen",
    "last_seen",
    "time",
    "watermark",
    "minute",
    "event_time",
    "record_time",
    "last_change",
    "last_order",
    "last_session",
    "written",
    "clock",
}
DOCUMENTS = {"journey", "payment_ids", "products_viewed", "products_added", "products_removed", "sources", "headers"}
TRUTHS = {"cart_abandoned"}

PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)\b")
# SQLite checks the time of a long statement each so many instructions of its machine.
STEPS_BETWEEN_CHECKS = 100_000


class Store:
    """A read-only connection to a store. Threads may share it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._postgres: psycopg.Connection[Any] | None = None

    def query(self, statement: str, **parameters: Any) -> pd.DataFrame:
        """The rows a SELECT gives, with typed columns."""
        ask = self._ask_sqlite if self.address.kind == SQLITE else self._ask_postgres
        columns, rows = ask(statement, parameters)
        frame = pd.DataFrame.from_records(rows, columns=columns)
        for column in columns:
            if column in TIMES:
                frame[column] = pd.to_datetime(frame[column], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
            elif column in DOCUMENTS and self.address.kind == SQLITE:
                frame[column] = [json.loads(text) if isinstance(text, str) else text for text in frame[column]]
            elif column in TRUTHS:
                frame[column] = [bool(value) for value in frame[column]]
        return frame

    def close(self) -> None:
        """Ends the connection; the next question opens another."""
        with self._lock:
            self._drop()

    def _ask_sqlite(self, statement: str, parameters: dict[str, Any]) -> tuple[list[str], list[Any]]:
        path = self.address.target
        if not os.path.exists(path):
            raise StoreAway(f"The store `{path}` is not there.", "Start Millrace: `millrace up`.")
        bound = {name: _text(value) if isinstance(value, datetime) else value for name, value in parameters.items()}
        uri = f"file:{urllib.parse.quote(os.path.abspath(path))}?mode=ro"
        try:
            connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS_MAX, isolation_level=None)
            try:
                connection.execute("PRAGMA query_only = 1")
                until = datetime.now(UTC).timestamp() + STATEMENT_SECONDS_MAX
                connection.set_progress_handler(
                    lambda: int(datetime.now(UTC).timestamp() > until), STEPS_BETWEEN_CHECKS
                )
                cursor = connection.execute(statement, bound)
                return [column[0] for column in cursor.description], cursor.fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise _away(self.address, str(error), "no such table" in str(error)) from error

    def _ask_postgres(self, statement: str, parameters: dict[str, Any]) -> tuple[list[str], list[Any]]:
        text = PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))
        with self._lock:
            fresh = self._postgres is None or self._postgres.closed
            try:
                return self._execute(text, parameters)
            except psycopg.errors.UndefinedTable as error:
                raise _away(self.address, str(error), True) from error
            except psycopg.OperationalError as error:
                self._drop()
                if fresh or isinstance(error, psycopg.errors.QueryCanceled):
                    raise _away(self.address, str(error), False) from error
            except psycopg.Error as error:
                self._drop()
                raise _away(self.address, str(error), False) from error
            # A connection that was kept may have ended with the server; a new one tells whether it is back.
            try:
                return self._execute(text, parameters)
            except psycopg.Error as error:
                self._drop()
                raise _away(self.address, str(error), isinstance(error, psycopg.errors.UndefinedTable)) from error

    def _execute(self, text: str, parameters: dict[str, Any]) -> tuple[list[str], list[Any]]:
        if self._postgres is None or self._postgres.closed:
            self._postgres = psycopg.connect(
                self.address.target,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS_MAX,
                application_name="millrace-streamlit",
                options="-c default_transaction_read_only=on -c timezone=UTC "
                f"-c statement_timeout={STATEMENT_SECONDS_MAX * 1000}",
            )
        cursor = self._postgres.execute(text, parameters)
        return [column.name for column in cursor.description or []], cursor.fetchall()

    def _drop(self) -> None:
        if self._postgres is not None:
            self._postgres.close()
            self._postgres = None


def _text(time: datetime) -> str:
    """As Millrace writes times in SQLite; the texts sort as the times do."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _away(address: Address, detail: str, no_table: bool) -> StoreAway:
    if no_table:
        return StoreAway(
            f"The store `{address.shown}` is empty: Millrace has not written to it yet.",
            "Start Millrace on it (`millrace up`, with `--store` if it is PostgreSQL); this page fills by itself.",
        )
    first = detail.strip().splitlines()[0] if detail.strip() else "no reason given"
    command = "pg_isready -h HOST -p PORT" if address.kind == POSTGRES else f"ls -l {address.target}"
    return StoreAway(
        f"The store `{address.shown}` cannot be read: {first}",
        f"See whether it is there (`{command}`) and whether `MILLRACE_STORE_URL` is right. "
        "This page tries again at every refresh.",
    )
