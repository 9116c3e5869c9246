"""Fraud signals, grouped: one attack is one line that grows, not a line for every window it touches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

import pandas as pd

from board import mask
from board.windows import floor, state

SEVERITIES = ("critical", "high", "medium", "low")
BUCKETS = {
    "15m": timedelta(minutes=1),
    "1h": timedelta(minutes=2),
    "6h": timedelta(minutes=10),
    "24h": timedelta(hours=1),
}


def group_id(rule: str, entity: str) -> str:
    """A public name of an attack, the same as long as it lasts."""
    return hashlib.sha256(f"{rule}\x1f{entity}".encode()).hexdigest()[:12]


def groups(signals: pd.DataFrame, watermark_of: Callable[[str], datetime | None]) -> pd.DataFrame:
    """One row an attack (a rule about an entity), newest first. The watermark is that of the rule's own table."""
    made = []
    for (rule, entity), rows in signals.groupby(["rule", "entity"], sort=False):
        newest = rows.loc[rows["last_seen"].idxmax()]
        ids = {one for many in rows["payment_ids"] for one in (many or [])}
        severity = next((name for name in SEVERITIES if (rows["severity"] == name).any()), rows["severity"].iloc[0])
        kind = newest["entity_kind"]
        attack = {
            "id": group_id(rule, entity),
            "severity": severity,
            "rule": rule,
            "entity_kind": kind,
            "entity": mask.address(entity) if kind == "ip" else mask.identifier(entity),
            "payments": max(at_least(rows, "payments"), len(ids)),
            "declines": at_least(rows, "declines"),
            "cards": int(rows["cards"].max()),
            "amount_minor": at_least(rows, "amount_minor"),
            "currency": newest["currency"],
            "first_seen": rows["first_seen"].min(),
            "last_seen": rows["last_seen"].max(),
            "windows": len(rows),
            "state": state(watermark_of(f"fraud_{rule}"), rows["window_end"].max()),
        }
        made.append(attack | {"reason": reason(attack)})
    columns = (
        "id severity rule entity_kind entity payments declines cards amount_minor currency first_seen last_seen windows "
        "state reason"
    ).split()
    frame = pd.DataFrame(made, columns=columns)
    return frame.sort_values(["last_seen", "id"], ascending=[False, True], ignore_index=True)


def at_least(rows: pd.DataFrame, column: str) -> int:
    """A sum over windows that slide: the larger of the largest window and the sum over those that do not overlap."""
    width = (rows["window_end"] - rows["window_start"]) // timedelta(microseconds=1)
    apart = rows[rows["window_start"].astype("int64") % width.where(width > 0, 1) == 0]
    return int(max(rows[column].fillna(0).max(), apart[column].fillna(0).sum()))


def reason(attack: dict[str, object]) -> str:
    """Why the rule fired, for a person who has not read its SQL."""
    words = {
        "velocity": "{payments} payment attempts with one card within minutes, {declines} declined",
        "card_testing": "{cards} cards tried from one device, {declines} of {payments} payments declined",
        "declines_then_success": "{declines} declines of a card, then it worked ({payments} attempts in all)",
        "amount_out_of_habit": "a payment more than six times what this account usually spends",
        "refund_abuse": "{payments} refunds to one account, worth at least half of its orders",
        "refund_without_return": "{payments} refunded orders of one account whose goods did not come back",
        "promo_abuse": "{payments} orders with a promotion from one device, each time under another name",
        "decline_rate": "{declines} of all {payments} payments declined within five minutes, with {cards} cards",
        "impossible_travel": "one card within half an hour at places more than 500 km apart",
        "account_takeover": "failed sign-ins, a new password, then a payment",
    }
    return words.get(str(attack["rule"]), "{payments} payments, {declines} declined").format(**attack)


def over_time(signals: pd.DataFrame, at: datetime, range_name: str, length: timedelta) -> pd.DataFrame:
    """Signals by time of their last payment and severity; every bucket of the range is there."""
    width = BUCKETS[range_name]
    newest = floor(at - timedelta(microseconds=1), width)
    starts = pd.date_range(end=newest, periods=length // width, freq=width, unit="us")
    buckets = signals["last_seen"].dt.floor(width)
    table = pd.crosstab(buckets, signals["severity"]) if len(signals) else pd.DataFrame()
    return table.reindex(index=starts, columns=list(SEVERITIES), fill_value=0).fillna(0).astype(int)
