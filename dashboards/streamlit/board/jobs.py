"""How far each streaming table has come, and whether that is well: the conditions of Millrace's own page."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd

BEHIND_SECONDS = 60.0
STALLED_SECONDS = 30.0
# What is unread and takes no longer than this at the table's pace is on its way, not left behind.
UNREAD_SECONDS = 10.0
# Pace is measured over so many minutes of the history.
PACE_MINUTES = 5

CONDITIONS = {
    "unbalanced": "Books do not balance",
    "stalled": "Stalled",
    "behind": "Behind",
    "ok": "On time",
    "waiting": "Waiting",
}


def lag_records(sources: object) -> int | None:
    """Records of the sources not read yet; none when an end is unknown or there is no source."""
    if not isinstance(sources, list) or not sources:
        return None
    lags = [
        source["end_offset"] - source["offset"]
        for source in sources
        if source.get("end_offset") is not None and source.get("offset") is not None
    ]
    return sum(lags) if len(lags) == len(sources) else None


def paces(history: pd.DataFrame, progress: pd.DataFrame) -> dict[str, float]:
    """Records a second of each table, from the minutes before to its newest progress."""
    found = {}
    for name, rows in history.groupby("name"):
        newest = progress[progress["name"] == name]
        if len(newest) == 0:
            continue
        row, first = newest.iloc[0], rows.iloc[0]
        # A row of the history is the last progress of its minute.
        seconds = (row["time"] - first["minute"] - timedelta(minutes=1)) / timedelta(seconds=1)
        if seconds > 1:
            found[name] = max((row["records_in"] - first["records_in"]) / seconds, 0.0)
    return found


def condition(balances: bool, silent: float, lag: int | None, delay: float | None, pace: float | None) -> str:
    """How a table is: silence and delay in seconds, lag in records, pace in records a second."""
    if not balances:
        return "unbalanced"
    if silent > STALLED_SECONDS and lag != 0:
        return "stalled"
    unread = float("inf") if lag is None else 0.0 if lag <= 0 else lag / pace if pace else float("inf")
    if delay is not None and delay > BEHIND_SECONDS and unread > UNREAD_SECONDS:
        return "behind"
    return "ok"


def jobs(progress: pd.DataFrame, pace: dict[str, float], now: datetime) -> pd.DataFrame:
    """One row a table, with its condition."""
    made = []
    for row in progress.to_dict("records"):
        parts = [int(row[f"records_{part}"]) for part in ("counted", "late", "malformed", "duplicate")]
        balances = int(row["records_in"]) == sum(parts)
        delay = None if row["watermark"] is pd.NaT else (now - row["watermark"]) / timedelta(seconds=1)
        silent = float("inf") if row["time"] is pd.NaT else (now - row["time"]) / timedelta(seconds=1)
        lag = lag_records(row["sources"])
        made.append(
            {
                "name": row["name"],
                "job": row["job"],
                "lag": lag,
                "delay": delay,
                "pace": pace.get(row["name"]),
                "watermark": row["watermark"],
                "records_in": int(row["records_in"]),
                "late": parts[1],
                "malformed": parts[2],
                "duplicate": parts[3],
                "written": row["written"],
                "state_bytes": row["state_bytes"],
                "condition": condition(balances, silent, lag, delay, pace.get(row["name"])),
            }
        )
    columns = (
        "name job lag delay pace watermark records_in late malformed duplicate written state_bytes condition".split()
    )
    return pd.DataFrame(made, columns=columns)


def worst(conditions: pd.Series) -> str:
    """The worst condition of any table."""
    return next((name for name in CONDITIONS if (conditions == name).any()), "waiting")


def furthest_behind(table: pd.DataFrame) -> float | None:
    """How far the job that is furthest behind is, seconds. Of a job the table that waits least for late records counts:
    how long the others wait is their statement's will."""
    known = table.dropna(subset=["delay"])
    return None if known.empty else float(known.groupby("job")["delay"].min().max())
